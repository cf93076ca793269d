"""`make bench-peers`: recontour beside what a user would run instead, on the same case, scored on the same truth.

    python -m bench.peers                               2 x 100 slices of 512x512, 20 ROIs
    python -m bench.peers --only demons --repeats 1
    python -m bench.peers --out docs/benchmarks/peers

Each method gets the same two CTs of a phantom and the same number of threads, in a process of its own for each run; the
order alternates. A method that takes over a minute runs once. `bench.peer_methods` says what each one is.
"""

import argparse
import json
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.machine import Occupation, machine, with_occupation
from bench.markdown import tell, write_report
from bench.peer_methods import PEERS
from bench.peer_run import REGISTRATION, WHOLE, WHOLE_WITHOUT, WITH_NETWORK
from bench.peers_report import as_markdown, ratio_bars
from bench.pelvis import write_pelvis
from bench.plots import bars

LONG_S = 60.0
OURS = {
    REGISTRATION: "recontour: affine + refinement",
    WITH_NETWORK: "recontour: affine + network + refinement, contours and checks",
    WHOLE_WITHOUT: "recontour: whole request without network, DICOM to DICOM",
    WHOLE: "recontour: whole request with network, DICOM to DICOM",
}


def main() -> None:
    options = _parser().parse_args()
    with tempfile.TemporaryDirectory(prefix="recontour-peers-") as scratch:
        content = measure(options, Path(scratch))
    text = write_report(options.out, content, as_markdown)
    if options.out is not None:
        bars(options.out.with_suffix(".png"), ratio_bars(content), title="registration (phantom)", unit="s")
    print(text)


def measure(options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    what = {**OURS, **{peer.name: peer.what for peer in PEERS}}
    names = [name for name in what if name in OURS or not options.only or name in options.only]
    tell("making the case")
    case, _ = write_pelvis(
        scratch, seed=options.seed, slices=options.slices, in_plane=options.in_plane, rois=options.rois
    )
    (scratch / "case.pickle").write_bytes(pickle.dumps(case))
    occupation = Occupation()
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    skipped: dict[str, str] = {}
    for turn in range(options.repeats):
        for name in names if turn % 2 == 0 else reversed(names):
            if name in skipped or any(run["wall_s"] > LONG_S for run in runs[name]):
                continue
            found = _run(name, scratch, options)
            if "skipped" in found:
                skipped[what[name]] = skipped[name] = found["skipped"]
                tell(f"{what[name]}: skipped: {found['skipped']}")
                continue
            runs[name].append(found)
            tell(f"{what[name]}: {found['wall_s']:.2f} s")
    z, y, x = case.daily.geometry.shape
    return {
        "kind": "peers",
        "machine": with_occupation(machine(), occupation),
        "case": f"2 x {z} slices of {y}x{x}, {len(case.planning_structures.rois)} ROIs (phantom, seed {options.seed})",
        "threads": options.threads,
        "methods": [{"name": name, "what": what[name], "runs": found} for name, found in runs.items() if found],
        "skipped": {title: why for title, why in skipped.items() if title not in names},
    }


def _run(name: str, scratch: Path, options: argparse.Namespace) -> dict[str, Any]:
    threads = str(options.threads)
    command = [sys.executable, "-m", "bench.peer_run", name, str(scratch), threads]
    done = subprocess.run(
        [*command, str(options.models_dir), options.model],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **_threads(threads)},
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        return {"skipped": f"it failed: {last}"}
    return json.loads(done.stdout.strip().splitlines()[-1])


def _threads(count: str) -> Mapping[str, str]:
    """The same number for everybody."""
    names = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "OPENBLAS_NUM_THREADS")
    return {**dict.fromkeys(names, count), "RECONTOUR_THREADS": count}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, help="runs of each method that takes less than a minute")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", action="append", choices=[peer.name for peer in PEERS], help="may be repeated")
    parser.add_argument("--slices", type=int, default=100)
    parser.add_argument("--in-plane", type=int, default=512)
    parser.add_argument("--rois", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--models-dir", type=Path, default=Path("models"))
    parser.add_argument("--model", default="prostate-ct")
    parser.add_argument("--out", type=Path, help="write OUT.json, OUT.md and OUT.png")
    return parser


if __name__ == "__main__":
    main()
