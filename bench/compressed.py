"""Reading a compressed CT: parse, decode and check 100 slices in each lossless transfer syntax, beside native pixels.

python -m bench.compressed [--slices 100] [--repeats 5] [--out FILE]

Each syntax is read with one thread for the pixels and with as many as the service takes, in turn.
"""

import argparse
import io
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless

from bench.machine import Occupation, machine, with_occupation
from bench.markdown import facts, table, tell, write_report
from imaging.dicom import ct_series
from imaging.dicom.limits import ReadLimits
from imaging.dicom.parse import parse_all
from phantom.case import CLINIC_A, make_case
from recontour.virtual_patient import write_folders

Encode = Callable[[NDArray[np.uint16]], bytes]
SYNTAXES: Mapping[str, tuple[str, Encode]] = {
    "JPEG 2000": (
        JPEG2000Lossless,
        lambda stored: imagecodecs.jpeg2k_encode(stored, codecformat="J2K", reversible=True),
    ),
    "JPEG-LS": (JPEGLSLossless, imagecodecs.jpegls_encode),
    "JPEG lossless": (JPEGLosslessSV1, lambda stored: imagecodecs.jpeg8_encode(stored, lossless=True, predictor=1)),
}


def main() -> None:
    options = _parser().parse_args()
    occupation = Occupation()
    with TemporaryDirectory(prefix="recontour-compressed-") as scratch:
        folders = write_folders(make_case(1, clinic=CLINIC_A, slices=options.slices, in_plane=512), Path(scratch))
        native = [file.read_bytes() for file in sorted(folders.daily.glob("CT_*.dcm"))]
    series = {"native": native} | {name: [_encoded(file, name) for file in native] for name in SYNTAXES}
    rows = [_measured(name, files, options.repeats) for name, files in series.items()]
    content = {
        "kind": "compressed",
        "machine": with_occupation(machine(), occupation),
        "slices": len(native),
        "rows": rows,
    }
    print(write_report(options.out, content, as_markdown))


def as_markdown(content: Mapping[str, Any]) -> str:
    """The section of docs/performance.md."""
    native = content["rows"][0]
    rows = [
        [
            row["syntax"],
            row["mib"],
            1e3 * row["one_s"],
            1e3 * row["several_s"],
            row["one_s"] / row["several_s"],
            row["several_s"] / native["several_s"],
        ]
        for row in content["rows"]
    ]
    headers = ["pixels", "MiB", "one thread, ms", "as served, ms", "times faster", "times native"]
    parts = [
        f"## Compressed CT: {content['slices']} slices of 512x512 (phantom)",
        facts(content["machine"]),
        table(headers, rows, digits=1),
        f"From files in memory to Hounsfield units, the hash of each file included; medians. As served: "
        f"{ct_series.decoders()} threads here.",
    ]
    return "\n\n".join(parts)


def _encoded(file: bytes, name: str) -> bytes:
    syntax, encode = SYNTAXES[name]
    dataset: Dataset = dcmread(io.BytesIO(file))
    frame = encode(dataset.pixel_array.astype(np.uint16))
    dataset.PixelData = encapsulate([frame + b"\0" * (len(frame) % 2)])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = syntax
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


def _measured(name: str, files: list[bytes], repeats: int) -> dict[str, Any]:
    found: dict[int, list[float]] = {1: [], ct_series.decoders(): []}
    for _ in range(1 + repeats):
        for threads, times in found.items():
            begun = time.perf_counter()
            with patch.object(ct_series, "decoders", lambda threads=threads: threads):
                ct_series.read_ct_series(parse_all(files, limits=ReadLimits()), role="daily CT", limits=ReadLimits())
            times.append(time.perf_counter() - begun)
    one, several = (median(times[1:]) for times in found.values())
    tell(f"{name}: {1e3 * one:.0f} ms with one thread, {1e3 * several:.0f} ms")
    return {"syntax": name, "mib": sum(map(len, files)) / 2**20, "one_s": one, "several_s": several}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, help="writes FILE.json and FILE.md")
    return parser


if __name__ == "__main__":
    main()
