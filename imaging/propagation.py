"""All planned ROIs on the daily CT in one pull: one look at the packed masks per daily voxel, whatever their number.

Each daily voxel centre is carried to the planning patient, to a place between eight voxels of the packed masks. Where
all their words agree, every ROI is decided at once; where they differ, each differing bit gets the trilinear mean of
the voxels' shares, so the boundary lies at 0.5 and is sub-voxel. Beyond the planning scan there is nothing. Which
voxels agree with their neighbours is found beforehand, and only cells that may hold something (see `nearby`) are
looked at.
"""

from collections.abc import Iterator

import numba
import numpy as np
from numpy.typing import NDArray

from imaging.displacement import sum_on
from imaging.geometry import VolumeGeometry
from imaging.masks import FULL, PackedMasks, RoiPatch
from imaging.nearby import Nearby, nearby
from imaging.similarity import bits_set
from imaging.transforms import Deformation

_CHUNK_PLANES = 16
_WHOLE = 1 << 30


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
    cells = nearby(group, deformation, daily)
    boxes = cells.boxes(count)
    sizes = boxes[:, 1] - boxes[:, 0]
    offsets = np.concatenate([[0], np.cumsum(np.prod(sizes, axis=1))])
    inside = np.empty(offsets[-1], dtype=np.float32)
    _clear(inside)
    tight = np.empty((daily.shape[0], count, 4), dtype=np.int64)
    tight[:, :, ::2], tight[:, :, 1::2] = 1 << 30, -1
    to_index = group.geometry.lps_to_index @ deformation.affine.matrix
    # One block of memory for all chunks: a fresh one costs more than what is computed into it.
    vectors = np.empty(0, dtype=np.float32)
    for lower, upper in _chunks(cells):
        (k0, j0, i0), (k1, j1, i1) = lower.tolist(), upper.tolist()
        part = daily.cropped((k0, j0, i0), (k1, j1, i1))
        size = 3 * int(np.prod(part.shape))
        if vectors.size < size:
            vectors = np.empty(size, dtype=np.float32)
        shift = vectors[:size].reshape(3, *part.shape)
        sum_on(deformation.fields, part, shift)
        _pull(
            group.samples,
            group.survey.alike,
            to_index,
            part.index_to_lps,
            lower,
            cells.rois,
            cells.step,
            boxes,
            offsets,
            shift,
            inside,
            tight,
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


def _chunks(cells: Nearby) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Boxes of daily voxels [lower, upper) that hold all cells near something, a few planes each."""
    planes = max(1, _CHUNK_PLANES // int(cells.step[0]))
    for first in range(0, cells.rois.shape[0], planes):
        words = cells.rois[first : first + planes]
        spans = [np.flatnonzero(words.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
        if spans[0].size:
            lower, upper = (np.array([span[end] for span in spans], np.int64) for end in (0, -1))
            lower[0], upper[0] = lower[0] + first, upper[0] + first
            yield lower * cells.step, np.minimum((upper + 1) * cells.step, cells.shape)


@numba.njit(cache=True, parallel=True)
def _clear(values):  # type: ignore[no-untyped-def]
    for n in numba.prange(values.size):
        values[n] = 0


@numba.njit(cache=True, parallel=True)
def _pull(samples, alike, to_index, to_lps, start, near, step, boxes, offsets, shift, inside, tight):  # type: ignore[no-untyped-def]  # noqa: PLR0912, PLR0915, PLR0917
    count = samples.shape[3]
    one, zero, nowhere = np.uint64(1), np.uint64(0), np.uint64(1) << np.uint64(63)
    flat, same = samples.reshape(-1), alike.reshape(-1)
    per_voxel = np.uint64(count)
    for plane in numba.prange(shift.shape[1]):
        k = start[0] + plane
        cells = near[k // step[0]]
        words = np.zeros(8 * count, dtype=np.uint64)
        weights = np.zeros(8 * count, dtype=np.int64)
        place = np.empty((3, shift.shape[3]))
        ahead = np.empty(shift.shape[3], dtype=np.int64)
        for row in range(shift.shape[2]):
            j = start[1] + row
            line = cells[j // step[1]]
            end = start[2] + shift.shape[3]
            while end > start[2] and line[(end - 1) // step[2]] == zero:
                end = (end - 1) // step[2] * step[2]
            _places(to_index, to_lps, shift, plane, row, samples.shape[:3], place, ahead[: max(end - start[2], 0)])
            # Voxels that agree in all corners with the one before them are written together, as a run.
            run, run_start = zero, end
            known, known_at = zero, nowhere
            i = start[2]
            while i < end:
                cell = i // step[2]
                cell_end = min((cell + 1) * step[2], end)
                here = line[cell]
                if here == zero:
                    if run != zero:
                        _write_run(run, run_start, i, k, j, boxes, offsets, inside, tight)
                        run = zero
                    i = cell_end
                    continue
                for column in range(i - start[2], cell_end - start[2]):
                    i = start[2] + column
                    if ahead[column] >= 0:
                        # Without a sign, or each look would first ask whether the index counts from the end.
                        at = np.uint64(ahead[column])
                        if same[at] != 0:
                            word = zero
                            if same[at] == FULL:
                                # The words are many and far apart in memory; the next one along a row is known.
                                if at - known_at > one:
                                    known = flat[at * per_voxel]
                                known_at = at
                                word = known & here
                            if word != run:
                                if run != zero:
                                    _write_run(run, run_start, i, k, j, boxes, offsets, inside, tight)
                                run, run_start = word, i
                            continue
                    z, y, x = place[0, column], place[1, column], place[2, column]
                    ka, ja, ia = int(np.floor(z)), int(np.floor(y)), int(np.floor(x))
                    either, both = _gather(flat, samples.shape, ka, ja, ia, ahead[column], words)
                    either &= here
                    both &= here
                    if either != both or both != run:
                        if run != zero:
                            _write_run(run, run_start, i, k, j, boxes, offsets, inside, tight)
                        run, run_start = (both, i) if either == both else (zero, end)
                    if either == both:
                        continue
                    _weigh(z - ka, y - ja, x - ia, weights)
                    left = either
                    while left != zero:
                        bit = left & (~left + one)
                        roi = bits_set(bit - one)
                        left ^= bit
                        share = 0
                        # Without branches, which would go one way or the other at random.
                        for n in range(words.size):
                            share += weights[n] & -np.int64((words[n] >> roi) & one)
                        value = np.float32(1) if both & bit else np.float32(share) * np.float32(1 / _WHOLE)
                        if value > 0:
                            inside[_place(roi, k, j, i, boxes, offsets)] = value
                            _widen(tight, k, roi, j, i, i)
                i = cell_end
            if run != zero:
                _write_run(run, run_start, end, k, j, boxes, offsets, inside, tight)


@numba.njit(cache=True)
def _places(to_index, to_lps, shift, plane, row, shape, place, ahead):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    """Where the first voxels of a row come from, in the plan's indices (z, y, x), and before which of its voxels.

    The latter is the number of the voxel in memory, -1 where its neighbours are not all there. A loop of its own,
    because one without branches is vectorised.
    """
    depth, height, width = shape
    pz, py = to_lps[2, 2] * plane + to_lps[2, 3], to_lps[1, 1] * row + to_lps[1, 3]
    along_x, along_y, along_z = shift[0, plane, row], shift[1, plane, row], shift[2, plane, row]
    at_z, at_y, at_x = place[0], place[1], place[2]
    for column in range(ahead.size):
        qx = to_lps[0, 0] * column + to_lps[0, 3] + along_x[column]
        qy, qz = py + along_y[column], pz + along_z[column]
        z = to_index[2, 0] * qx + to_index[2, 1] * qy + to_index[2, 2] * qz + to_index[2, 3]
        y = to_index[1, 0] * qx + to_index[1, 1] * qy + to_index[1, 2] * qz + to_index[1, 3]
        x = to_index[0, 0] * qx + to_index[0, 1] * qy + to_index[0, 2] * qz + to_index[0, 3]
        at_z[column], at_y[column], at_x[column] = z, y, x
        within = (z >= 0) & (z < depth - 1) & (y >= 0) & (y < height - 1) & (x >= 0) & (x < width - 1)
        number = (int(z) * height + int(y)) * width + int(x)
        ahead[column] = number if within else -1


@numba.njit(cache=True, inline="always")
def _gather(flat, shape, k, j, i, ahead, words):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    """The words of the eight voxels from (k, j, i), voxel by voxel: what is in any of them, and what in all."""
    depth, height, width, count = shape
    either, both = np.uint64(0), ~np.uint64(0)
    for n in range(4):
        row = ahead + (n >> 1) * height * width + (n & 1) * width
        if ahead >= 0:
            first = np.uint64(row * count)
            for m in range(2 * count):
                words[2 * n * count + m] = flat[first + np.uint64(m)]
        else:
            kn, jn = k + (n >> 1), j + (n & 1)
            for m in range(2 * count):
                at = i + m // count
                within = 0 <= kn < depth and 0 <= jn < height and 0 <= at < width
                number = ((kn * height + jn) * width + i) * count + m
                words[2 * n * count + m] = flat[number] if within else np.uint64(0)
    for word in words:
        either, both = either | word, both & word
    return either, both


@numba.njit(cache=True, inline="always")
def _weigh(w, v, u, weights):  # type: ignore[no-untyped-def]
    """The trilinear weights of the words of eight voxels, in whole parts, so that their sum needs no order."""
    count = weights.size // 8
    for n in range(8):
        share = (w if n & 4 else 1 - w) * (v if n & 2 else 1 - v) * (u if n & 1 else 1 - u)
        for m in range(n * count, (n + 1) * count):
            weights[m] = np.int64(share * (_WHOLE // count))


@numba.njit(cache=True)
def _write_run(run, first, end, k, j, boxes, offsets, inside, tight):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    one = np.uint64(1)
    while run != np.uint64(0):
        bit = run & (~run + one)
        b = bits_set(bit - one)
        run ^= bit
        at = _place(b, k, j, first, boxes, offsets)
        # A slice would be counted anew each time, by both threads in one place.
        for n in range(at, at + end - first):
            inside[n] = np.float32(1)
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
