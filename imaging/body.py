"""The body outline, found anew in a CT: the couch, and everything else that is not the patient, stays outside."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numba import njit

from imaging.arrays import FloatVoxels, HuVoxels, MaskVoxels
from imaging.geometry import VolumeGeometry
from imaging.masks import RoiPatch
from imaging.runs import find_pieces, paint
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
    hu = _averaged(volume.hu, (step_y, step_x))
    geometry = _coarser(volume.geometry, hu.shape, (step_x, step_y))
    dense = hu > SKIN_HU
    times = max(1, round(THINNEST_MM / 2 / max(geometry.spacing_mm[:2])))
    core = _largest(_eroded(dense, times), geometry)
    if not core.any():
        return None
    body = _filled(_dilated(core, times + 1) & dense)
    lower, upper = _box(body)
    box = tuple(slice(first, last) for first, last in zip(lower, upper, strict=True))
    hu, dense, body = hu[box], dense[box], body[box]
    inside = np.clip(0.5 + (hu - np.float32(SKIN_HU)) / np.float32(2 * _SOFT_HU), 0, 1)
    inside[body & ~dense] = 1.0
    inside[dense & ~body] = 0.0
    return RoiPatch(roi_number, lower, inside, geometry)


def _coarser(geometry: VolumeGeometry, shape: tuple[int, ...], steps: tuple[int, int]) -> VolumeGeometry:
    """Grid of the averages: the same planes, pixels `steps` (x, y) times as large."""
    (step_x, step_y), (sx, sy, sz), (x, y, z) = steps, geometry.spacing_mm, geometry.origin_mm
    origin = x + (step_x - 1) / 2 * sx, y + (step_y - 1) / 2 * sy, z
    planes, rows, columns = shape
    return VolumeGeometry((planes, rows, columns), origin, (step_x * sx, step_y * sy, sz))


def _averaged(hu: HuVoxels, steps: tuple[int, int]) -> FloatVoxels:
    """Mean over blocks of `steps` (y, x) pixels; a last incomplete block is the mean of what there is."""
    planes, rows, columns = hu.shape
    means = np.empty((planes, -(-rows // steps[0]), -(-columns // steps[1])), np.float32)
    half = planes // 2
    with ThreadPoolExecutor(2) as pool:
        # The whole CT is read once; one core does not use up the memory's speed.
        list(pool.map(_average, (hu[:half], hu[half:]), (means[:half], means[half:]), (steps, steps)))
    return means


@njit(cache=True, nogil=True)
def _average(hu: HuVoxels, means: FloatVoxels, steps: tuple[int, int]) -> None:
    planes, rows, columns = hu.shape
    sums = np.empty(columns, np.int32)
    for k in range(planes):
        for row in range(means.shape[1]):
            first, last = row * steps[0], min(rows, (row + 1) * steps[0])
            sums[:] = hu[k, first]
            for j in range(first + 1, last):
                sums += hu[k, j]
            for column in range(means.shape[2]):
                start, end = column * steps[1], min(columns, (column + 1) * steps[1])
                total = 0
                for i in range(start, end):
                    total += sums[i]
                means[k, row, column] = total / ((end - start) * (last - first))


def _eroded(mask: MaskVoxels, times: int) -> MaskVoxels:
    """In-plane erosion, cross and square in turn, which is nearly a disc; outside the picture counts as inside."""
    planes, rows, columns = mask.shape
    # With a pixel of the outside behind each row and plane, a neighbour is a fixed way off in one long line of pixels,
    # on which numpy is ten times faster than on rows.
    framed = np.ones((planes, rows + 1, columns + 1), np.bool_)
    framed[:, :rows, :columns] = mask
    for turn in range(times):
        line = framed.reshape(-1)
        upright = line.copy()
        upright[columns + 1 :] &= line[: -columns - 1]
        upright[: -columns - 1] &= line[columns + 1 :]
        source = line if turn % 2 == 0 else upright
        eroded = upright.copy()
        eroded[1:] &= source[:-1]
        eroded[:-1] &= source[1:]
        framed = eroded.reshape(framed.shape)
        framed[:, rows] = framed[:, :, columns] = True
    return np.ascontiguousarray(framed[:, :rows, :columns])


def _dilated(mask: MaskVoxels, times: int) -> MaskVoxels:
    return ~_eroded(~mask, times)


def _largest(mask: MaskVoxels, geometry: VolumeGeometry) -> MaskVoxels:
    """The largest connected piece and those of `SMALLEST_SHARE` of it; nothing if it is below `SMALLEST_CC`."""
    rows, starts, ends, pieces = find_pieces(mask.view(np.uint8), 0, True)
    volumes = np.bincount(pieces, ends - starts) * geometry.voxel_cc
    kept = volumes >= max(SMALLEST_CC, SMALLEST_SHARE * float(volumes.max(initial=0.0)))
    largest = np.zeros_like(mask)
    wanted = kept[pieces]
    paint(largest, rows[wanted], starts[wanted], ends[wanted], True)
    return largest


def _filled(mask: MaskVoxels) -> MaskVoxels:
    """Hollows closed in their plane: what the picture's border cannot reach through air."""
    _, height, width = mask.shape
    rows, starts, ends, pieces = find_pieces((~mask).view(np.uint8), 0, False)
    at_border = (starts == 0) | (ends == width) | (rows % height == 0) | (rows % height == height - 1)
    outside = np.zeros(len(pieces), np.bool_)
    outside[pieces[at_border]] = True
    air = outside[pieces]
    filled = np.ones_like(mask)
    paint(filled, rows[air], starts[air], ends[air], False)
    return filled


def _box(mask: MaskVoxels) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """First and past-the-last index of what is inside, one pixel wider in the plane."""
    axes = [np.flatnonzero(mask.any(axis=other)) for other in ((1, 2), (0, 2), (0, 1))]
    (z0, z1), (y0, y1), (x0, x1) = ((int(axis[0]), int(axis[-1]) + 1) for axis in axes)
    _, rows, columns = mask.shape
    return (z0, max(0, y0 - 1), max(0, x0 - 1)), (z1, min(rows, y1 + 1), min(columns, x1 + 1))
