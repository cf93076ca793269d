"""Whether a faster precision of the network moves the contours: the whole service on each runtime, the same patients.

    python -m bench.precision models/prostate-ct/1.0.0 [--patients 3] [--seed 5000] [--in-plane 320]

Per path and organ the largest change of an organ's mean surface distance to the truth against ONNX Runtime in float32,
over virtual patients of both clinics. What this machine lacks is said.
"""

import argparse
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.markdown import table, tell
from bench.paths import recontoured, steps_of
from bench.phantom_truth import distances
from imaging.errors import ProviderUnavailable
from imaging.model import RecontouringModel, load_model
from phantom.case import CLINIC_A, CLINIC_B, make_case

REFERENCE: Mapping[str, Any] = {"device": "cpu", "cpu_backend": "onnxruntime"}
FASTER: Mapping[str, Mapping[str, Any]] = {
    "OpenVINO": {"device": "cpu", "cpu_backend": "openvino"},
    "ONNX Runtime CUDA": {"device": "cuda"},
}
ALLOWED_MM = 0.05
PATHS = ("propagated", "segmented")


def main() -> int:
    options = _parser().parse_args()
    reference = load_model(options.model, **REFERENCE)
    faster: list[RecontouringModel] = []
    for name, how in FASTER.items():
        try:
            faster.append(load_model(options.model, **how))
        except ProviderUnavailable as error:
            print(f"Skipped: {name}: {error}\n")
    moved: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for clinic, first in ((CLINIC_A, options.seed), (CLINIC_B, options.seed + 1000)):
        for seed in range(first, first + options.patients):
            case = make_case(seed, clinic=clinic, in_plane=options.in_plane)
            wanted = distances(case, steps_of(case, recontoured(case, reference)))
            for model in faster:
                found = distances(case, steps_of(case, recontoured(case, model)))
                for path in PATHS:
                    for organ, mm in found[path].items():
                        there = wanted[path][organ]
                        # An organ that only one of them has is as far off as can be.
                        apart = 0.0 if mm == there else float("inf") if mm is None or there is None else abs(mm - there)
                        moved[model.provider, path, organ].append(apart)
            tell(f"clinic {clinic.name}, patient {seed}")
    organs = [organ.name for organ in reference.manifest.organs]
    rows: list[list[str | float | None]] = [
        [model.provider, path, *(max(moved[model.provider, path, organ]) for organ in organs)]
        for model in faster
        for path in PATHS
    ]
    print(f"largest change in mm against {reference.provider}, {options.patients} virtual patients of each clinic\n")
    print(table(["network on", "path", *organs], rows, digits=3))
    worst = max((max(values) for values in moved.values()), default=None)
    if worst is None:
        return 0
    print(f"\nlargest: {worst:.3f} mm, allowed {ALLOWED_MM} mm: {'met' if worst <= ALLOWED_MM else 'MISSED'}")
    return int(worst > ALLOWED_MM)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="models/NAME/VERSION")
    parser.add_argument("--patients", type=int, default=3, help="of each clinic")
    parser.add_argument("--seed", type=int, default=5000, help="of clinic A; of clinic B 1000 more")
    parser.add_argument("--in-plane", type=int, default=320, help="rows and columns")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
