"""The body outline, found anew in a CT: the couch, and everything else that is not the patient, stays outside."""

import numpy as np
from numba import njit
from scipy import ndimage

from imaging.arrays import FloatVoxels, HuVoxels, MaskVoxels
from imaging.geometry import VolumeGeometry
from imaging.masks import RoiPatch
from imaging.volume import Volume

SKIN_HU = -350.0
"""Between fat (-100) and air (-1000), on the side of the patient: foam and blankets stay outside."""

WORKING_MM = 2.5
"""In-plane spacing that the CT is averaged to, about."""

THINNEST_MM = 10.0
"""What is thinner than this is taken off: couch top, cushions, cables. Skin folds come back."""

SMALLEST_SHARE = 0.25
"""A second piece (the other leg) counts from this share of the largest one's volume."""

SMALLEST_CC = 10.0

_SOFT_HU = 700.0
"""Half of the range over which the level runs from 0 to 1: wider than a step from air to skin is on either side."""


def find_body(volume: Volume, *, roi_number: int = 0) -> RoiPatch | None:
    """The patient's outline with lungs, gas and all other hollows filled, slice by slice.

    Threshold, opening in the plane, largest piece, skin restored, hollows filled. Works on an in-plane average of about
    2 to 3 mm; the boundary runs where the averaged CT, linear between its pixels, crosses `SKIN_HU`.

    Args:
        volume: The CT. Nothing in it is refused.
        roi_number: Number given to the patch.

    Returns:
        A patch whose geometry has the planes of the CT and larger pixels, or None where no body is seen.
    """
    step_x, step_y = (max(1, round(WORKING_MM / spacing)) for spacing in volume.geometry.spacing_mm[:2])
    hu = _averaged(volume.hu, step_y, step_x)
    geometry = _coarser(volume.geometry, hu.shape, (step_x, step_y))
    dense = hu > SKIN_HU
    times = max(1, round(THINNEST_MM / 2 / max(geometry.spacing_mm[:2])))
    core = _largest(_eroded(dense, times), geometry)
    if not core.any():
        return None
    body = _filled(_dilated(core, times + 1) & dense)
    soft = np.clip(0.5 + (hu - np.float32(SKIN_HU)) / np.float32(2 * _SOFT_HU), 0, 1)
    soft[body & ~dense] = 1.0
    soft[dense & ~body] = 0.0
    lower, upper = _box(body)
    inside = soft[lower[0] : upper[0], lower[1] : upper[1], lower[2] : upper[2]].copy()
    return RoiPatch(roi_number, lower, inside, geometry)


def _coarser(geometry: VolumeGeometry, shape: tuple[int, ...], steps: tuple[int, int]) -> VolumeGeometry:
    """Grid of the averages: the same planes, pixels `steps` (x, y) times as large."""
    (step_x, step_y), (sx, sy, sz), (x, y, z) = steps, geometry.spacing_mm, geometry.origin_mm
    origin = x + (step_x - 1) / 2 * sx, y + (step_y - 1) / 2 * sy, z
    planes, rows, columns = shape
    return VolumeGeometry((planes, rows, columns), origin, (step_x * sx, step_y * sy, sz))


@njit(cache=True, nogil=True)
def _averaged(hu: HuVoxels, step_y: int, step_x: int) -> FloatVoxels:
    """Mean over blocks of step_y x step_x pixels; a last incomplete block is the mean of what there is."""
    planes, rows, columns = hu.shape
    out = np.zeros((planes, (rows + step_y - 1) // step_y, (columns + step_x - 1) // step_x), np.float32)
    for k in range(planes):
        for row in range(out.shape[1]):
            first, last = row * step_y, min(rows, (row + 1) * step_y)
            for j in range(first, last):
                for column in range(out.shape[2]):
                    total = 0
                    for i in range(column * step_x, min(columns, (column + 1) * step_x)):
                        total += hu[k, j, i]
                    out[k, row, column] += total
            for column in range(out.shape[2]):
                width = min(columns, (column + 1) * step_x) - column * step_x
                out[k, row, column] /= width * (last - first)
    return out


def _eroded(mask: MaskVoxels, times: int) -> MaskVoxels:
    """In-plane erosion, cross and square in turn, which is nearly a disc; outside the picture counts as inside."""
    for turn in range(times):
        rows, columns = mask.copy(), mask.copy()
        rows[:, 1:] &= mask[:, :-1]
        rows[:, :-1] &= mask[:, 1:]
        source = mask if turn % 2 == 0 else rows
        columns[:, :, 1:] &= source[:, :, :-1]
        columns[:, :, :-1] &= source[:, :, 1:]
        mask = rows & columns
    return mask


def _dilated(mask: MaskVoxels, times: int) -> MaskVoxels:
    return ~_eroded(~mask, times)


def _largest(mask: MaskVoxels, geometry: VolumeGeometry) -> MaskVoxels:
    """The largest connected piece and those of `SMALLEST_SHARE` of it; nothing if it is below `SMALLEST_CC`."""
    labels, _ = ndimage.label(mask)
    volumes = np.bincount(labels.ravel()).astype(np.float64) * geometry.voxel_cc
    volumes[0] = 0.0
    kept = volumes >= max(SMALLEST_CC, SMALLEST_SHARE * float(volumes.max()))
    pieces: MaskVoxels = kept[labels]
    return pieces


def _filled(mask: MaskVoxels) -> MaskVoxels:
    """Hollows closed in their plane: what the picture's border cannot reach through air."""
    in_plane = np.zeros((3, 3, 3), np.bool_)
    in_plane[1] = [[0, 1, 0], [1, 1, 1], [0, 1, 0]]
    labels, count = ndimage.label(~mask, structure=in_plane)
    outside = np.zeros(count + 1, np.bool_)
    for border in (labels[:, 0], labels[:, -1], labels[:, :, 0], labels[:, :, -1]):
        outside[border] = True
    outside[0] = False
    filled: MaskVoxels = ~outside[labels]
    return filled


def _box(mask: MaskVoxels) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """First and past-the-last index of what is inside, one pixel wider in the plane."""
    axes = [np.flatnonzero(mask.any(axis=other)) for other in ((1, 2), (0, 2), (0, 1))]
    (z0, z1), (y0, y1), (x0, x1) = ((int(axis[0]), int(axis[-1]) + 1) for axis in axes)
    _, rows, columns = mask.shape
    return (z0, max(0, y0 - 1), max(0, x0 - 1)), (z1, min(rows, y1 + 1), min(columns, x1 + 1))
