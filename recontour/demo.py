"""`recontour demo`: a virtual patient goes through a real service over HTTP and is held against the truth."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imaging.dicom.ct_series import read_ct_series
from imaging.dicom.limits import ReadLimits
from imaging.dicom.objects import CtSeries
from imaging.dicom.parse import parse
from imaging.dicom.structure_set_reader import read_structure_set
from imaging.measures import measure
from imaging.transforms import AffineTransform
from phantom.case import PhantomCase
from recontour import picture
from recontour.client import Answer, Client, dicom_files
from recontour.local_service import local_service
from recontour.progress import upload_bar
from recontour.scoring import Patches, Score, mean_over, patches_of, score
from recontour.summary import remarks
from recontour.table import stage_table, text_table
from recontour.virtual_patient import CaseFolders, write_virtual_patient

STEPS = ("before", "affine", "propagated", "segmented")
SHOWN = ("Prostate", "SeminalVes", "Bladder", "Rectum")
"""ROIs in the picture: those that move from day to day."""
MARGIN_MM = 14.0
NOTE = "phantom (virtual patient)"


@dataclass(frozen=True, eq=False)
class Steps:
    """The ROIs on the daily grid, step by step, and where they should be."""

    daily: CtSeries
    truth: Patches
    found: dict[str, Patches]
    scores: tuple[Score, ...]


def run_demo(
    out: Path,
    *,
    seed: int,
    clinic: str,
    fraction: int = 1,
    url: str | None = None,
    key: str = "",
    service_arguments: Sequence[str] = (),
) -> None:
    """Make a virtual patient, have a service recontour it, save, score, draw and print.

    Args:
        out: Folder for the case, the RTSTRUCTs, report.json and contours.png.
        seed: Which patient.
        clinic: 'A' or 'B'.
        fraction: Which day.
        url: A service that runs; None starts one on loopback.
        key: API key of that service.
        service_arguments: More arguments of `recontour serve` for the one that is started.

    Raises:
        ClientError: If the service refuses, or does not answer.
    """
    print(f"virtual patient {seed} of clinic {clinic}, day {fraction} ...", flush=True)
    begun = time.monotonic()
    case, folders = write_virtual_patient(out / "case", seed=seed, clinic=clinic, fraction=fraction)
    slices, rows, columns = case.daily.geometry.shape
    print(f"  two CTs of {slices} slices of {rows}x{columns}, made in {time.monotonic() - begun:.1f} s")
    with _service(url, service_arguments) as address:
        answer = _send(address, folders, key=key)
    files = answer.save(out)
    steps = compare(case, folders, answer)
    draw_case(out / "contours.png", case, steps)
    print_scores(answer, steps)
    for file in (*files, out / "contours.png"):
        print(file)


@contextmanager
def _service(url: str | None, arguments: Sequence[str]) -> Iterator[str]:
    if url is not None:
        yield url
        return
    print("starting the service on loopback ...", flush=True)
    with local_service(arguments) as service:
        print(f"  ready after {service.start_s:.1f} s at {service.url}", flush=True)
        yield service.url


def _send(url: str, folders: CaseFolders, *, key: str) -> Answer:
    begun = time.monotonic()
    with Client(url, key=key) as client, upload_bar() as progress:
        answer = client.recontour(
            planning=folders.planning, structures=folders.structures, daily=folders.daily, progress=progress
        )
    print(f"sent and answered over HTTP in {time.monotonic() - begun:.2f} s", flush=True)
    return answer


def compare(case: PhantomCase, folders: CaseFolders, answer: Answer) -> Steps:
    """Read the answer back from its DICOM and hold every step against the truth.

    'before' is the plan laid on the daily CT by the coordinates of both scans; 'affine' is the plan after the affine
    of the report alone.
    """
    daily = read_ct(
        [item.read_bytes() for item in dicom_files(folders.daily, role="daily_ct") if isinstance(item, Path)]
    )
    grid = daily.volume.geometry
    affine = AffineTransform(np.array(answer.report["affine"]))
    planned, planning_grid = case.planning_structures, case.planning.geometry
    found: dict[str, Patches] = {
        "before": patches_of(planned, planning_grid, daily=grid),
        "affine": patches_of(planned, planning_grid, daily=grid, affine=affine),
    }
    for kind in ("PROPAGATED", "SEGMENTED"):
        found[kind.lower()] = _answered(answer, kind, daily) if kind in answer.objects else {}
    truth = patches_of(case.daily_structures, case.daily.geometry, daily=grid)
    names = {roi.number: roi.name for roi in case.daily_structures.rois}
    return Steps(daily, truth, found, score(truth, found, names))


def read_ct(files: list[bytes]) -> CtSeries:
    """A daily CT of ours, read as the service reads it."""
    limits = ReadLimits()
    return read_ct_series([parse(file, limits=limits) for file in files], role="daily CT", limits=limits)


def _answered(answer: Answer, kind: str, daily: CtSeries) -> Patches:
    limits = ReadLimits()
    read = read_structure_set(parse(answer.objects[kind], limits=limits), daily, limits=limits)
    return patches_of(read.structures, daily.volume.geometry, daily=daily.volume.geometry)


def draw_case(path: Path, case: PhantomCase, steps: Steps) -> None:
    """The picture of the organs that move, through the middle of the true prostate."""
    names = {roi.number: roi.name for roi in case.daily_structures.rois if roi.name in SHOWN}
    shown = {number: measure(steps.truth[number]) for number in names if number in steps.truth}
    through = next(m.centroid_mm for number, m in shown.items() if names[number] == SHOWN[0] and m.centroid_mm)
    lower = np.min([m.lower_mm for m in shown.values() if m.lower_mm], axis=0)
    upper = np.max([m.upper_mm for m in shown.values() if m.upper_mm], axis=0)
    x, y, z = (lower + upper) / 2
    kinds = (
        (picture.TRUTH, steps.truth),
        (picture.PLANNING, steps.found["before"]),
        (picture.PROPAGATED, steps.found["propagated"]),
        (picture.SEGMENTED, steps.found["segmented"]),
    )
    picture.draw(
        path,
        steps.daily.volume,
        outlines=[
            picture.Outlines(style, [patches[number] for number in names if number in patches])
            for style, patches in kinds
        ],
        names=names,
        through_mm=through,
        centre_mm=(float(x), float(y), float(z)),
        half_width_mm=float((upper - lower).max()) / 2 + MARGIN_MM,
        note=NOTE,
    )


def print_scores(answer: Answer, steps: Steps) -> None:
    """Per ROI: volumes, Dice and mean surface distance step by step; then findings and times."""
    report = {roi["number"]: roi for roi in answer.report["rois"]}
    print("\nvolumes, and Dice against the true contours of the day")
    volumes = ("recommended", "plan cc", "true cc", "propagated cc", "segmented cc")
    rows = [
        (one.name, *(report.get(one.number, {}).get(key) for key in ("recommended_path", "planned_cc")), one.true_cc,
         *(report.get(one.number, {}).get(f"{path}_cc") for path in ("propagated", "segmented")),
         *(one.dice[step] for step in STEPS))
        for one in steps.scores
    ]  # fmt: skip
    print(text_table(("ROI", *volumes, *STEPS), rows, decimals=(0, 0, 1, 1, 1, 1, 3, 3, 3, 3)))
    print("\nmean distance to the true surface, mm")
    rows = [(one.name, *(one.mean_mm[step] for step in STEPS)) for one in steps.scores]
    print(text_table(("ROI", *STEPS), rows, decimals=(0, 2, 2, 2, 2)))
    means = ", ".join(f"{step} {value:.3f}" for step in STEPS if (value := mean_over(steps.scores, step)) is not None)
    print(f"\nmean Dice: {means}\n")
    for line in remarks(answer.report):
        print(line)
    print()
    print(stage_table(answer.stages_s or answer.report["stages_s"]))
    print()
