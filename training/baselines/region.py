"""Where the classical registrations work: a box round the planned organs on the daily patient, and what comes of it.

Both CTs are resampled once onto even grids of the affinely aligned daily patient. A registration returns a displacement
on the daily grid; the contours come from it through the same propagation as those of the service.
"""

from dataclasses import dataclass
from time import perf_counter

import numpy as np

from imaging.arrays import DvfVoxels, FloatVoxels, Points
from imaging.displacement import taper_weight
from imaging.geometry import VolumeGeometry
from imaging.propagation import propagate
from imaging.resampling import resample_deformed
from imaging.transforms import AffineTransform, Deformation, DisplacementField
from imaging.volume import Volume
from training.evaluation.network_system import labelled_points
from training.evaluation.system import Contoured, HeldOutCase
from training.pairs import packed_organs

MARGIN_MM = 30.0
"""Room round the planned organs: a bladder wall that moves 20 mm stays where the field is not yet tapered."""
BEYOND_MM = 20.0
"""How much farther the planning CT reaches than the daily one, so that a displaced point still finds a value."""
TAPER_MM = 10.0
BOX_MM = (MARGIN_MM, BEYOND_MM, TAPER_MM)
"""What every answer depends on beside a system's own settings."""
ORGANS = 4
"""Labels 1 to 4: bladder, rectum, seminal vesicles, prostate."""


@dataclass(frozen=True, eq=False)
class ScanPair:
    """Both CTs on the affinely aligned daily patient.

    Attributes:
        fixed: Daily CT, (z, y, x) float32 HU on `fixed_grid`.
        moving: Planning CT after the affine, (z, y, x) float32 HU on `moving_grid`.
        fixed_grid: Even grid over the planned organs with `MARGIN_MM`.
        moving_grid: The same voxels, `BEYOND_MM` farther on every side.
        affine: From the daily to the planning patient.
        daily: The daily CT's own grid.
    """

    fixed: FloatVoxels
    moving: FloatVoxels
    fixed_grid: VolumeGeometry
    moving_grid: VolumeGeometry
    affine: AffineTransform
    daily: VolumeGeometry


def scan_pair(
    *, daily: Volume, planning: Volume, affine: AffineTransform, around_mm: Points, spacing_mm: float
) -> ScanPair:
    """Both CTs round points of the planning patient.

    Args:
        daily: The fixed image.
        planning: The moving image.
        affine: From the daily to the planning patient.
        around_mm: (n, 3) points of the planned organs on the planning patient, LPS millimetres.
        spacing_mm: Of the even working grid.
    """
    grid = region_round(affine.to_fixed(around_mm), daily.geometry, spacing_mm)
    n = int(np.ceil(BEYOND_MM / spacing_mm))
    z, y, x = grid.shape
    wider = grid.cropped((-n, -n, -n), (z + n, y + n, x + n))
    fixed = _on_grid(daily, grid, AffineTransform.identity())
    return ScanPair(fixed, _on_grid(planning, wider, affine), grid, wider, affine, daily.geometry)


def region_round(points_mm: Points, daily: VolumeGeometry, spacing_mm: float) -> VolumeGeometry:
    """The even grid over points (n, 3) of the daily patient with `MARGIN_MM`, no farther than the daily scan."""
    lower = np.maximum(points_mm.min(axis=0) - MARGIN_MM, daily.origin_mm)
    upper = np.minimum(points_mm.max(axis=0) + MARGIN_MM, daily.last_mm)
    x, y, z = (int(n) for n in np.floor((upper - lower) / spacing_mm + 1e-6) + 1)
    x0, y0, z0 = (float(v) for v in lower)
    return VolumeGeometry((z, y, x), (x0, y0, z0), (spacing_mm,) * 3)


def pair_of(case: HeldOutCase, spacing_mm: float) -> ScanPair:
    """The two CTs of a case round its planned organs."""
    return scan_pair(
        daily=case.daily.volume,
        planning=case.planning.volume,
        affine=case.affine,
        around_mm=labelled_points(case.planning),
        spacing_mm=spacing_mm,
    )


def deformation_of(pair: ScanPair, vectors: DvfVoxels) -> Deformation:
    """The affine and a displacement (3, z, y, x) mm on `pair.fixed_grid`, tapered where the patient goes on beyond it.

    One voxel more on each side repeats the outermost vectors, so that the last planes of the scan are not left out.
    """
    z, y, x = pair.fixed_grid.shape
    grid = pair.fixed_grid.cropped((-1, -1, -1), (z + 1, y + 1, x + 1))
    wider = np.pad(vectors, ((0, 0), (1, 1), (1, 1), (1, 1)), mode="edge")
    return Deformation(pair.affine, (DisplacementField(wider * end_weight(grid, pair.daily), grid),))


def end_weight(grid: VolumeGeometry, daily: VolumeGeometry) -> FloatVoxels:
    """(z, y, x) from 0 to 1 over `TAPER_MM` where a grid ends inside the daily scan, and 1 where the scan ends first.

    A bladder that reaches the last plane of a scan would otherwise be held there.
    """
    reach = [int(np.ceil(TAPER_MM / step)) + 1 for step in grid.spacing_mm]
    sides = zip(grid.origin_mm, daily.origin_mm, grid.spacing_mm, strict=True)
    lower = [n * (first <= end + step) for n, (first, end, step) in zip(reach, sides, strict=True)]
    sides = zip(grid.last_mm, daily.last_mm, grid.spacing_mm, strict=True)
    upper = [n * (last >= end - step) for n, (last, end, step) in zip(reach, sides, strict=True)]
    z, y, x = grid.shape
    wider = grid.cropped((-lower[2], -lower[1], -lower[0]), (z + upper[2], y + upper[1], x + upper[0]))
    weight = taper_weight(wider, TAPER_MM)
    return weight[lower[2] : lower[2] + z, lower[1] : lower[1] + y, lower[0] : lower[0] + x]


def carried(case: HeldOutCase, deformation: Deformation, *, since: float) -> Contoured:
    """The planned organs of a case on the daily CT.

    Args:
        case: Whose organs.
        deformation: From the daily to the planning patient, of one field at most.
        since: `time.perf_counter()` when the system began with the case.
    """
    patches = propagate((packed_organs(case.planning, ORGANS),), deformation, case.daily.volume.geometry)
    dvf = deformation.fields[-1] if deformation.fields else None
    return Contoured({"registration": patches}, dvf, perf_counter() - since)


def _on_grid(volume: Volume, grid: VolumeGeometry, affine: AffineTransform) -> FloatVoxels:
    """A CT on a grid; beyond it the outermost voxels are repeated, so that its end does not look like air."""
    still = DisplacementField(np.zeros((3, *grid.shape), dtype=np.float32), grid)
    return resample_deformed(volume.coarsened(grid.spacing_mm), still, affine=affine)[0]
