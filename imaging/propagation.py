"""All planned ROIs on the daily CT in one pull: one look at the packed masks per daily voxel, whatever their number.

Each daily voxel centre is carried to the planning patient, where the eight surrounding words of the packed masks are
read. Where they agree, every ROI is decided at once; where they differ, each differing bit gets its trilinear fraction,
so the boundary lies at 0.5 and is sub-voxel. Beyond the planning scan there is nothing.
"""

import numba
import numpy as np
from numpy.typing import NDArray

from imaging.displacement import add_on, vectors_on
from imaging.geometry import VolumeGeometry
from imaging.masks import PackedMasks, RoiPatch
from imaging.similarity import bits_set
from imaging.transforms import Deformation

_CHUNK_PLANES = 8
_COARSE_MM = 8.0


def propagate(masks: tuple[PackedMasks, ...], deformation: Deformation, daily: VolumeGeometry) -> tuple[RoiPatch, ...]:
    """Every planned ROI on the daily grid.

    Args:
        masks: Planned ROIs on grids of the planning CT.
        deformation: From the daily to the planning patient.
        daily: The grid of the daily CT.

    Returns:
        One patch per ROI number, in the order of `masks`, on the tightest box that holds it; an ROI that comes back
        empty has a box of size (0, 0, 0).
    """
    return tuple(patch for group in masks for patch in _propagate_group(group, deformation, daily))


def _propagate_group(group: PackedMasks, deformation: Deformation, daily: VolumeGeometry) -> list[RoiPatch]:
    count = len(group.roi_numbers)
    boxes = _daily_boxes(group, deformation, daily)
    sizes = boxes[:, 1] - boxes[:, 0]
    offsets = np.concatenate([[0], np.cumsum(np.prod(sizes, axis=1))])
    inside = np.zeros(offsets[-1], dtype=np.float32)
    filled = boxes[sizes.min(axis=1) > 0]
    tight = np.empty((daily.shape[0], count, 4), dtype=np.int64)
    tight[:, :, ::2], tight[:, :, 1::2] = 1 << 30, -1
    if len(filled):
        lower, upper = filled[:, 0].min(axis=0), filled[:, 1].max(axis=0)
        to_index = np.linalg.inv(group.geometry.index_to_lps) @ deformation.affine.matrix
        for first in range(int(lower[0]), int(upper[0]), _CHUNK_PLANES):
            last = min(first + _CHUNK_PLANES, int(upper[0]))
            part = daily.cropped((first, lower[1], lower[2]), (last, upper[1], upper[2]))
            shift = np.zeros((3, *part.shape), dtype=np.float32)
            add_on(deformation.fields, part, shift)
            start = np.array([first, lower[1], lower[2]])
            _pull(group.bits, to_index, part.index_to_lps, start, boxes, offsets, shift, inside, tight)
    return [
        _patch(number, inside[offsets[b] : offsets[b + 1]].reshape(sizes[b]), boxes[b, 0], tight[:, b], daily)
        for b, number in enumerate(group.roi_numbers)
    ]


def _patch(
    number: int,
    box: NDArray[np.float32],
    lower: NDArray[np.int64],
    tight: NDArray[np.int64],
    daily: VolumeGeometry,
) -> RoiPatch:
    planes = np.flatnonzero(tight[:, 1] >= 0)
    if planes.size == 0:
        return RoiPatch(number, (0, 0, 0), np.zeros((0, 0, 0), dtype=np.float32), daily)
    k0, k1 = int(planes[0]), int(planes[-1]) + 1
    j0, j1 = int(tight[planes, 0].min()), int(tight[planes, 1].max()) + 1
    i0, i1 = int(tight[planes, 2].min()), int(tight[planes, 3].max()) + 1
    k, j, i = (int(v) for v in lower)
    return RoiPatch(
        number, (k0, j0, i0), np.ascontiguousarray(box[k0 - k : k1 - k, j0 - j : j1 - j, i0 - i : i1 - i]), daily
    )


def _daily_boxes(group: PackedMasks, deformation: Deformation, daily: VolumeGeometry) -> NDArray[np.int64]:
    """Boxes [lower, upper) (rois, 2, 3) in daily array indices (z, y, x) outside which an ROI cannot lie."""
    planned = np.empty((len(group.roi_numbers), 2, 3), dtype=np.int64)
    _bit_boxes(group.bits, planned)
    coarse = daily.covering((_COARSE_MM,) * 3)
    shift = vectors_on(deformation.fields, coarse)
    to_index = np.linalg.inv(group.geometry.index_to_lps) @ deformation.affine.matrix
    # Between coarse points a field may bend; a full cell of bending and one planning voxel are allowed for.
    slack = _COARSE_MM / np.asarray(group.geometry.spacing_mm) + 1.0
    found = np.empty_like(planned)
    _coarse_boxes(shift, to_index @ coarse.index_to_lps, to_index[:3, :3], planned, slack, found)
    boxes = np.zeros_like(planned)
    for b in range(len(boxes)):
        if found[b, 1].min() >= 0:
            low = daily.to_index(coarse.to_lps(found[b, 0][None, ::-1] - 1.0))[0, ::-1]
            high = daily.to_index(coarse.to_lps(found[b, 1][None, ::-1] + 1.0))[0, ::-1]
            boxes[b, 0] = np.maximum(np.floor(low), 0)
            boxes[b, 1] = np.minimum(np.ceil(high) + 1, daily.shape)
    return boxes


@numba.njit(cache=True)
def _bit_boxes(bits, boxes):  # type: ignore[no-untyped-def]
    boxes[:, 0] = 1 << 30
    boxes[:, 1] = -1
    for k in range(bits.shape[0]):
        for j in range(bits.shape[1]):
            row = np.uint64(0)
            for i in range(bits.shape[2]):
                row |= bits[k, j, i]
            if row == 0:
                continue
            for b in range(boxes.shape[0]):
                if (row >> np.uint64(b)) & np.uint64(1):
                    i0 = 0
                    while not (bits[k, j, i0] >> np.uint64(b)) & np.uint64(1):
                        i0 += 1
                    i1 = bits.shape[2] - 1
                    while not (bits[k, j, i1] >> np.uint64(b)) & np.uint64(1):
                        i1 -= 1
                    boxes[b, 0, 0], boxes[b, 1, 0] = min(boxes[b, 0, 0], k), max(boxes[b, 1, 0], k)
                    boxes[b, 0, 1], boxes[b, 1, 1] = min(boxes[b, 0, 1], j), max(boxes[b, 1, 1], j)
                    boxes[b, 0, 2], boxes[b, 1, 2] = min(boxes[b, 0, 2], i0), max(boxes[b, 1, 2], i1)


@numba.njit(cache=True)
def _coarse_boxes(shift, to_index, linear, planned, slack, found):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    found[:, 0] = 1 << 30
    found[:, 1] = -1
    at = np.empty(3)
    for k in range(shift.shape[1]):
        for j in range(shift.shape[2]):
            for i in range(shift.shape[3]):
                for c in range(3):
                    at[c] = to_index[c, 0] * i + to_index[c, 1] * j + to_index[c, 2] * k + to_index[c, 3]
                    for d in range(3):
                        at[c] += linear[c, d] * shift[d, k, j, i]
                for b in range(planned.shape[0]):
                    near = True
                    for c in range(3):
                        low, high = planned[b, 0, 2 - c] - slack[c], planned[b, 1, 2 - c] + slack[c]
                        near = near and low <= at[c] <= high
                    if near:
                        found[b, 0, 0], found[b, 1, 0] = min(found[b, 0, 0], k), max(found[b, 1, 0], k)
                        found[b, 0, 1], found[b, 1, 1] = min(found[b, 0, 1], j), max(found[b, 1, 1], j)
                        found[b, 0, 2], found[b, 1, 2] = min(found[b, 0, 2], i), max(found[b, 1, 2], i)


@numba.njit(cache=True, parallel=True)
def _pull(bits, to_index, to_lps, start, boxes, offsets, shift, inside, tight):  # type: ignore[no-untyped-def]  # noqa: PLR0912, PLR0915, PLR0917
    depth, height, width = bits.shape
    one, zero = np.uint64(1), np.uint64(0)
    for plane in numba.prange(shift.shape[1]):
        k = start[0] + plane
        corner = np.zeros(8, dtype=np.uint64)
        weight = np.zeros(8, dtype=np.float32)
        pz = to_lps[2, 2] * plane + to_lps[2, 3]
        for row in range(shift.shape[2]):
            py = to_lps[1, 1] * row + to_lps[1, 3]
            for column in range(shift.shape[3]):
                qx = to_lps[0, 0] * column + to_lps[0, 3] + shift[0, plane, row, column]
                qy = py + shift[1, plane, row, column]
                qz = pz + shift[2, plane, row, column]
                z = to_index[2, 0] * qx + to_index[2, 1] * qy + to_index[2, 2] * qz + to_index[2, 3]
                y = to_index[1, 0] * qx + to_index[1, 1] * qy + to_index[1, 2] * qz + to_index[1, 3]
                x = to_index[0, 0] * qx + to_index[0, 1] * qy + to_index[0, 2] * qz + to_index[0, 3]
                if not (-1 < z < depth and -1 < y < height and -1 < x < width):
                    continue
                ka, ja, ia = int(np.floor(z)), int(np.floor(y)), int(np.floor(x))
                if 0 <= ka < depth - 1 and 0 <= ja < height - 1 and 0 <= ia < width - 1:
                    near, far = bits[ka], bits[ka + 1]
                    corner[0], corner[1] = near[ja, ia], near[ja, ia + 1]
                    corner[2], corner[3] = near[ja + 1, ia], near[ja + 1, ia + 1]
                    corner[4], corner[5] = far[ja, ia], far[ja, ia + 1]
                    corner[6], corner[7] = far[ja + 1, ia], far[ja + 1, ia + 1]
                else:
                    for n in range(8):
                        kk, jj, ii = ka + (n >> 2), ja + ((n >> 1) & 1), ia + (n & 1)
                        corner[n] = zero
                        if 0 <= kk < depth and 0 <= jj < height and 0 <= ii < width:
                            corner[n] = bits[kk, jj, ii]
                either, both = corner[0], corner[0]
                for n in range(1, 8):
                    either |= corner[n]
                    both &= corner[n]
                if either == zero:
                    continue
                if either != both:
                    w, v, u = np.float32(z - ka), np.float32(y - ja), np.float32(x - ia)
                    for n in range(8):
                        weight[n] = (
                            (w if n & 4 else np.float32(1) - w)
                            * (v if n & 2 else np.float32(1) - v)
                            * (u if n & 1 else np.float32(1) - u)
                        )
                j, i = start[1] + row, start[2] + column
                left = either
                while left != zero:
                    bit = left & (~left + one)
                    b = bits_set(bit - one)
                    left ^= bit
                    value = np.float32(1)
                    if not both & bit:
                        value = np.float32(0)
                        for n in range(8):
                            if corner[n] & bit:
                                value += weight[n]
                    lower, upper = boxes[b, 0], boxes[b, 1]
                    if value > 0 and (
                        lower[0] <= k < upper[0] and lower[1] <= j < upper[1] and lower[2] <= i < upper[2]
                    ):
                        at = ((k - lower[0]) * (upper[1] - lower[1]) + j - lower[1]) * (upper[2] - lower[2])
                        inside[offsets[b] + at + i - lower[2]] = value
                        tight[k, b, 0], tight[k, b, 1] = min(tight[k, b, 0], j), max(tight[k, b, 1], j)
                        tight[k, b, 2], tight[k, b, 3] = min(tight[k, b, 2], i), max(tight[k, b, 3], i)
