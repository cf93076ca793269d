"""Cases of a few voxels, answers by hand, and scores for the tests of the evaluation."""

from dataclasses import dataclass

import numpy as np

from imaging.arrays import LabelVoxels
from imaging.geometry import VolumeGeometry
from imaging.masks import RoiPatch
from imaging.transforms import AffineTransform
from imaging.volume import Volume
from training.evaluation.scores import CaseScore, OrganScore
from training.evaluation.system import Contoured, HeldOutCase, PathName

GRID = VolumeGeometry((12, 16, 20), (-10.0, -8.0, -6.0), (1.0, 1.0, 2.0))
ORGANS = ("Bladder", "Rectum")
Box = tuple[slice, slice, slice]
BLADDER: Box = (slice(4, 8), slice(4, 8), slice(4, 8))
RECTUM: Box = (slice(4, 8), slice(10, 14), slice(12, 16))


@dataclass(frozen=True, eq=False)
class Scan:
    """A CT of soft tissue with labels."""

    volume: Volume
    labels: LabelVoxels


@dataclass(frozen=True, eq=False)
class Case:
    """Planning and daily CT of one patient on one grid."""

    name: str
    patient: str
    planning: Scan
    daily: Scan
    affine: AffineTransform


def scan(bladder: Box = BLADDER, rectum: Box | None = RECTUM) -> Scan:
    labels = np.zeros(GRID.shape, dtype=np.uint8)
    labels[bladder] = 1
    if rectum is not None:
        labels[rectum] = 2
    return Scan(Volume(np.where(labels > 0, 40, -80).astype(np.int16), GRID), labels)


def held_out(name: str = "0000000a-1", daily: Scan | None = None) -> Case:
    return Case(name, name.partition("-")[0], scan(), daily or scan(), AffineTransform.identity())


def patch(label: int, box: Box) -> RoiPatch:
    """An organ that fills a box."""
    lower = tuple(part.start for part in box)
    size = tuple(part.stop - part.start for part in box)
    return RoiPatch(label, lower, np.ones(size, dtype=np.float32), GRID)


@dataclass
class Fixed:
    """A system that always answers the same, and counts how often it is asked."""

    name: str
    boxes: dict[int, Box]
    path: PathName = "registration"
    identity: str = "1"
    asked: int = 0

    def contour(self, case: HeldOutCase) -> Contoured:  # noqa: ARG002
        self.asked += 1
        patches = tuple(patch(label, box) for label, box in self.boxes.items())
        return Contoured({self.path: patches}, None, 0.5)


def organ_score(organ: str, path: PathName, msd: float, dice: float = 0.8, **more: float) -> OrganScore:
    return OrganScore(organ, path, msd, 3 * msd, dice, 100 * msd, 100, **more)


def case_score(system: str, case: str, *organs: OrganScore, seconds: float = 1.0) -> CaseScore:
    return CaseScore(system, "1", case, case.partition("-")[0], organs, None, seconds)


def scores_of(system: str, organ: str, path: PathName, *distances: float) -> tuple[CaseScore, ...]:
    """One case for each distance; the overlap is 0 where it is infinite."""
    return tuple(
        case_score(system, f"{n:08x}-1", organ_score(organ, path, d, 0.0 if d == float("inf") else 0.8))
        for n, d in enumerate(distances)
    )
