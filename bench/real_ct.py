"""A real CT over HTTP, held against the known truth and judged by independent programs.

    python -m bench.real_ct                    both days of cort-liver; ends with 1 where a goal is missed
    python -m bench.real_ct --save out/        besides, keeps the RTSTRUCTs and report.json

A real planning CT with its clinical contours, and a daily CT made from it: the deformation is synthetic, and so is its
truth. "before" lays the plan on the daily CT by the coordinates of both scans, "affine" is the service's answer with
{"refine": "off"}. Volumes are judged like for like: centres of the CT's pixels beside our mask, and fine pixels beside
the ROI Volume that we write, which is the exact area times the slice distance. Without the data nothing is done.
"""

import argparse
import io
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pydicom
from pydicom import Dataset

from bench.real_case import ABSENT, OUTLINE, SYNTHETIC, RealCase, load, mean_without_outline
from bench.reoriented import stored_as
from imaging.geometry import VolumeGeometry
from imaging.measures import measure_packed
from imaging.rasterize import rasterize
from recontour.client import Answer, Client
from recontour.local_service import local_service
from recontour.summary import remarks
from recontour.table import Cell, stage_table, text_table
from service.settings import NO_MODEL
from tests.referees import dciodvfy_errors, plastimatch_volumes_cc

VOLUME_PERCENT = 1.0
POSITIONS = ("FFS", "FFP")
KINDS = ("RECOMMENDED", "PROPAGATED")
FINER = 4
"""A thin cord is six pixels of the CT across: how many centres a line encloses says little about its area there."""


@dataclass
class Verdicts:
    """Goals, as they are met or missed."""

    missed: int = 0
    lines: list[str] = field(default_factory=list)

    def add(self, goal: str, met: bool) -> None:
        self.missed += not met
        self.lines.append(f"{'met   ' if met else 'MISSED'}  {goal}")


def main() -> None:
    options = _parser().parse_args()
    cases = [case for case in (load(hard=False), load(hard=True)) if case is not None]
    if not cases:
        print(f"skipped: {ABSENT}")
        sys.exit(0)
    missed = 0
    arguments = ["--models-dir", str(options.models_dir), "--model", options.model]
    print(f"load of the machine before: {os.getloadavg()[0]:.1f}, cores: {len(os.sched_getaffinity(0))}", flush=True)
    with local_service(arguments) as service, Client(service.url) as client:
        for case in cases:
            missed += judge(client, case, save=options.save)
    print("every goal is met" if not missed else f"{missed} goals are missed")
    sys.exit(1 if missed else 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models-dir", type=Path, default=Path("models"))
    parser.add_argument("--model", default=NO_MODEL, help="the abdomen needs none")
    parser.add_argument("--save", type=Path, help="folder for the RTSTRUCTs and reports")
    return parser


def judge(client: Client, case: RealCase, *, save: Path | None = None) -> int:
    """Send one case as it is, without refinement, and stored for other patient positions; print all. Goals missed."""
    slices, rows, columns = case.daily.volume.geometry.shape
    print(f"\n# {case.title}: {SYNTHETIC}\n")
    print(f"planning CT of {len(case.planning_files)} slices, daily CT of {slices}, {rows}x{columns}; ", end="")
    print(f"{len(case.plan.structures.rois)} ROIs\n", flush=True)
    # The first request of a service may still pay for what is done once.
    send(client, case)
    answer = send(client, case)
    affine = send(client, case, options={"refine": "off"})
    if save is not None:
        answer.save(save / case.title.replace(" ", "-"))
    verdicts = Verdicts()
    drawn = [contour_bytes(answer.objects[kind]) for kind in KINDS]
    kinds = KINDS if drawn[0] != drawn[1] else KINDS[:1]
    if len(kinds) == 1:
        print(f"{' and '.join(KINDS)} have the same contours, byte for byte\n")
    _overlap(case, answer, affine, kinds, verdicts)
    for kind in KINDS:
        _identity(case, kind, answer, verdicts)
        _standard(kind, answer, verdicts)
    for kind in kinds:
        _volumes(case, kind, answer, verdicts)
    for position in POSITIONS:
        turned = send(client, case, position=position)
        same = [contour_bytes(turned.objects[kind]) for kind in KINDS] == drawn
        verdicts.add(f"both scans stored as {position}: byte for byte the same contours", same)
    print("\n".join(remarks(answer.report)), "\n", sep="")
    print(stage_table(answer.stages_s), "\n")
    print("\n".join(verdicts.lines), "\n", flush=True)
    return verdicts.missed


def send(
    client: Client, case: RealCase, *, options: Mapping[str, object] | None = None, position: str | None = None
) -> Answer:
    """The case over HTTP, on demand with both scans stored for another patient position."""
    planning, daily = case.planning_files, case.daily_files
    if position is not None:
        planning, daily = stored_as(position, planning), stored_as(position, daily)
    return client.recontour(planning=planning, structures=[case.structures_file], daily=daily, options=options)


def _overlap(case: RealCase, answer: Answer, affine: Answer, kinds: Sequence[str], verdicts: Verdicts) -> None:
    steps = {
        "before": case.before(),
        "affine": case.dice_of(case.read_answer(affine.objects["PROPAGATED"])),
        **{kind: case.dice_of(case.read_answer(answer.objects[kind])) for kind in kinds},
    }
    rows: list[list[Cell]] = [[name, *(values[name] for values in steps.values())] for name in case.truth]
    means = {step: mean_without_outline(values) for step, values in steps.items()}
    rows.append([f"mean without {OUTLINE}", *means.values()])
    print(text_table(("Dice against the truth", *steps), rows, decimals=(0, *[3] * len(steps))), "\n")
    for kind in kinds:
        mean, goal = means[kind], case.target.mean_dice
        verdicts.add(f"{kind}: mean Dice without {OUTLINE} {mean:.3f}, at least {goal:.2f}", mean >= goal)
        change, worst = min((steps[kind][name] - steps["affine"][name], name) for name in case.truth)
        text = f"{kind}: worst change of an ROI against the affine {change:+.3f} ({worst})"
        verdicts.add(f"{text}, at worst -{case.target.loss:.2f}", change >= -case.target.loss)


def _identity(case: RealCase, kind: str, answer: Answer, verdicts: Verdicts) -> None:
    planned, returned = identities(case.structures_file), identities(answer.objects[kind])
    drawn = sum(1 for loops in contour_bytes(answer.objects[kind]).values() if loops)
    same = sum(returned.get(number) == identity for number, identity in planned.items())
    verdicts.add(
        f"{kind}: {drawn} of {len(planned)} ROIs have contours, {same} the plan's number, name and colour",
        drawn == same == len(planned) == len(returned),
    )


def identities(rtstruct: bytes) -> dict[int, tuple[str, tuple[int, ...]]]:
    """Name and colour by ROI number."""
    dataset = _dataset(rtstruct)
    colours = {
        int(item.ReferencedROINumber): tuple(int(part) for part in item.ROIDisplayColor)
        for item in dataset.ROIContourSequence
    }
    return {
        int(item.ROINumber): (str(item.ROIName), colours[int(item.ROINumber)])
        for item in dataset.StructureSetROISequence
    }


def contour_bytes(rtstruct: bytes) -> dict[int, list[bytes]]:
    """Contour Data as it is stored, by ROI number."""
    return {
        int(item.ReferencedROINumber): [
            contour.get_item("ContourData").value for contour in item.get("ContourSequence", [])
        ]
        for item in _dataset(rtstruct).ROIContourSequence
    }


def _standard(kind: str, answer: Answer, verdicts: Verdicts) -> None:
    if shutil.which("dciodvfy") is None:
        verdicts.add(f"{kind}: dciodvfy is not installed", False)
        return
    errors = dciodvfy_errors(answer.objects[kind])
    verdicts.add("; ".join([f"{kind}: dciodvfy reports {len(errors)} errors", *errors]), not errors)


def _volumes(case: RealCase, kind: str, answer: Answer, verdicts: Verdicts) -> None:
    """plastimatch on the CT's pixels beside our mask there, and on fine pixels beside the area that we state."""
    if shutil.which("plastimatch") is None:
        verdicts.add(f"{kind}: plastimatch is not installed", False)
        return
    content, grid = answer.objects[kind], case.daily.volume.geometry
    masks = rasterize(case.read_answer(content), grid)
    counted = {number: found.volume_cc for group in masks for number, found in measure_packed(group).items()}
    mask_cc = {name: counted.get(number, 0.0) for number, name in case.names().items()}
    stated_cc = {str(item.ROIName): float(item.ROIVolume) for item in _dataset(content).StructureSetROISequence}
    coarse = plastimatch_volumes_cc(content, case.daily_files)
    fine = plastimatch_volumes_cc(content, case.daily_files, grid=finer(grid))
    off = [
        (percent(coarse.get(name, 0.0), mask_cc[name]), percent(fine.get(name, 0.0), stated_cc[name]))
        for name in stated_cc
    ]
    rows = [
        (name, coarse.get(name), mask_cc[name], first, fine.get(name), stated_cc[name], second)
        for name, (first, second) in zip(stated_cc, off, strict=True)
    ]
    pixel = grid.spacing_mm[0]
    on_coarse, on_fine = f"plastimatch, {pixel:g} mm", f"plastimatch, {pixel / FINER:g} mm"
    headers = (f"{kind}, cc", on_coarse, "our mask", "%", on_fine, "ROI Volume", "%")
    print(text_table(headers, rows, decimals=(0, 2, 2, 2, 2, 2, 2)), "\n")
    for column, where, what in ((0, on_coarse, "our mask"), (1, on_fine, "ROI Volume")):
        worst = max(abs(pair[column]) for pair in off)
        goal = f"{kind}: {where}: every ROI within {worst:.2f} % of {what}, at most {VOLUME_PERCENT:.0f} %"
        verdicts.add(goal, worst <= VOLUME_PERCENT)


def finer(grid: VolumeGeometry) -> VolumeGeometry:
    """The same slices, each pixel divided by `FINER` along both sides."""
    (x, y, z), (sx, sy, sz), (planes, rows, columns) = grid.origin_mm, grid.spacing_mm, grid.shape
    inset = (1 - 1 / FINER) / 2
    return VolumeGeometry(
        (planes, rows * FINER, columns * FINER), (x - inset * sx, y - inset * sy, z), (sx / FINER, sy / FINER, sz)
    )


def percent(theirs: float, ours: float) -> float:
    return 100 * (theirs / ours - 1) if ours else float("inf")


def _dataset(content: bytes) -> Dataset:
    return pydicom.dcmread(io.BytesIO(content))


if __name__ == "__main__":
    main()
