"""All planned ROIs on the daily CT in one pull: one look at the packed masks per daily voxel, whatever their number.

Each daily voxel centre is carried to the planning patient, where the eight surrounding words of the packed masks are
read. Where they agree, every ROI is decided at once; where they differ, each differing bit gets its trilinear fraction,
so the boundary lies at 0.5 and is sub-voxel. Beyond the planning scan there is nothing. Daily voxels are looked at cell
by cell of about 8 mm, and only where the plan has something near the place that the cell's middle comes from.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from imaging.displacement import add_on, vectors_on
from imaging.geometry import VolumeGeometry
from imaging.masks import PackedMasks, RoiPatch
from imaging.similarity import bits_set
from imaging.transforms import Deformation

_CHUNK_PLANES = 16
_CELL_MM = 8.0
_NEAR_MM = 12.0
"""Half a cell and 8 mm by which a field may bend within it; one planning voxel is added."""

Words = NDArray[np.uint64]


@dataclass(frozen=True, eq=False)
class _Cells:
    """The daily grid in cells; voxel i of an axis lies in cell min((i + step // 2) // step, last).

    Attributes:
        near: (z, y, x) bits of the ROIs that a cell may hold.
        step: Voxels (z, y, x) per cell.
        shape: Voxels of the daily grid.
    """

    near: Words
    step: NDArray[np.int64]
    shape: tuple[int, int, int]

    def voxels(self, lower: NDArray[np.int64], upper: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Voxels [lower, upper) (..., 3) of the cells [lower, upper)."""
        begin = np.maximum(lower * self.step - self.step // 2, 0)
        return begin, np.where(upper == self.near.shape, self.shape, upper * self.step - self.step // 2)


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
    cells = _cells(group, deformation, daily)
    boxes = _boxes(cells, count)
    sizes = boxes[:, 1] - boxes[:, 0]
    offsets = np.concatenate([[0], np.cumsum(np.prod(sizes, axis=1))])
    inside = np.zeros(offsets[-1], dtype=np.float32)
    tight = np.empty((daily.shape[0], count, 4), dtype=np.int64)
    tight[:, :, ::2], tight[:, :, 1::2] = 1 << 30, -1
    to_index = np.linalg.inv(group.geometry.index_to_lps) @ deformation.affine.matrix
    # One block of memory for all chunks: a fresh one costs more than what is computed into it.
    vectors = np.empty(0, dtype=np.float32)
    for lower, upper in _chunks(cells):
        (k0, j0, i0), (k1, j1, i1) = lower.tolist(), upper.tolist()
        part = daily.cropped((k0, j0, i0), (k1, j1, i1))
        size = 3 * int(np.prod(part.shape))
        if vectors.size < size:
            vectors = np.empty(size, dtype=np.float32)
        shift = vectors[:size].reshape(3, *part.shape)
        shift[:] = 0
        add_on(deformation.fields, part, shift)
        _pull(
            group.bits, to_index, part.index_to_lps, lower, cells.near, cells.step, boxes, offsets, shift, inside, tight
        )
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


def _cells(group: PackedMasks, deformation: Deformation, daily: VolumeGeometry) -> _Cells:
    """Cells of the daily grid with the ROIs that lie near the place in the plan that their middle comes from."""
    step = np.array([max(1, round(_CELL_MM / spacing)) for spacing in daily.spacing_mm[::-1]])
    # Two blocks to either side are at least as far as `_NEAR_MM` and a voxel.
    block = np.array([int(np.ceil((_NEAR_MM / s + 1) / 2)) for s in group.geometry.spacing_mm[::-1]])
    held = np.zeros(-(-np.array(group.geometry.shape) // block) + 4, dtype=np.uint64)
    _held(group.bits, block, held)
    for axis in range(3):
        held = _spread(held, axis)
    z, y, x = (-(-np.array(daily.shape) // step)).tolist()
    sz, sy, sx = (step * daily.spacing_mm[::-1]).tolist()
    middles = VolumeGeometry((z, y, x), daily.origin_mm, (sx, sy, sz))
    to_index = np.linalg.inv(group.geometry.index_to_lps) @ deformation.affine.matrix
    near = np.zeros(middles.shape, dtype=np.uint64)
    _look_up(vectors_on(deformation.fields, middles), to_index, middles.index_to_lps, block, held, near)
    return _Cells(near, step, daily.shape)


def _spread(words: Words, axis: int) -> Words:
    """Every word joined with the two before and the two behind it."""
    out = words.copy()
    there, here = np.moveaxis(words, axis, 0), np.moveaxis(out, axis, 0)
    for reach in (1, 2):
        here[reach:] |= there[:-reach]
        here[:-reach] |= there[reach:]
    return out


def _occupied(words: Words) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """The box [lower, upper) of the words that are not zero, or None where all are."""
    spans = [np.flatnonzero(words.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    if not spans[0].size:
        return None
    return np.array([span[0] for span in spans], np.int64), np.array([span[-1] + 1 for span in spans], np.int64)


def _chunks(cells: _Cells) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Boxes of daily voxels [lower, upper) that hold all cells near something, a few planes each."""
    planes = max(1, _CHUNK_PLANES // int(cells.step[0]))
    for first in range(0, cells.near.shape[0], planes):
        found = _occupied(cells.near[first : first + planes])
        if found is not None:
            before = np.array([first, 0, 0], np.int64)
            yield cells.voxels(found[0] + before, found[1] + before)


def _boxes(cells: _Cells, count: int) -> NDArray[np.int64]:
    """Boxes [lower, upper) (rois, 2, 3) in daily array indices (z, y, x) outside which an ROI cannot lie."""
    found = np.empty((2, count, 3), dtype=np.int64)
    _bit_boxes(cells.near, found)
    lower, upper = cells.voxels(found[0], found[1])
    empty = found[1].min(axis=1) == 0
    lower[empty], upper[empty] = 0, 0
    return np.stack([lower, upper], axis=1)


@numba.njit(cache=True)
def _bit_boxes(words, boxes):  # type: ignore[no-untyped-def]
    """Lower and upper corners (2, bits, 3) of what each bit of the words fills; upper is 0 where it is nowhere set."""
    boxes[0], boxes[1] = 1 << 30, 0
    for k in range(words.shape[0]):
        for j in range(words.shape[1]):
            for i in range(words.shape[2]):
                left = words[k, j, i]
                while left != np.uint64(0):
                    bit = left & (~left + np.uint64(1))
                    b = bits_set(bit - np.uint64(1))
                    left ^= bit
                    for axis, at in enumerate((k, j, i)):
                        boxes[0, b, axis] = min(boxes[0, b, axis], at)
                        boxes[1, b, axis] = max(boxes[1, b, axis], at + 1)


@numba.njit(cache=True, parallel=True)
def _held(bits, block, held):  # type: ignore[no-untyped-def]
    """The bits of each block of voxels; two blocks on every side stay empty."""
    depth, height, width = bits.shape
    for kb in numba.prange(held.shape[0] - 4):
        for j in range(height):
            line = held[kb + 2, j // block[1] + 2]
            for k in range(kb * block[0], min((kb + 1) * block[0], depth)):
                row = bits[k, j]
                for ib in range(line.size - 4):
                    word = line[ib + 2]
                    for i in range(ib * block[2], min((ib + 1) * block[2], width)):
                        word |= row[i]
                    line[ib + 2] = word


@numba.njit(cache=True)
def _look_up(shift, to_index, to_lps, block, held, near):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    for k in range(near.shape[0]):
        for j in range(near.shape[1]):
            for i in range(near.shape[2]):
                x = to_lps[0, 0] * i + to_lps[0, 3] + shift[0, k, j, i]
                y = to_lps[1, 1] * j + to_lps[1, 3] + shift[1, k, j, i]
                z = to_lps[2, 2] * k + to_lps[2, 3] + shift[2, k, j, i]
                at_z = to_index[2, 0] * x + to_index[2, 1] * y + to_index[2, 2] * z + to_index[2, 3]
                at_y = to_index[1, 0] * x + to_index[1, 1] * y + to_index[1, 2] * z + to_index[1, 3]
                at_x = to_index[0, 0] * x + to_index[0, 1] * y + to_index[0, 2] * z + to_index[0, 3]
                kb = int(np.floor((at_z + 0.5) / block[0])) + 2
                jb = int(np.floor((at_y + 0.5) / block[1])) + 2
                ib = int(np.floor((at_x + 0.5) / block[2])) + 2
                if 0 <= kb < held.shape[0] and 0 <= jb < held.shape[1] and 0 <= ib < held.shape[2]:
                    near[k, j, i] = held[kb, jb, ib]


@numba.njit(cache=True, parallel=True)
def _pull(bits, to_index, to_lps, start, near, step, boxes, offsets, shift, inside, tight):  # type: ignore[no-untyped-def]  # noqa: PLR0912, PLR0915, PLR0917
    depth, height, width = bits.shape
    one, zero = np.uint64(1), np.uint64(0)
    flat, below, behind = bits.reshape(-1), np.uint64(width), np.uint64(height * width)
    for plane in numba.prange(shift.shape[1]):
        k = start[0] + plane
        cells = near[min((k + step[0] // 2) // step[0], near.shape[0] - 1)]
        corner = np.zeros(8, dtype=np.uint64)
        weight = np.zeros(8, dtype=np.float32)
        pz = to_lps[2, 2] * plane + to_lps[2, 3]
        for row in range(shift.shape[2]):
            j = start[1] + row
            line = cells[min((j + step[1] // 2) // step[1], near.shape[1] - 1)]
            py = to_lps[1, 1] * row + to_lps[1, 3]
            end = start[2] + shift.shape[3]
            # Voxels that agree in all corners with the one before them are written together, as a run.
            run, run_start = zero, end
            i = start[2]
            while i < end:
                cell = min((i + step[2] // 2) // step[2], near.shape[2] - 1)
                cell_end = end if cell == near.shape[2] - 1 else min((cell + 1) * step[2] - step[2] // 2, end)
                here = line[cell]
                if here == zero:
                    if run != zero:
                        _write_run(run, run_start, i, k, j, boxes, offsets, inside, tight)
                        run = zero
                    i = cell_end
                    continue
                for column in range(i - start[2], cell_end - start[2]):
                    i = start[2] + column
                    qx = to_lps[0, 0] * column + to_lps[0, 3] + shift[0, plane, row, column]
                    qy = py + shift[1, plane, row, column]
                    qz = pz + shift[2, plane, row, column]
                    z = to_index[2, 0] * qx + to_index[2, 1] * qy + to_index[2, 2] * qz + to_index[2, 3]
                    y = to_index[1, 0] * qx + to_index[1, 1] * qy + to_index[1, 2] * qz + to_index[1, 3]
                    x = to_index[0, 0] * qx + to_index[0, 1] * qy + to_index[0, 2] * qz + to_index[0, 3]
                    ka, ja, ia = int(np.floor(z)), int(np.floor(y)), int(np.floor(x))
                    if 0 <= ka < depth - 1 and 0 <= ja < height - 1 and 0 <= ia < width - 1:
                        # Without a sign, or each look would first ask whether the index counts from the end.
                        at = np.uint64((ka * height + ja) * width + ia)
                        a, b, c, d = flat[at], flat[at + one], flat[at + below], flat[at + below + one]
                        at += behind
                        e, f, g, h = flat[at], flat[at + one], flat[at + below], flat[at + below + one]
                    else:
                        a, b = _word(bits, ka, ja, ia), _word(bits, ka, ja, ia + 1)
                        c, d = _word(bits, ka, ja + 1, ia), _word(bits, ka, ja + 1, ia + 1)
                        e, f = _word(bits, ka + 1, ja, ia), _word(bits, ka + 1, ja, ia + 1)
                        g, h = _word(bits, ka + 1, ja + 1, ia), _word(bits, ka + 1, ja + 1, ia + 1)
                    either, both = a | b | c | d | e | f | g | h, a & b & c & d & e & f & g & h
                    either &= here
                    both &= here
                    if either != both or both != run:
                        if run != zero:
                            _write_run(run, run_start, i, k, j, boxes, offsets, inside, tight)
                        run, run_start = (both, i) if either == both else (zero, end)
                    if either == both:
                        continue
                    corner[0], corner[1], corner[2], corner[3] = a, b, c, d
                    corner[4], corner[5], corner[6], corner[7] = e, f, g, h
                    w, v, u = np.float32(z - ka), np.float32(y - ja), np.float32(x - ia)
                    for n in range(8):
                        weight[n] = (
                            (w if n & 4 else np.float32(1) - w)
                            * (v if n & 2 else np.float32(1) - v)
                            * (u if n & 1 else np.float32(1) - u)
                        )
                    left = either
                    while left != zero:
                        bit = left & (~left + one)
                        roi = bits_set(bit - one)
                        left ^= bit
                        value = np.float32(1)
                        if not both & bit:
                            value = np.float32(0)
                            for n in range(8):
                                if corner[n] & bit:
                                    value += weight[n]
                        if value > 0:
                            inside[_place(roi, k, j, i, boxes, offsets)] = value
                            _widen(tight, k, roi, j, i, i)
                i = cell_end
            if run != zero:
                _write_run(run, run_start, end, k, j, boxes, offsets, inside, tight)


@numba.njit(cache=True, inline="always")
def _word(bits, k, j, i):  # type: ignore[no-untyped-def]
    if 0 <= k < bits.shape[0] and 0 <= j < bits.shape[1] and 0 <= i < bits.shape[2]:
        return bits[k, j, i]
    return np.uint64(0)


@numba.njit(cache=True)
def _write_run(run, first, end, k, j, boxes, offsets, inside, tight):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    one = np.uint64(1)
    while run != np.uint64(0):
        bit = run & (~run + one)
        b = bits_set(bit - one)
        run ^= bit
        at = _place(b, k, j, first, boxes, offsets)
        inside[at : at + end - first] = np.float32(1)
        _widen(tight, k, b, j, first, end - 1)


@numba.njit(cache=True, inline="always")
def _place(b, k, j, i, boxes, offsets):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    """Where voxel (k, j, i) of ROI b lies in the one array that holds all boxes."""
    height, width = boxes[b, 1, 1] - boxes[b, 0, 1], boxes[b, 1, 2] - boxes[b, 0, 2]
    return offsets[b] + ((k - boxes[b, 0, 0]) * height + j - boxes[b, 0, 1]) * width + i - boxes[b, 0, 2]


@numba.njit(cache=True, inline="always")
def _widen(tight, k, b, j, first, last):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    # A view of the ROI's four numbers would be counted anew for each voxel, by both threads in one place.
    tight[k, b, 0], tight[k, b, 1] = min(tight[k, b, 0], j), max(tight[k, b, 1], j)
    tight[k, b, 2], tight[k, b, 3] = min(tight[k, b, 2], first), max(tight[k, b, 3], last)
