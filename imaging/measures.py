"""Size, place and connectedness of ROIs on a grid, counted in one pass over runs of equal voxels."""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from imaging.arrays import MaskVoxels, Points
from imaging.geometry import VolumeGeometry
from imaging.masks import PackedMasks, RoiPatch
from imaging.runs import find_pieces

SPECK_CC = 0.05
"""A component smaller than this is a speck of the rasteriser, not an island."""

Millimetres = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class RoiMeasure:
    """One ROI in numbers; voxels count whose centre lies inside.

    Attributes:
        volume_cc: Number of voxels times their volume; 0 if the ROI is empty.
        centroid_mm: Mean of the voxel centres (x, y, z), or None if the ROI is empty.
        lower_mm: Lower faces of the bounding box (x, y, z), or None if empty.
        upper_mm: Upper faces of the bounding box (x, y, z), or None if empty.
        slice_cc: (n,) volume per axial slice that holds a part of the ROI, lowest first.
        slice_centroids_mm: (n, 3) centroid of each of these parts.
        gaps: Number of empty slices between the first and the last of these.
        components: Number of face-connected parts of at least `SPECK_CC`.
    """

    volume_cc: float
    centroid_mm: Millimetres | None
    lower_mm: Millimetres | None
    upper_mm: Millimetres | None
    slice_cc: NDArray[np.float64]
    slice_centroids_mm: Points
    gaps: int
    components: int


@dataclass(frozen=True, eq=False)
class MeasuredPatch:
    """A ROI on the daily CT with its numbers."""

    patch: RoiPatch
    measure: RoiMeasure


def measured(patch: RoiPatch) -> MeasuredPatch:
    """`patch` with what `measure` says of it."""
    return MeasuredPatch(patch, measure(patch))


def measure(patch: RoiPatch) -> RoiMeasure:
    """Measure one ROI; a voxel counts where `inside` is at least 0.5."""
    words = (patch.inside >= np.float32(0.5)).view(np.uint8)
    sums, boxes = _run_sums(words, 1)
    upper = tuple(start + size for start, size in zip(patch.lower, patch.inside.shape, strict=True))
    grid = patch.geometry.cropped(patch.lower, (upper[0], upper[1], upper[2]))
    return _measure(words, 0, sums[:, 0], boxes[0], grid)


def measure_packed(masks: PackedMasks) -> dict[int, RoiMeasure]:
    """Measure every ROI of a packed volume, by ROI number."""
    sums, boxes = _run_sums(masks.bits, len(masks.roi_numbers))
    return {
        number: _measure(masks.bits, bit, sums[:, bit], boxes[bit], masks.geometry)
        for bit, number in enumerate(masks.roi_numbers)
    }


def on_common_box(one: RoiPatch, other: RoiPatch) -> tuple[MaskVoxels, MaskVoxels]:
    """Both ROIs as masks on the smallest box that holds both patches."""
    patches = (one, other)
    lower = np.min([patch.lower for patch in patches], axis=0)
    upper = np.max([np.add(patch.lower, patch.inside.shape) for patch in patches], axis=0)
    masks = []
    for patch in patches:
        mask = np.zeros(upper - lower, dtype=bool)
        start = np.subtract(patch.lower, lower)
        part = tuple(slice(a, a + n) for a, n in zip(start, patch.inside.shape, strict=True))
        mask[part] = patch.inside >= 0.5
        masks.append(mask)
    return masks[0], masks[1]


def _measure(
    words: NDArray[np.unsignedinteger],
    bit: int,
    sums: NDArray[np.int64],
    box: NDArray[np.int64],
    geometry: VolumeGeometry,
) -> RoiMeasure:
    planes = np.flatnonzero(sums[:, 0])
    if not len(planes):
        return RoiMeasure(0.0, None, None, None, np.empty(0), np.empty((0, 3)), 0, 0)
    counts = sums[planes, 0]
    index_xyz = np.column_stack([sums[planes, 1] / counts, sums[planes, 2] / counts, planes])
    centroids = geometry.to_lps(index_xyz)
    x, y, z = np.average(centroids, axis=0, weights=counts)
    first, last = int(planes[0]), int(planes[-1])
    corners = geometry.to_lps(
        np.array([[box[0] - 0.5, box[2] - 0.5, first - 0.5], [box[1] + 0.5, box[3] + 0.5, last + 0.5]])
    )
    part = words[first : last + 1, box[2] : box[3] + 1, box[0] : box[1] + 1]
    speck = int(np.ceil(SPECK_CC / geometry.voxel_cc))
    return RoiMeasure(
        volume_cc=float(counts.sum()) * geometry.voxel_cc,
        centroid_mm=(float(x), float(y), float(z)),
        lower_mm=(float(corners[0, 0]), float(corners[0, 1]), float(corners[0, 2])),
        upper_mm=(float(corners[1, 0]), float(corners[1, 1]), float(corners[1, 2])),
        slice_cc=counts * geometry.voxel_cc,
        slice_centroids_mm=centroids,
        gaps=last - first + 1 - len(planes),
        components=int(_count_components(part, bit, speck)),
    )


@njit(nogil=True, cache=True)
def _run_sums(words, bits):  # type: ignore[no-untyped-def]
    """Per slice and bit: voxels, sum of x indices, sum of y indices; per bit: lowest and highest x, then y index."""
    depth, height, width = words.shape
    sums = np.zeros((depth, bits, 3), np.int64)
    boxes = np.empty((bits, 4), np.int64)
    boxes[:, 0] = width
    boxes[:, 1] = -1
    boxes[:, 2] = height
    boxes[:, 3] = -1
    one = np.uint64(1)
    for k in range(depth):
        for j in range(height):
            i = 0
            while i < width:
                word = words[k, j, i]
                start = i
                i += 1
                while i < width and words[k, j, i] == word:
                    i += 1
                if word == 0:
                    continue
                for b in range(bits):
                    if (np.uint64(word) >> np.uint64(b)) & one:
                        count = i - start
                        sums[k, b, 0] += count
                        sums[k, b, 1] += count * (start + i - 1) // 2
                        sums[k, b, 2] += count * j
                        boxes[b, 0] = min(boxes[b, 0], start)
                        boxes[b, 1] = max(boxes[b, 1], i - 1)
                        boxes[b, 2] = min(boxes[b, 2], j)
                        boxes[b, 3] = max(boxes[b, 3], j)
    return sums, boxes


@njit(nogil=True, cache=True)
def _count_components(words, bit, smallest):  # type: ignore[no-untyped-def]
    """Face-connected components of at least `smallest` voxels whose word has the bit set."""
    _, starts, ends, pieces = find_pieces(words, bit, True)
    sizes = np.zeros(len(starts), np.int64)
    for run in range(len(starts)):
        sizes[pieces[run]] += ends[run] - starts[run]
    return np.sum(sizes >= max(smallest, 1))
