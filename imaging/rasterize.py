"""Contours to masks: exact even-odd filling at points of each voxel, all ROIs of a structure set at once.

A point belongs to an ROI where it lies inside an odd number of the ROI's loops in that plane, so holes,
keyholes with a corridor of no width, CLOSEDPLANAR_XOR loops and islands all come out right (PS3.3 C.8.8.6.3).
Edges are half-open: a centre exactly on the edge that two neighbours share belongs to one of them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from imaging.arrays import FloatVoxels, MaskVoxels, PointsXy, RoiBits, RoiSamples
from imaging.geometry import VolumeGeometry, bounds
from imaging.masks import ROIS_PER_WORD, PackedMasks
from imaging.structures import Contour, Roi, StructureSet

_WITHIN = np.array([[-3, -1], [1, -3], [3, 1], [-1, 3]]) / 8
"""Points (column, row) of a pixel from its centre: each on a row and a column of its own, so that an edge along either
axis passes them one by one."""

HALF_PIXEL_SHARE = 0.8
"""An ROI with this share of its corners on borders between pixels is the outline of a mask, ..."""

HALF_PIXEL_TOLERANCE = 0.03
"""... to this many pixels (a coordinate rounded to 0.01 mm)."""

SAME_PLANE_MM = 0.02
"""Contours whose z differ by less lie in one plane (two roundings to 0.01 mm)."""

LARGEST_GAP_MM = 10.0
"""Planes left out between two drawn ones are filled in up to this distance, ..."""

LARGEST_GAP_STEPS = 1.5
"""... and up to this multiple of the ROI's usual step from one drawn plane to the next."""


@dataclass(frozen=True)
class _Gap:
    """Planes between `lower` and `upper` (array indices, both drawn) that were left out."""

    lower: int
    upper: int


class _Loops(NamedTuple):
    """All loops of a group of ROIs, one after the other: corners (n, 2) in pixels, and per loop where they end, its
    plane and its ROI."""

    corners: PointsXy
    ends: NDArray[np.int64]
    planes: NDArray[np.int64]
    rois: NDArray[np.int64]

    def of_roi(self, roi: int) -> PointsXy:
        """The corners of one ROI."""
        sizes = np.diff(self.ends, prepend=0)
        return self.corners[np.repeat(self.rois == roi, sizes)]


def rasterize(structures: StructureSet, geometry: VolumeGeometry, *, within: bool = False) -> tuple[PackedMasks, ...]:
    """Masks of all ROIs on the grid, 64 ROIs to a group, in the order of the structure set.

    A contour belongs to the plane within half a slice spacing of it; where contours of several heights claim one
    plane, the nearest height is taken. Parts outside the grid are cut off. An ROI that was drawn on every second or
    third plane (see `interpolated_rois`) is filled in with the weighted mean of the neighbours' signed distances; a gap
    in an ROI that was else drawn on every plane stays empty (see `gapped_rois`): nobody can tell whether it was meant.

    Args:
        structures: Contours in LPS millimetres. An ROI without contours keeps its bit, which stays empty.
        geometry: The grid.
        within: Whether to look at four points of each pixel as well, for those who carry the masks elsewhere. Of an ROI
            that is the outline of a mask on this grid they all lie at the centre: it tells which pixels, not where
            within them.

    Returns:
        One `PackedMasks` for every 64 ROIs.
    """
    groups = [structures.rois[i : i + ROIS_PER_WORD] for i in range(0, len(structures.rois), ROIS_PER_WORD)]
    return tuple(_rasterize_group(group, geometry, within=within) for group in groups)


def interpolated_rois(structures: StructureSet, geometry: VolumeGeometry) -> tuple[int, ...]:
    """Numbers of the ROIs in which `rasterize` fills in planes that were not drawn.

    Args:
        structures: Contours in LPS millimetres.
        geometry: The grid.

    Returns:
        ROI numbers, in the order of the structure set.
    """
    return tuple(roi.number for roi in structures.rois if _gaps(_loops_by_plane(roi, geometry), geometry))


def gapped_rois(structures: StructureSet, geometry: VolumeGeometry) -> tuple[int, ...]:
    """Numbers of the ROIs that have planes without contours between drawn ones, and that `rasterize` leaves so.

    Args:
        structures: Contours in LPS millimetres.
        geometry: The grid.

    Returns:
        ROI numbers, in the order of the structure set.
    """
    found = []
    for roi in structures.rois:
        planes = _loops_by_plane(roi, geometry)
        if sum(upper - lower > 1 for lower, upper in pairwise(planes)) > len(_gaps(planes, geometry)):
            found.append(roi.number)
    return tuple(found)


def mask_of(masks: Iterable[PackedMasks], roi_number: int) -> MaskVoxels:
    """One ROI as a plain mask (z, y, x).

    Raises:
        KeyError: No group holds the ROI.
    """
    for group in masks:
        if roi_number in group.roi_numbers:
            bit = np.uint64(1) << np.uint64(group.roi_numbers.index(roi_number))
            return (group.bits & bit) != 0
    raise KeyError(roi_number)


def _rasterize_group(rois: tuple[Roi, ...], geometry: VolumeGeometry, *, within: bool) -> PackedMasks:
    planes_of = [_loops_by_plane(roi, geometry) for roi in rois]
    loops = [
        (contour.xy_mm, plane, bit)
        for bit, planes in enumerate(planes_of)
        for plane, contours in planes.items()
        for contour in contours
    ]
    numbers = tuple(roi.number for roi in rois)
    if not loops:
        return PackedMasks(np.zeros(geometry.shape, np.uint64), numbers, geometry)
    drawn = _Loops(
        _to_pixels(np.concatenate([xy for xy, _, _ in loops]), geometry),
        np.cumsum([len(xy) for xy, _, _ in loops]),
        np.array([plane for _, plane, _ in loops], np.int64),
        np.array([bit for _, _, bit in loops]),
    )
    bits = _filled(drawn, planes_of, np.zeros((len(rois), 1, 2)), geometry)[..., 0]
    if not within:
        return PackedMasks(bits, numbers, geometry)
    freely = np.array([not _outlines_pixels(drawn.of_roi(bit)) for bit in range(len(rois))])
    points = _filled(drawn, planes_of, freely[:, None, None] * _WITHIN, geometry)
    _keep_thin(bits, points)
    return PackedMasks(bits, numbers, geometry, points)


def _keep_thin(bits: RoiBits, points: RoiSamples) -> None:
    """Give an ROI that holds no pixel's centre the pixels of which it holds a point, or it would have no size."""
    missed = np.bitwise_or.reduce(points, axis=None) & ~np.bitwise_or.reduce(bits, axis=None)
    if missed:
        bits |= np.bitwise_or.reduce(points, axis=3) & missed


def _filled(
    drawn: _Loops, planes_of: list[dict[int, list[Contour]]], points: NDArray[np.float64], geometry: VolumeGeometry
) -> RoiSamples:
    """Which ROIs hold the points (roi, n, 2) of each pixel, in pixels from its centre."""
    samples = np.zeros((*geometry.shape, points.shape[1]), np.uint64)
    flipped = np.zeros((*geometry.shape[:2], 2), np.int64)
    flipped[..., 0] = geometry.shape[2]
    _toggle_edges(samples, flipped, points, *drawn)
    _fill_rows(samples, flipped)
    for bit, loops_by_plane in enumerate(planes_of):
        for gap in _gaps(loops_by_plane, geometry):
            ends = [contour.xy_mm for plane in (gap.lower, gap.upper) for contour in loops_by_plane[plane]]
            box = _rows_and_columns(_to_pixels(np.concatenate(ends), geometry), geometry)
            for n in range(samples.shape[3]):
                _fill_gap(samples[..., n], np.uint64(1) << np.uint64(bit), gap, box, geometry)
    return samples


def _outlines_pixels(corners: PointsXy) -> bool:
    """Whether an ROI's corners, in pixels, lie where a mask on this grid has them: on borders between pixels."""
    halves = np.round(2 * corners)
    near = (np.abs(corners - halves / 2) < HALF_PIXEL_TOLERANCE).all(axis=1)
    return bool(np.sum(near & (halves % 2 == 1).any(axis=1)) >= HALF_PIXEL_SHARE * max(len(corners), 1))


def _loops_by_plane(roi: Roi, geometry: VolumeGeometry) -> dict[int, list[Contour]]:
    """The loops that fill each plane of the grid, planes in ascending order."""
    z_mm = np.array([contour.z_mm for contour in roi.contours])
    planes = np.floor((z_mm - geometry.origin_mm[2]) / geometry.spacing_mm[2] + 0.5).astype(int).tolist()
    heights: dict[int, list[Contour]] = {}
    for plane, contour in zip(planes, roi.contours, strict=True):
        if 0 <= plane < geometry.shape[0]:
            heights.setdefault(plane, []).append(contour)
    return {plane: _of_one_height(heights[plane], plane, geometry) for plane in sorted(heights)}


def _of_one_height(contours: list[Contour], plane: int, geometry: VolumeGeometry) -> list[Contour]:
    """The loops whose height is nearest to a plane of the grid."""
    if len(contours) == 1:
        return contours
    z_mm = geometry.origin_mm[2] + plane * geometry.spacing_mm[2]
    _, nearest = min((abs(contour.z_mm - z_mm), contour.z_mm) for contour in contours)
    return [contour for contour in contours if abs(contour.z_mm - nearest) < SAME_PLANE_MM]


def _gaps(planes: dict[int, list[Contour]], geometry: VolumeGeometry) -> list[_Gap]:
    """Gaps that are filled in: short, usual for this ROI, and between shapes whose bounding boxes overlap."""
    drawn = list(planes)
    if len(drawn) < 2:
        return []
    steps_mm = np.diff(drawn) * geometry.spacing_mm[2]
    largest_mm = min(LARGEST_GAP_MM, LARGEST_GAP_STEPS * float(np.median(steps_mm))) + SAME_PLANE_MM
    found = []
    for lower, upper in pairwise(drawn):
        if upper - lower > 1 and (upper - lower) * geometry.spacing_mm[2] <= largest_mm:
            low_a, high_a = _box(planes[lower])
            low_b, high_b = _box(planes[upper])
            if np.all(np.maximum(low_a, low_b) < np.minimum(high_a, high_b)):
                found.append(_Gap(lower, upper))
    return found


def _box(contours: list[Contour]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    corners = np.concatenate([c.xy_mm for c in contours])
    return corners.min(axis=0), corners.max(axis=0)


def _to_pixels(corners_mm: NDArray[np.float64], geometry: VolumeGeometry) -> NDArray[np.float64]:
    """Continuous indices (column, row) of points (x, y)."""
    pixels = np.empty_like(corners_mm)
    _place(corners_mm, geometry.origin_mm, geometry.spacing_mm, pixels)
    return pixels


@njit(cache=True, nogil=True)
def _place(corners_mm, origin_mm, spacing_mm, pixels):  # type: ignore[no-untyped-def]
    for n in range(len(corners_mm)):
        for c in range(2):
            pixels[n, c] = (corners_mm[n, c] - origin_mm[c]) / spacing_mm[c]


def _rows_and_columns(corners: NDArray[np.float64], geometry: VolumeGeometry) -> tuple[int, int, int, int]:
    """First and past-the-last row and column that any loop can touch."""
    _, rows, columns = geometry.shape
    least, largest = bounds(corners)
    low, high = np.floor(least), np.ceil(largest) + 1
    (first_column, first_row), (last_column, last_row) = np.clip([low, high], 0, [columns, rows]).astype(int)
    return int(first_row), int(last_row), int(first_column), int(last_column)


@njit(cache=True, nogil=True)
def _toggle_edges(  # noqa: PLR0917
    samples: RoiSamples,
    flipped: NDArray[np.int64],
    points: NDArray[np.float64],
    corners: NDArray[np.float64],
    ends: NDArray[np.int64],
    planes: NDArray[np.int64],
    numbers: NDArray[np.int64],
) -> None:
    """Flip, in every row that an edge crosses, the first voxel whose point is not left of the crossing.

    The columns between which a row was flipped are widened in `flipped` (z, y, 2), the first and the last.
    """
    _, rows, columns, count = samples.shape
    start = 0
    for loop in range(len(ends)):
        end, plane, roi = ends[loop], planes[loop], numbers[loop]
        word = np.uint64(1) << np.uint64(roi)
        for b in range(start, end):
            a = b - 1 if b > start else end - 1
            # Both directions of an edge must give the same crossing, or a corridor would not cancel.
            if corners[a, 1] < corners[b, 1] or (corners[a, 1] == corners[b, 1] and corners[a, 0] < corners[b, 0]):
                x0, y0, x1, y1 = corners[a, 0], corners[a, 1], corners[b, 0], corners[b, 1]
            else:
                x0, y0, x1, y1 = corners[b, 0], corners[b, 1], corners[a, 0], corners[a, 1]
            for n in range(count):
                beside, below = points[roi, n, 0], points[roi, n, 1]
                first = max(0, int(np.ceil(max(y0 - below, -1.0))))
                past = min(rows, int(np.ceil(min(y1 - below, float(rows)))))
                for row in range(first, past):
                    crossing = x0 + (row + below - y0) * (x1 - x0) / (y1 - y0) - beside
                    column = int(np.ceil(min(max(crossing, 0.0), float(columns))))
                    if column < columns:
                        samples[plane, row, column, n] ^= word
                    flipped[plane, row, 0] = min(flipped[plane, row, 0], column)
                    flipped[plane, row, 1] = max(flipped[plane, row, 1], column)
        start = end


@njit(cache=True, nogil=True)
def _fill_rows(samples: RoiSamples, flipped: NDArray[np.int64]) -> None:
    """Running exclusive-or along x: between two flips a point is inside, for all ROIs of the word at once."""
    planes, rows, columns, count = samples.shape
    for plane in range(planes):
        for row in range(rows):
            for n in range(count):
                inside = np.uint64(0)
                for column in range(flipped[plane, row, 0], min(flipped[plane, row, 1] + 1, columns)):
                    inside ^= samples[plane, row, column, n]
                    samples[plane, row, column, n] = inside


def _fill_gap(
    bits: RoiBits, word: np.uint64, gap: _Gap, box: tuple[int, int, int, int], geometry: VolumeGeometry
) -> None:
    """Draw the planes of a gap where the weighted signed distances of its two ends are positive."""
    inside = np.s_[box[0] : box[1], box[2] : box[3]]
    below, above = ((bits[plane][inside] & word) != 0 for plane in (gap.lower, gap.upper))
    if not below.any() or not above.any():
        return
    below_mm, above_mm = (_signed_distance_mm(end, *geometry.spacing_mm[:2]) for end in (below, above))
    for plane in range(gap.lower + 1, gap.upper):
        weight = (plane - gap.lower) / (gap.upper - gap.lower)
        bits[plane][inside][(1 - weight) * below_mm + weight * above_mm > 0] |= word


@njit(cache=True, nogil=True)
def _signed_distance_mm(mask: MaskVoxels, step_x: float, step_y: float) -> FloatVoxels:
    """Distance (y, x) to the nearest pixel on the other side of the boundary, positive inside; exact, in two passes."""
    rows, columns = mask.shape
    signed = np.empty((rows, columns), np.float32)
    down = np.empty((rows, columns, 2))
    for column in range(columns):
        for side in range(2):
            last = np.inf
            for row in range(rows):
                last = 0.0 if mask[row, column] == (side == 1) else last + step_y
                down[row, column, side] = last
            last = np.inf
            for row in range(rows - 1, -1, -1):
                last = min(down[row, column, side], last + step_y)
                down[row, column, side] = last
    for row in range(rows):
        for column in range(columns):
            other = 0 if mask[row, column] else 1
            nearest = down[row, column, other] ** 2
            reach = 1
            while (reach * step_x) ** 2 < nearest and reach < columns:
                for at in (column - reach, column + reach):
                    if 0 <= at < columns:
                        nearest = min(nearest, (reach * step_x) ** 2 + down[row, at, other] ** 2)
                reach += 1
            signed[row, column] = np.sqrt(nearest) if mask[row, column] else -np.sqrt(nearest)
    return signed
