"""What the service says of material that its model never saw: surface distances, findings, silent failures.

    python -m bench.unseen models/prostate-ct/1.0.0 [--patients 2] [--seed 6100] [--in-plane 320]
        [--picture FILE.png]

A contour fails silently if its mean surface distance is over 3 mm, or 0.5 mm over that of the affine alone, and no
finding of `review` or `fail` names its ROI; what is said of the case as a whole does not count. Status 1 then.
"""

import argparse
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.markdown import table, tell
from bench.paths import delivered, recontoured
from bench.phantom_truth import by_the_affine
from bench.unseen_material import KINDS
from bench.unseen_picture import Shown, draw_picture
from imaging.case import Recontouring
from imaging.errors import RecontouringError
from imaging.findings import Finding, Verdict
from imaging.model import load_model
from phantom.case import PhantomCase
from recontour.scoring import patches_of, score

FAILED_MM, WORSE_MM = 3.0, 0.5


@dataclass(frozen=True)
class OrganResult:
    """One organ of one case.

    Attributes:
        kind: Of the material.
        organ: Its name.
        affine_mm: Mean surface distance after the affine alone; None where the plan lacks the organ.
        found_mm: That of the recommended contour; None where there is none.
        told: Checks with a verdict of review or fail that name the organ, or why the case was refused.
        shown: For a picture; None where nothing came back.
    """

    kind: str
    organ: str
    affine_mm: float | None
    found_mm: float | None
    told: tuple[str, ...]
    shown: Shown | None = None

    @property
    def silent(self) -> bool:
        """Whether it is far off, or a planned organ is not there, and nothing says so."""
        if self.told:
            return False
        if self.found_mm is None:
            return self.affine_mm is not None
        return self.found_mm > FAILED_MM or (self.affine_mm is not None and self.found_mm > self.affine_mm + WORSE_MM)


def main() -> int:
    options = _parser().parse_args()
    model = load_model(options.model)
    organs = [organ.name for organ in model.manifest.organs]
    results: list[OrganResult] = []
    for draw in KINDS:
        kind = draw.__name__.replace("_", " ")
        for seed in range(options.seed, options.seed + options.patients):
            case = draw(seed, options.in_plane)
            try:
                answer = recontoured(case, model)
            except RecontouringError as error:
                results += [OrganResult(kind, organ, None, None, (f"refused: {error.code}",)) for organ in organs]
            else:
                results += _results(kind, case, answer, organs)
        tell(kind)
    print(as_table(results, organs, options.patients))
    if options.picture:
        if rows := worst(results):
            draw_picture(rows, options.picture)
        else:
            tell("no contour is over 1 mm off: nothing to draw")
    return int(any(result.silent for result in results))


def as_table(results: Sequence[OrganResult], organs: Sequence[str], patients: int) -> str:
    """One line per kind of material: distances per organ (affine, then recommended), then what was told."""
    rows: list[list[str | float | None]] = []
    for kind in dict.fromkeys(result.kind for result in results):
        here = [result for result in results if result.kind == kind]
        cells = [
            " / ".join(
                _mean(getattr(one, of) for one in here if one.organ == organ) for of in ("affine_mm", "found_mm")
            )
            for organ in organs
        ]
        told = sorted({check for result in here for check in result.told})
        named = sum(bool(result.told) for result in here)
        silent = sum(result.silent for result in here)
        rows.append([kind, *cells, f"{named} of {len(here)}", ", ".join(told) or "-", silent])
    heads = ("material", *organs, "organs named", "checks with review or fail", "silent")
    what = (
        f"mean surface distance in mm after the affine / of the recommended contour, {patients} virtual patients each"
    )
    return f"{what}\n\n{table(heads, rows)}"


def worst(results: Sequence[OrganResult]) -> list[Shown]:
    """Of each kind of material the organ that is farthest off, if that is over `FAILED_MM` / 3."""
    picked = []
    for kind in dict.fromkeys(result.kind for result in results):
        here = [(math.inf if one.found_mm is None else one.found_mm, one.shown) for one in results if one.kind == kind]
        distance, shown = max(here, key=lambda one: (one[1] is not None, one[0]))
        if shown and distance > FAILED_MM / 3:
            picked.append(shown)
    return picked


def _results(kind: str, case: PhantomCase, answer: Recontouring, organs: Sequence[str]) -> list[OrganResult]:
    plan, daily = case.planning_structures, case.daily.geometry
    paths, recommended = delivered(answer)
    planned = {line.number for line in answer.rois}
    # Organs that the plan lacks come segmented alone.
    number_of = {roi.name: roi.number for roi in (*answer.segmented.rois, *plan.rois)}
    found = recommended | {number: patch for number, patch in paths["segmented"].items() if number not in planned}
    affine = by_the_affine(case)
    drawn = patches_of(case.daily_structures, daily, daily=daily)
    truth = {
        number_of[roi.name]: drawn[roi.number]
        for roi in case.daily_structures.rois
        if roi.name in number_of and roi.number in drawn
    }
    names = {number: name for name, number in number_of.items()}
    scores = {one.name: one for one in score(truth, {"affine": affine, "found": found}, names)}

    def shown(organ: str) -> Shown | None:
        number = number_of.get(organ, -1)
        if number not in truth:
            return None
        distance = scores[organ].mean_mm["found"]
        title = f"{kind}: {organ}, {'not found' if distance is None else format(distance, '.1f') + ' mm'}"
        patches = (truth[number], found.get(number), paths["segmented"].get(number))
        return Shown(title, case.daily, patches)

    return [
        OrganResult(
            kind,
            organ,
            scores[organ].mean_mm["affine"] if organ in scores else None,
            scores[organ].mean_mm["found"] if organ in scores else None,
            told_of(answer.findings, number_of.get(organ)),
            shown(organ),
        )
        for organ in organs
    ]


def told_of(findings: Iterable[Finding], number: int | None) -> tuple[str, ...]:
    """Checks with a verdict of review or fail that name an ROI."""
    return tuple(
        finding.check
        for finding in findings
        if finding.verdict is not Verdict.PASS and finding.roi_number is not None and finding.roi_number == number
    )


def _mean(values: Iterable[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{sum(known) / len(known):.2f}" if known else "-"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="models/NAME/VERSION")
    parser.add_argument("--patients", type=int, default=2, help="per kind of material")
    parser.add_argument("--seed", type=int, default=6100)
    parser.add_argument("--in-plane", type=int, default=320, help="rows and columns")
    parser.add_argument("--picture", type=Path, help="of the worst organ of each kind, where one is over 1 mm")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
