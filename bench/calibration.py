"""Where the plausibility limits lie: of contours that are far off, how many are named, and how many good ones are too.

    python -m bench.calibration models/prostate-ct/1.0.0 [--out FILE] [--patients 6] [--seed 5000] [--in-plane 320]

Contours over 3 mm are rare where all works, so each virtual patient is recontoured three times: as delivered, without
the refinement, and without refinement and network field; patients of clinic B also as a cone beam, metal or contrast
medium shows them. The seeds must be those of validation: a limit that is chosen here is tried nowhere else. FILE.json
holds every contour, FILE.md the shares; --from FILE.json writes the shares anew.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.calibration_report import as_markdown
from bench.markdown import tell, write_report
from bench.paths import delivered, recontoured
from bench.unseen_material import cone_beam, contrast_in_bladder, hip_prosthesis, ordinary
from imaging.arrays import FloatVoxels
from imaging.backends.protocol import Backend
from imaging.case import RecontourOptions
from imaging.errors import RecontouringError
from imaging.findings import Verdict
from imaging.model import RecontouringModel, load_model
from phantom.case import CLINIC_A, PhantomCase, make_case
from phantom.contours import LABELS
from recontour.scoring import patches_of, score


class WithoutField:
    """A network whose displacement is lost."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.provider = backend.provider

    def run(self, fixed: FloatVoxels, moving: FloatVoxels, labels: FloatVoxels) -> tuple[FloatVoxels, FloatVoxels]:
        """See `Backend.run`; the displacement is 0."""
        probabilities, field = self.backend.run(fixed, moving, labels)
        return probabilities, np.zeros_like(field)


def main() -> None:
    parser = _parser()
    options = parser.parse_args()
    if options.read:
        print(write_report(options.read.with_suffix(""), json.loads(options.read.read_text()), as_markdown))
        return
    if options.model is None:
        parser.error("name a model, or --from the results of an earlier run")
    model = load_model(options.model)
    contours: list[dict[str, Any]] = []
    refused: list[str] = []
    for kind, case in _cases(options.seed, options.patients, options.in_plane):
        try:
            contours += _contours(kind, case, model)
        except RecontouringError as error:
            refused.append(f"{kind}: {error.code}")
    content = {
        "model": options.model.name,
        "patients": options.patients,
        "refused": refused,
        "contours": contours,
    }
    print(write_report(options.out, content, as_markdown))


def _cases(seed: int, patients: int, in_plane: int) -> Iterator[tuple[str, PhantomCase]]:
    for number in range(patients):
        yield "clinic A", make_case(seed + number, clinic=CLINIC_A, in_plane=in_plane)
    for number in range(patients):
        for kind in (ordinary, cone_beam, hip_prosthesis, contrast_in_bladder):
            name = "clinic B" if kind is ordinary else kind.__name__.replace("_", " ")
            yield name, kind(seed + 1000 + number, in_plane)
        tell(f"patient {number + 1} of {patients}")


def _contours(kind: str, case: PhantomCase, model: RecontouringModel) -> Iterator[dict[str, Any]]:
    """Every organ of the recommended set, three times: its distance from the truth, and what the checks said of it."""
    ways = (
        ("as delivered", model, RecontourOptions()),
        ("no refinement", model, RecontourOptions(refine="off")),
        ("affine", replace(model, backend=WithoutField(model.backend)), RecontourOptions(refine="off")),
    )
    truth = patches_of(case.daily_structures, case.daily.geometry, daily=case.daily.geometry)
    names = {roi.number: roi.name for roi in case.planning_structures.rois if roi.name in LABELS}
    organs = {number: patch for number, patch in truth.items() if number in names}
    for way, network, options in ways:
        answer = recontoured(case, network, options)
        _, recommended = delivered(answer)
        for one in score(organs, {"found": recommended}, names):
            said = [finding for finding in answer.findings if finding.roi_number == one.number]
            yield {
                "kind": kind,
                "way": way,
                "organ": one.name,
                "mm": one.mean_mm["found"],
                "named": sorted({finding.check for finding in said if finding.verdict is not Verdict.PASS}),
                "values": {finding.check: finding.value for finding in said},
            }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?", help="models/NAME/VERSION")
    parser.add_argument("--out", type=Path, help="without its ending")
    parser.add_argument("--from", dest="read", type=Path, help="FILE.json of an earlier run")
    parser.add_argument("--patients", type=int, default=6, help="of each clinic")
    parser.add_argument("--seed", type=int, default=5000)
    parser.add_argument("--in-plane", type=int, default=320, help="rows and columns")
    return parser


if __name__ == "__main__":
    main()
