"""Virtual patients as the shipped model never saw them: one change at a time on an ordinary day of clinic B.

Each kind takes a case and gives another; the truth stays known because nothing is moved but what is said. All of it is
drawn by rule, so it shows what the service says of strange material, never how well it does on such patients.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from imaging.arrays import HuVoxels, MaskVoxels
from imaging.geometry import VolumeGeometry
from imaging.rasterize import mask_of, rasterize
from imaging.structures import Contour, StructureSet
from imaging.volume import AIR_HU, Volume
from phantom.case import CLINIC_B, PhantomCase, VirtualPatient, make_case

Draw = Callable[[int, int], PhantomCase]
"""From a seed and the number of rows and columns to a case: scans and contours. Its labels and its displacement stay
those of the ordinary day."""

GAS_HU, WALL_HU = -300, 35
BODY_HU = -300
CONTRAST_HU, METAL_HU = 320, 3000
CONE_BEAM_SCANNER = replace(
    CLINIC_B.scanner, noise_hu=55.0, noise_grain_mm=2.4, blur_mm=2.2, offset_hu=-35.0, contrast=0.75, streaks=3.0
)
CONE_BEAM_RADIUS_MM, CONE_BEAM_LENGTH_MM = 125.0, 150.0


def ordinary(seed: int, in_plane: int) -> PhantomCase:
    """A day of clinic B as it is."""
    return make_case(seed, clinic=CLINIC_B, in_plane=in_plane)


def larger(seed: int, in_plane: int) -> PhantomCase:
    """A patient of 1.25 times the size, larger than any that the phantom draws."""
    return _scaled(ordinary(seed, in_plane), 1.25)


def smaller(seed: int, in_plane: int) -> PhantomCase:
    """A patient of 0.8 times the size."""
    return _scaled(ordinary(seed, in_plane), 0.8)


def thick_slices(seed: int, in_plane: int) -> PhantomCase:
    """Slices of 3 mm in both scans."""
    pixel = 460.8 / in_plane
    return make_case(seed, clinic=CLINIC_B, in_plane=in_plane, spacing_mm=(pixel, pixel, 3.0))


def cone_beam(seed: int, in_plane: int) -> PhantomCase:
    """A daily scan with a cone beam's noise, contrast, offset, round field of view and length."""
    case = ordinary(seed, in_plane)
    day = VirtualPatient(seed, replace(CLINIC_B, scanner=CONE_BEAM_SCANNER)).daily(1, in_plane=in_plane).volume
    grid = day.geometry
    z = grid.axis_mm("z")
    kept = np.flatnonzero(np.abs(z - z.mean()) <= CONE_BEAM_LENGTH_MM / 2)
    lower, upper = int(kept[0]), int(kept[-1]) + 1
    x, y = grid.axis_mm("x")[None, :], grid.axis_mm("y")[:, None]
    hu = day.hu[lower:upper].copy()
    hu[:, np.hypot(x - x.mean(), y - y.mean()) > CONE_BEAM_RADIUS_MM] = AIR_HU
    geometry = grid.cropped((lower, 0, 0), (upper, *grid.shape[1:]))
    seen = geometry.axis_mm("z")[[0, -1]]
    return replace(case, daily=Volume(hu, geometry), daily_structures=_between(case.daily_structures, *seen))


def hip_prosthesis(seed: int, in_plane: int) -> PhantomCase:
    """Metal in the place of both femoral heads in both scans, dark between them, with streaks."""
    case = ordinary(seed, in_plane)
    return _both(case, _with_metal)


def contrast_in_bladder(seed: int, in_plane: int) -> PhantomCase:
    """Contrast medium in the bladder of the day only."""
    case = ordinary(seed, in_plane)
    inside = _mask(case.daily_structures, "Bladder", case.daily.geometry)
    filled = ndimage.gaussian_filter(inside.astype(np.float32), 1.0) * (CONTRAST_HU - 5)
    return replace(case, daily=_volume(case.daily.hu + filled * inside, case.daily.geometry))


def empty_rectum(seed: int, in_plane: int) -> PhantomCase:
    """No gas in the rectum of either day."""
    return _both(ordinary(seed, in_plane), _without_gas)


def turned_round(seed: int, in_plane: int) -> PhantomCase:
    """A patient who lies prone on the day, in files that call him supine."""
    case = ordinary(seed, in_plane)
    grid = case.daily.geometry
    middle = np.array([grid.axis_mm("x").mean(), grid.axis_mm("y").mean()])
    turned = StructureSet(
        tuple(
            roi.with_contours(tuple(Contour(c.z_mm, 2 * middle - c.xy_mm) for c in roi.contours))
            for roi in case.daily_structures.rois
        )
    )
    daily = Volume(np.ascontiguousarray(case.daily.hu[:, ::-1, ::-1]), grid)
    return replace(case, daily=daily, daily_structures=turned)


def organs_missing(seed: int, in_plane: int) -> PhantomCase:
    """A plan without seminal vesicles and rectum."""
    case = ordinary(seed, in_plane)
    kept = tuple(roi for roi in case.planning_structures.rois if roi.name not in ("SeminalVes", "Rectum"))
    return replace(case, planning_structures=StructureSet(kept, label=case.planning_structures.label))


KINDS: tuple[Draw, ...] = (
    ordinary,
    larger,
    smaller,
    thick_slices,
    cone_beam,
    hip_prosthesis,
    contrast_in_bladder,
    empty_rectum,
    turned_round,
    organs_missing,
)


def _scaled(case: PhantomCase, factor: float) -> PhantomCase:
    def grid(old: VolumeGeometry) -> VolumeGeometry:
        x, y, z = (factor * v for v in old.origin_mm)
        sx, sy, sz = (factor * v for v in old.spacing_mm)
        return VolumeGeometry(old.shape, (x, y, z), (sx, sy, sz))

    def drawn(old: StructureSet) -> StructureSet:
        rois = (
            roi.with_contours(tuple(Contour(factor * c.z_mm, factor * c.xy_mm) for c in roi.contours))
            for roi in old.rois
        )
        return StructureSet(tuple(rois), label=old.label)

    return replace(
        case,
        planning=Volume(case.planning.hu, grid(case.planning.geometry)),
        daily=Volume(case.daily.hu, grid(case.daily.geometry)),
        planning_structures=drawn(case.planning_structures),
        daily_structures=drawn(case.daily_structures),
    )


Change = Callable[[HuVoxels, StructureSet, VolumeGeometry], NDArray[np.float64]]


def _both(case: PhantomCase, change: Change) -> PhantomCase:
    planning, daily = (
        _volume(change(volume.hu, structures, volume.geometry), volume.geometry)
        for volume, structures in (
            (case.planning, case.planning_structures),
            (case.daily, case.daily_structures),
        )
    )
    return replace(case, planning=planning, daily=daily)


def _with_metal(hu: HuVoxels, structures: StructureSet, grid: VolumeGeometry) -> NDArray[np.float64]:
    # Of the scan itself, so that plan and day have streaks of their own.
    rng = np.random.default_rng(abs(int(hu.sum(dtype=np.int64))))
    heads = [_mask(structures, name, grid) for name in ("Femur_Head_L", "Femur_Head_R")]
    metal = heads[0] | heads[1]
    out = hu.astype(np.float64)
    rows = metal.any(axis=2)
    inner = np.abs(grid.axis_mm("x") - grid.axis_mm("x").mean()) < 80.0
    lines = ndimage.gaussian_filter1d(rng.normal(0.0, 1.0, rows.shape), 1.0, axis=1) * 150.0 - 120.0
    body = hu > BODY_HU
    out += (rows * lines)[..., None] * inner * body
    out[metal] = METAL_HU
    return out


def _without_gas(hu: HuVoxels, structures: StructureSet, grid: VolumeGeometry) -> NDArray[np.float64]:
    rectum = ndimage.binary_dilation(_mask(structures, "Rectum", grid), iterations=1)
    gas = ndimage.binary_dilation(rectum & (hu < GAS_HU), iterations=2) & rectum
    return np.where(gas, WALL_HU, hu).astype(np.float64)


def _between(structures: StructureSet, first_mm: float, last_mm: float) -> StructureSet:
    rois = (
        roi.with_contours(tuple(c for c in roi.contours if first_mm - 0.1 <= c.z_mm <= last_mm + 0.1))
        for roi in structures.rois
    )
    return StructureSet(tuple(roi for roi in rois if roi.contours), label=structures.label)


def _mask(structures: StructureSet, name: str, grid: VolumeGeometry) -> MaskVoxels:
    (roi,) = (roi for roi in structures.rois if roi.name == name)
    return mask_of(rasterize(StructureSet((roi,)), grid), roi.number)


def _volume(hu: NDArray[np.floating], grid: VolumeGeometry) -> Volume:
    return Volume(np.clip(np.rint(hu), -1024, 3071).astype(np.int16), grid)
