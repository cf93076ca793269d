"""The real abdominal CT of the shared test data as DICOM files, with what is known about its truth."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imaging.arrays import MaskVoxels
from imaging.dicom.ct_series import read_ct_series
from imaging.dicom.limits import ReadLimits
from imaging.dicom.objects import CtSeries, PlannedStructures
from imaging.dicom.parse import parse
from imaging.dicom.structure_set_reader import read_structure_set
from imaging.masks import RoiPatch
from imaging.metrics import dice
from imaging.propagation import propagate
from imaging.rasterize import mask_of, rasterize
from imaging.structures import StructureSet
from imaging.transforms import Deformation
from recontour.scoring import patches_of

SHARED = Path(os.environ.get("RECONTOUR_SHARED", Path(__file__).resolve().parents[1] / ".." / "shared"))
FOLDER = SHARED / "data" / "cort-liver"
ABSENT = "the shared test data with the case cort-liver are not beside the project (nor at RECONTOUR_SHARED)"
SYNTHETIC = "a real CT with its clinical contours; the deformation to the daily CT is synthetic"
OUTLINE = "BODY"
LIMITS = ReadLimits()


@dataclass(frozen=True)
class Target:
    """What the answer must reach: mean Dice without the body outline, and the most that an ROI may lose."""

    mean_dice: float
    loss: float


@dataclass(frozen=True, eq=False)
class RealCase:
    """One case as files, read, and with its truth on the daily grid by ROI name."""

    title: str
    target: Target
    planning_files: list[bytes]
    structures_file: bytes
    daily_files: list[bytes]
    planning: CtSeries
    plan: PlannedStructures
    daily: CtSeries
    truth: dict[str, MaskVoxels]

    def names(self) -> dict[int, str]:
        return {roi.number: roi.name for roi in self.plan.structures.rois}

    def carried(self, deformation: Deformation) -> dict[str, float]:
        """Dice of every planned ROI, BODY too, as a deformation carries it to the daily CT."""
        masks = rasterize(self.plan.structures, self.planning.volume.geometry, within=True)
        patches = propagate(masks, deformation, self.daily.volume.geometry)
        names = self.names()
        return {names[patch.roi_number]: dice(whole(patch), self.truth[names[patch.roi_number]]) for patch in patches}

    def read_answer(self, rtstruct: bytes) -> StructureSet:
        return read_structure_set(parse(rtstruct, limits=LIMITS), self.daily, limits=LIMITS).structures

    def before(self) -> dict[str, float]:
        """Dice of the planned ROIs where the coordinates of both scans put them."""
        planned, drawn_on = self.plan.structures, self.planning.volume.geometry
        patches = patches_of(planned, drawn_on, daily=self.daily.volume.geometry)
        return {name: dice(whole(patches[number]), self.truth[name]) for number, name in self.names().items()}

    def dice_of(self, structures: StructureSet) -> dict[str, float]:
        """Dice of ROIs that are drawn on the daily CT; an ROI without contours has 0."""
        masks = rasterize(structures, self.daily.volume.geometry)
        return {roi.name: dice(mask_of(masks, roi.number), self.truth[roi.name]) for roi in structures.rois}


def cort_liver(*, hard: bool) -> RealCase:
    """`load` for a benchmark, which ends with a clear word where the data are absent."""
    case = load(hard=hard)
    if case is None:
        raise SystemExit(ABSENT)
    return case


def load(*, hard: bool) -> RealCase | None:
    """The case, or its second day with gas, contrast, noise and streaks; None where the data are absent.

    Raises:
        ValueError: If the truth does not lie on the grid of the daily CT.
    """
    if not FOLDER.is_dir():
        return None
    title, target = ("cort-liver hard", Target(0.95, 0.01)) if hard else ("cort-liver", Target(0.96, 0.01))
    planning_files = _files("planning", "image*.dcm")
    (structures_file,) = _files("planning", "rtss_*.dcm")
    daily_files = _files("daily-hard" if hard else "daily", "*.dcm")
    planning = read_ct_series(
        [parse(file, limits=LIMITS) for file in planning_files], role="planning CT", limits=LIMITS
    )
    daily = read_ct_series([parse(file, limits=LIMITS) for file in daily_files], role="daily CT", limits=LIMITS)
    plan = read_structure_set(parse(structures_file, limits=LIMITS), planning, limits=LIMITS)
    return RealCase(
        title,
        target,
        planning_files,
        structures_file,
        daily_files,
        planning,
        plan,
        daily,
        _truth(FOLDER / ("truth-hard.npz" if hard else "truth.npz"), daily),
    )


def mean_without_outline(values: dict[str, float]) -> float:
    return float(np.mean([value for name, value in values.items() if name != OUTLINE]))


def _files(folder: str, pattern: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((FOLDER / folder).glob(pattern))]


def _truth(path: Path, daily: CtSeries) -> dict[str, MaskVoxels]:
    grid = daily.volume.geometry
    with np.load(path) as stored:
        for key, here in (("origin_xyz", grid.origin_mm), ("spacing_xyz", grid.spacing_mm)):
            if not np.allclose(stored[key], here, atol=1e-3):
                raise ValueError(f"{key} of the truth is {stored[key]}, of the daily CT {here}")
        truth = {name.removeprefix("mask_"): stored[name] for name in stored.files if name.startswith("mask_")}
    if any(mask.shape != grid.shape for mask in truth.values()):
        raise ValueError("the truth has another shape than the daily CT")
    return truth


def whole(patch: RoiPatch) -> MaskVoxels:
    """The patch as a mask on its whole grid."""
    mask = np.zeros(patch.geometry.shape, dtype=bool)
    box = tuple(slice(a, a + n) for a, n in zip(patch.lower, patch.inside.shape, strict=True))
    mask[box] = patch.inside >= 0.5
    return mask
