"""Where on the daily grid a planned ROI can lie at all, cell by cell, so that the pull looks nowhere else.

Over a cell a trilinear field stays between the least and the largest of its vectors around it, so the part of the plan
that the cell's voxels come from lies in a box that follows from the numbers alone. What the plan holds in that box, the
cell may hold; nothing has to be assumed of how far a field bends.
"""

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from imaging.arrays import RoiBits
from imaging.geometry import VolumeGeometry, bounds
from imaging.masks import PackedMasks
from imaging.similarity import bits_set
from imaging.transforms import Deformation, DisplacementField

_CELL_MM = 8.0
_SLACK = 1e-2
"""Voxels by which single precision may move a place; far more than it does."""

Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Nearby:
    """What each cell of the daily grid may hold.

    Attributes:
        rois: (z, y, x) bits of the ROIs that a cell may hold; voxel i of an axis lies in cell i // step.
        step: Voxels (z, y, x) per cell.
        shape: Voxels of the daily grid.
    """

    rois: RoiBits
    step: Indices
    shape: tuple[int, int, int]

    def boxes(self, count: int) -> Indices:
        """Boxes [lower, upper) (count, 2, 3) in voxels (z, y, x) outside which an ROI cannot lie; empty ones are 0."""
        found = np.zeros((count, 2, 3), dtype=np.int64)
        found[:, 0] = 1 << 30
        _widen_boxes(self.rois, found)
        found[found[:, 1, 0] == 0] = 0
        return np.minimum(found * self.step, self.shape)


def nearby(group: PackedMasks, deformation: Deformation, daily: VolumeGeometry) -> Nearby:
    """The ROIs of a group that each cell of the daily grid may hold."""
    step = np.array([max(1, round(_CELL_MM / spacing)) for spacing in daily.spacing_mm[::-1]])
    rois = np.zeros(-(-np.array(daily.shape) // step), dtype=np.uint64)
    lower, upper = _reached(group.geometry, deformation, daily)
    lower, upper = np.maximum(lower // step, 0), np.minimum(upper // step + 1, rois.shape)
    if np.any(lower >= upper):
        return Nearby(rois, step, daily.shape)
    # Of its own memory and no view, whose layout, and with it the compiled code, would depend on the case.
    part = np.zeros(upper - lower, dtype=np.uint64)
    first = [np.arange(a, b) * s for a, b, s in zip(lower, upper, step, strict=True)]
    last = [np.minimum(begin + s, n) - 1 for begin, s, n in zip(first, step, daily.shape, strict=True)]
    first_mm, last_mm = (
        [daily.origin_mm[2 - axis] + daily.spacing_mm[2 - axis] * at[axis] for axis in range(3)] for at in (first, last)
    )
    least, most = np.zeros((2, 3, *part.shape))
    for field in deformation.fields:
        windows = [_window(field, axis, first_mm[axis], last_mm[axis]) for axis in range(3)]
        _add_range(field.vectors, *windows, least, most)
    to_index = group.geometry.lps_to_index @ deformation.affine.matrix
    _look_up(group.survey.held, group.survey.block, to_index, *first_mm, *last_mm, least, most, part)
    rois[tuple(slice(a, b) for a, b in zip(lower, upper, strict=True))] = part
    return Nearby(rois, step, daily.shape)


def _reached(plan: VolumeGeometry, deformation: Deformation, daily: VolumeGeometry) -> tuple[Indices, Indices]:
    """First and last daily voxel (z, y, x) along each axis that may come from the plan's grid."""
    box = np.array([plan.to_lps(np.array([-1.0, -1, -1])), plan.to_lps(np.array(plan.shape[::-1]))])
    corners = np.array([[box[a, 0], box[b, 1], box[c, 2]] for a, b, c in np.ndindex(2, 2, 2)])
    lower, upper = bounds(deformation.affine.to_fixed(corners))
    for field in deformation.fields:
        vectors = field.vectors.reshape(3, -1)
        lower, upper = lower - np.maximum(vectors.max(axis=1), 0), upper - np.minimum(vectors.min(axis=1), 0)
    ends = daily.to_index(np.array([lower, upper]))[:, ::-1]
    return np.floor(ends[0] - _SLACK).astype(np.int64), np.ceil(ends[1] + _SLACK).astype(np.int64)


def _window(
    field: DisplacementField, axis: int, first_mm: NDArray[np.float64], last_mm: NDArray[np.float64]
) -> Indices:
    """Along one axis, per cell: first and last vector that counts, and whether a part of the cell lies outside."""
    grid = field.geometry
    origin, spacing, count = grid.origin_mm[2 - axis], grid.spacing_mm[2 - axis], grid.shape[axis]
    first, last = (first_mm - origin) / spacing - _SLACK, (last_mm - origin) / spacing + _SLACK
    outside = (first < 0) | (last > count - 1)
    return np.stack([np.maximum(np.floor(first), 0), np.minimum(np.ceil(last), count - 1), outside]).astype(np.int64)


@numba.njit(cache=True, parallel=True)
def _add_range(vectors, along_z, along_y, along_x, least, most):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    """Add the least and the largest of the vectors around each cell (3, cells); beyond the field's grid they are 0."""
    for kc in numba.prange(least.shape[1]):
        for jc in range(least.shape[2]):
            for ic in range(least.shape[3]):
                outside = along_z[2, kc] + along_y[2, jc] + along_x[2, ic] > 0
                for c in range(3):
                    low = high = vectors.dtype.type(0)
                    begun = outside
                    for k in range(along_z[0, kc], along_z[1, kc] + 1):
                        for j in range(along_y[0, jc], along_y[1, jc] + 1):
                            for i in range(along_x[0, ic], along_x[1, ic] + 1):
                                value = vectors[c, k, j, i]
                                if not begun:
                                    low = high = value
                                    begun = True
                                low, high = min(low, value), max(high, value)
                    least[c, kc, jc, ic] += low
                    most[c, kc, jc, ic] += high


@numba.njit(cache=True, parallel=True)
def _look_up(held, block, to_index, first_z, first_y, first_x, last_z, last_y, last_x, least, most, near):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    """What the plan holds in the box that each cell comes from."""
    for kc in numba.prange(near.shape[0]):
        low, high = np.empty(3), np.empty(3)
        for jc in range(near.shape[1]):
            for ic in range(near.shape[2]):
                low[0], high[0] = first_x[ic] + least[0, kc, jc, ic], last_x[ic] + most[0, kc, jc, ic]
                low[1], high[1] = first_y[jc] + least[1, kc, jc, ic], last_y[jc] + most[1, kc, jc, ic]
                low[2], high[2] = first_z[kc] + least[2, kc, jc, ic], last_z[kc] + most[2, kc, jc, ic]
                k0, k1 = _blocks(to_index[2], low, high, block[0], held.shape[0])
                j0, j1 = _blocks(to_index[1], low, high, block[1], held.shape[1])
                i0, i1 = _blocks(to_index[0], low, high, block[2], held.shape[2])
                word = np.uint64(0)
                for k in range(k0, k1):
                    for j in range(j0, j1):
                        for i in range(i0, i1):
                            word |= held[k, j, i]
                near[kc, jc, ic] = word


@numba.njit(cache=True, inline="always")
def _blocks(row, low, high, block, count):  # type: ignore[no-untyped-def]
    """First block, and the one past the last, that the corners of all voxels of a box of points fall into."""
    middle, half = row[3], _SLACK
    for c in range(3):
        middle += row[c] * (low[c] + high[c]) / 2
        half += abs(row[c]) * (high[c] - low[c]) / 2
    first, last = int(np.floor(middle - half)), int(np.floor(middle + half)) + 1
    return max(first, 0) // block, min(last // block + 1, count)


@numba.njit(cache=True)
def _widen_boxes(words, boxes):  # type: ignore[no-untyped-def]
    """Widen the boxes (bits, 2, 3) to what each bit of the words fills."""
    for k in range(words.shape[0]):
        for j in range(words.shape[1]):
            for i in range(words.shape[2]):
                left = words[k, j, i]
                while left != np.uint64(0):
                    bit = left & (~left + np.uint64(1))
                    b = bits_set(bit - np.uint64(1))
                    left ^= bit
                    for axis, at in enumerate((k, j, i)):
                        boxes[b, 0, axis] = min(boxes[b, 0, axis], at)
                        boxes[b, 1, axis] = max(boxes[b, 1, axis], at + 1)
