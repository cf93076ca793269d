"""The scans of one patient, from DICOM to pairs and cases; at most the planning CT and one daily CT are in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

import numpy as np

from imaging.dicom.ct_series import CtRole, read_ct_series
from imaging.dicom.limits import ReadLimits
from imaging.dicom.objects import CtSeries, PlannedStructures
from imaging.dicom.parse import parse
from imaging.dicom.patient import check_same_patient
from imaging.dicom.structure_set_reader import read_structure_set
from imaging.errors import InputError, MissingObject, RecontouringError
from imaging.findings import Verdict
from imaging.plan import contour_points, grid_around
from imaging.preprocessing import sample_labels
from imaging.rasterize import rasterize
from imaging.structures import StructureSet
from imaging.transforms import AffineTransform
from training.aliases import Aliases, organ_numbers
from training.dataset import HeldOutCase, write_case
from training.discover import PatientFiles, ScanFiles
from training.names import pair_name
from training.pairs import LabelledScan, aligned_pair, write_pair
from training.unusable import Rejection, Unusable, because

TARGETS = (3, 4)
"""SeminalVes and Prostate: the first group of sampling centres, as in Beljaards et al., MIDL 2020."""


@dataclass(frozen=True)
class PatientTask:
    """What one process is given.

    Attributes:
        files: The patient's scans.
        pseudonym: Stands for the patient in all that is written.
        aliases: Names of the organs.
        out: Folder of the dataset.
        spacing_mm: Of the model grid.
        margin_voxels: Of a pair's box round the organs.
        seed: Of the sampling centres.
        key: Of the pseudonyms.
        held_out: Whether native cases are kept too.
        done: Numbers of the days that are stored already.
    """

    files: PatientFiles = field(repr=False)
    pseudonym: str
    aliases: Aliases = field(repr=False)
    out: Path
    spacing_mm: float
    margin_voxels: int
    seed: int
    key: bytes = field(repr=False)
    held_out: bool
    done: frozenset[int] = frozenset()

    def name(self, day: int) -> str:
        """PATIENT-DAY."""
        return pair_name(self.pseudonym, day)

    def source(self, day: int) -> str:
        """A hash over the files that a pair is made of, keyed like the pseudonyms, to notice when they change."""
        digests = [*self.files.planning.digests, *dict(self.files.dailies)[day].digests]
        return blake2b("\n".join(digests).encode(), key=self.key, digest_size=16).hexdigest()


@dataclass(frozen=True, eq=False)
class _Read:
    """A scan with everything that later steps compare."""

    scan: LabelledScan
    series: CtSeries
    structures: PlannedStructures


def prepare_patient(task: PatientTask) -> tuple[Rejection, ...]:
    """Store the pairs, and of a held-out patient the cases, that are missing; returns what could not be used."""
    missing = [(day, files) for day, files in task.files.dailies if day not in task.done]
    if not missing:
        return ()
    try:
        planning = _read(task.files.planning, "planning CT", task.aliases)
    except (RecontouringError, Unusable) as error:
        why = "the planning CT of the patient cannot be used", "see the line of the planning CT"
        first = _rejection(task, task.files.planning, because(error), "planning CT")
        return (first, *(_rejection(task, files, why) for _, files in missing))
    rejections = []
    for day, files in missing:
        try:
            _prepare_day(task, day, planning, _read(files, "daily CT", task.aliases))
        except (RecontouringError, Unusable) as error:
            rejections.append(_rejection(task, files, because(error)))
    return tuple(rejections)


def _prepare_day(task: PatientTask, day: int, planning: _Read, daily: _Read) -> None:
    for structures in (planning.structures, daily.structures):
        findings = check_same_patient(planning.series, structures, daily.series)
        failed = [finding for finding in findings if finding.verdict is Verdict.FAIL]
        if failed:
            reason, _, advice = failed[0].message.rpartition("; ")
            raise Unusable(reason, advice)
    pair = aligned_pair(
        daily=daily.scan,
        planning=planning.scan,
        spacing_mm=task.spacing_mm,
        margin_voxels=task.margin_voxels,
    )
    for side, what in enumerate(("daily", "planning")):
        _check_all_there(pair.labels[side], task.aliases, f"the {what} CT on the model grid")
    name = task.name(day)
    seed = int.from_bytes(blake2b(f"{task.seed} {name}".encode(), digest_size=8).digest())
    if task.held_out:
        case = HeldOutCase(name, task.pseudonym, planning.scan, daily.scan, pair.affine)
        write_case(case, task.out / "cases")
    write_pair(pair, task.out / "pairs", name=name, targets=TARGETS, seed=seed, source=task.source(day))


def _read(files: ScanFiles, role: CtRole, aliases: Aliases) -> _Read:
    """A CT with its organs as labels; where organs overlap the highest label wins, as in the service."""
    limits = ReadLimits()
    try:
        objects = [parse(Path(file).read_bytes(), limits=limits) for file in files.images]
        drawn = parse(Path(files.structures).read_bytes(), limits=limits)
    except OSError:
        raise MissingObject("a file of the scan can no longer be opened; run again when it is there") from None
    series = read_ct_series(objects, role=role, limits=limits)
    del objects
    try:
        structures = read_structure_set(drawn, series, limits=limits)
    except InputError as error:
        # The reader knows structure sets of plans only.
        raise Unusable(*(words.replace("planning CT", role) for words in because(error))) from None
    label_of = organ_numbers(structures.structures.rois, aliases)
    organs = StructureSet(tuple(roi for roi in structures.structures.rois if roi.number in label_of))
    grid = series.volume.geometry
    _check_inside(organs, label_of, series, aliases)
    (masks,) = rasterize(organs, grid_around(contour_points(organs), grid))
    labels = sample_labels(masks, label_of, affine=AffineTransform.identity(), region=grid)
    _check_all_there(labels, aliases, "its own grid")
    return _Read(LabelledScan(series.volume, labels), series, structures)


def _check_inside(organs: StructureSet, label_of: dict[int, int], series: CtSeries, aliases: Aliases) -> None:
    """Refuse organs that go on where the scan ends: half a bladder would teach that bladders end in a plane."""
    grid = series.volume.geometry
    lower, upper = np.asarray(grid.origin_mm), np.asarray(grid.last_mm)
    slack = np.array([0.0, 0.0, grid.spacing_mm[2] / 2])
    for roi in organs.rois:
        points = contour_points(StructureSet((roi,)))
        if np.any(points.min(axis=0) <= lower + slack) or np.any(points.max(axis=0) >= upper - slack):
            raise Unusable(
                f"the contours of {aliases.organs[label_of[roi.number] - 1]} reach the end of the scan, "
                "so the organ may be cut off",
                "add the missing slices, or leave this scan out",
            )


def _check_all_there(labels: np.ndarray, aliases: Aliases, where: str) -> None:
    counts = np.bincount(labels.ravel(), minlength=len(aliases.organs) + 1)
    for organ, count in zip(aliases.organs, counts[1:], strict=False):
        if not count:
            raise Unusable(f"{organ} has no voxel on {where}", "check its contours; another organ may cover it")


def _rejection(task: PatientTask, files: ScanFiles, why: Sequence[str], role: str = "daily CT") -> Rejection:
    reason, advice = why
    sources = (*files.images, files.structures)
    return Rejection(task.files.patient_id, f"{files.name}, {role}", reason, advice, sources)
