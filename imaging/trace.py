"""Masks and probabilities to contours: sub-voxel lines where `inside` is 0.5, plane by plane.

The lines run linearly between voxel centres (marching squares), so a soft boundary is drawn where it lies and not on
voxel edges. Loops of one plane combine by the even-odd rule: a loop inside a loop is a hole.
"""

import numpy as np
import shapely
from numba import njit
from numpy.typing import NDArray

from imaging.arrays import FloatVoxels, PointsXy
from imaging.holes import signed_area
from imaging.marching import Lines, march
from imaging.masks import RoiPatch
from imaging.structures import Contour

LEVEL = 0.5
TOLERANCE_MM = 0.1
"""How far a simplified line may leave the line that was traced."""

SMALLEST_LOOP_PIXELS = 0.25
"""Loops below a quarter of a pixel's area are noise of the interpolation: one whole voxel alone gives half a pixel."""

THIN_PIXELS = 50.0
"""Up to this area the half pixel that a traced loop loses on the corners of pixel stairs is more than 1 %."""

LARGEST_SHIFT_PIXELS = 0.05
"""How far a line may be moved to hold its area; one voxel in a row of three by three needs 0.045."""


def trace(patch: RoiPatch, *, tolerance_mm: float = TOLERANCE_MM) -> tuple[Contour, ...]:
    """Contours of one ROI in every plane that it touches.

    The corners are thinned (Douglas-Peucker); each loop is then widened by the hundredths of a millimetre that give it
    its area back. Where no plane of the ROI holds `THIN_PIXELS` they are moved by up to `LARGEST_SHIFT_PIXELS` more, to
    hold the area that the plane's values add up to: the line cuts the corners of pixel stairs, which would cost a
    thin cord 5 % at 3 mm pixels. Loops below `SMALLEST_LOOP_PIXELS` are dropped. At the border of the patch a loop
    closes halfway to the next voxel centre, as the patch is 0 outside.

    Args:
        patch: The ROI. Values are read as they are; nothing is smoothed.
        tolerance_mm: Largest distance between the thinned and the traced line; 0 gives the line as it was traced.

    Returns:
        Simple closed loops that do not cross, planes in ascending order; empty where nothing reaches 0.5.
    """
    patch = _cropped(patch)
    lines = _loops(patch)
    if tolerance_mm > 0 and len(lines.ends):
        lines = _thinned(lines, _shifts_mm(lines, patch), tolerance_mm)
    first_mm, step_mm = patch.geometry.origin_mm[2], patch.geometry.spacing_mm[2]
    heights = [first_mm + (patch.lower[0] + plane) * step_mm for plane in lines.planes.tolist()]
    return tuple(Contour(z_mm, loop) for z_mm, loop in zip(heights, lines.loops(), strict=True))


def _cropped(patch: RoiPatch) -> RoiPatch:
    """The part that can matter: what reaches the level, and the pixels around it."""
    lower, upper = _reached(patch.inside, LEVEL)
    around = np.array([0, 2, 2])
    lower, upper = np.maximum(lower - around, 0), upper + around
    z, y, x = (lower + patch.lower).tolist()
    part = tuple(slice(a, b) for a, b in zip(lower.tolist(), upper.tolist(), strict=True))
    # A view would be of another layout, for which the loops would be compiled once more in the midst of a request.
    return RoiPatch(patch.roi_number, (z, y, x), np.ascontiguousarray(patch.inside[part]), patch.geometry)


def _loops(patch: RoiPatch) -> Lines:
    """Closed loops in millimetres without the faint ones; planes are those of the patch."""
    lines = march(patch.inside, LEVEL)
    spacing = np.array(patch.geometry.spacing_mm[:2])
    offset = np.array(patch.geometry.origin_mm[:2]) + (np.array(patch.lower[:0:-1]) - 1) * spacing
    points = lines.points * spacing + offset
    smallest = SMALLEST_LOOP_PIXELS * spacing[0] * spacing[1]
    enough = np.abs(_areas(points, lines.ends)) >= smallest
    return _chosen(Lines(points, lines.ends, lines.planes), enough)


def _shifts_mm(lines: Lines, patch: RoiPatch) -> NDArray[np.float64]:
    """Per loop, how far to move all lines of its plane outwards of the material."""
    sx, sy, _ = patch.geometry.spacing_mm
    sums = patch.inside.sum(axis=(1, 2), dtype=np.float64) * sx * sy
    if sums.max() >= THIN_PIXELS * sx * sy:
        return np.zeros(len(lines.ends))
    largest = LARGEST_SHIFT_PIXELS * min(sx, sy)
    areas = np.bincount(lines.planes, _areas(lines.points, lines.ends))[lines.planes]
    lengths = np.bincount(lines.planes, [_length(loop) for loop in lines.loops()])[lines.planes]
    return np.clip((sums[lines.planes] - areas) / lengths, -largest, largest)


def _thinned(lines: Lines, shifts_mm: NDArray[np.float64], tolerance_mm: float) -> Lines:
    """Loops with fewer corners, moved outwards; where those of a plane would cross or touch then, as they were."""
    points, ends = _thin_all(lines.points, lines.ends, shifts_mm, tolerance_mm)
    rings = shapely.linearrings(points, indices=np.repeat(np.arange(len(ends)), np.diff(ends, prepend=0)))
    spoiled = set(lines.planes[~shapely.is_simple(rings)].tolist())
    for plane in np.flatnonzero(np.bincount(lines.planes) > 1).tolist():
        own = rings[lines.planes == plane]
        first, second = shapely.STRtree(own).query(own, predicate="intersects")
        if np.any(first != second):
            spoiled.add(plane)
    thinned = Lines(points, ends, lines.planes)
    if not spoiled:
        return thinned
    pairs = zip(lines.planes.tolist(), lines.loops(), thinned.loops(), strict=True)
    chosen = [old if plane in spoiled else new for plane, old, new in pairs]
    return Lines(np.concatenate(chosen), np.cumsum([len(loop) for loop in chosen]), lines.planes)


def _chosen(lines: Lines, wanted: NDArray[np.bool_]) -> Lines:
    """Some of the lines."""
    if wanted.all():
        return lines
    sizes = np.diff(lines.ends, prepend=0)
    return Lines(lines.points[np.repeat(wanted, sizes)], np.cumsum(sizes[wanted]), lines.planes[wanted])


@njit(cache=True, nogil=True)
def _reached(values: FloatVoxels, level: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and past-the-last index of what is above the level; zeros if nothing is."""
    lower, upper = np.array(values.shape), np.zeros(3, np.int64)
    for k in range(values.shape[0]):
        for j in range(values.shape[1]):
            row = values[k, j]
            first, last = len(row), -1
            for i in range(len(row)):
                if row[i] > level:
                    first, last = min(first, i), i
            if last >= 0:
                lower[0], upper[0] = min(lower[0], k), k + 1
                lower[1], upper[1] = min(lower[1], j), max(upper[1], j + 1)
                lower[2], upper[2] = min(lower[2], first), max(upper[2], last + 1)
    return np.minimum(lower, upper), upper


@njit(cache=True, nogil=True)
def _areas(points: PointsXy, ends: NDArray[np.int64]) -> NDArray[np.float64]:
    areas, start = np.empty(len(ends)), 0
    for n in range(len(ends)):
        areas[n] = signed_area(points[start : ends[n]])
        start = ends[n]
    return areas


@njit(cache=True, nogil=True)
def _thin_all(
    points: PointsXy, ends: NDArray[np.int64], shifts: NDArray[np.float64], tolerance: float
) -> tuple[PointsXy, NDArray[np.int64]]:
    """`_thin` for every loop; one of which it would leave no area stays as it is."""
    thinned, new_ends, start, at = np.empty_like(points), np.empty_like(ends), 0, 0
    for n in range(len(ends)):
        loop = points[start : ends[n]]
        thin = _thin(loop, tolerance, shifts[n])
        if len(thin) < 3:
            thin = loop
        thinned[at : at + len(thin)] = thin
        at += len(thin)
        new_ends[n], start = at, ends[n]
    return thinned[:at], new_ends


@njit(cache=True, nogil=True)
def _length(loop: PointsXy) -> float:
    """Length of the closed line."""
    total = 0.0
    for i in range(len(loop)):
        total += np.hypot(loop[i, 0] - loop[i - 1, 0], loop[i, 1] - loop[i - 1, 1])
    return total


@njit(cache=True, nogil=True)
def _thin(loop: PointsXy, tolerance: float, shift: float) -> PointsXy:
    """Douglas-Peucker on a closed loop, anchored at its first corner and the one farthest from it; then moved."""
    n = len(loop)
    keep = np.zeros(n + 1, np.bool_)
    far, far_distance = 0, -1.0
    for i in range(n):
        distance = (loop[i, 0] - loop[0, 0]) ** 2 + (loop[i, 1] - loop[0, 1]) ** 2
        if distance > far_distance:
            far, far_distance = i, distance
    keep[0], keep[far], keep[n] = True, True, True
    stack = [(0, far), (far, n)]
    while len(stack) > 0:
        first, last = stack.pop()
        x0, y0 = loop[first, 0], loop[first, 1]
        dx, dy = loop[last % n, 0] - x0, loop[last % n, 1] - y0
        length = dx * dx + dy * dy
        worst, worst_distance = -1, tolerance * tolerance
        for i in range(first + 1, last):
            px, py = loop[i, 0] - x0, loop[i, 1] - y0
            t = min(1.0, max(0.0, (px * dx + py * dy) / length)) if length > 0 else 0.0
            distance = (px - t * dx) ** 2 + (py - t * dy) ** 2
            if distance > worst_distance:
                worst, worst_distance = i, distance
        if worst >= 0:
            keep[worst] = True
            stack.append((first, worst))
            stack.append((worst, last))
    wanted = signed_area(loop) + (shift * _length(loop) if shift != 0.0 else 0.0)
    return _withsigned_area(loop[keep[:n]], wanted, tolerance + abs(shift))


@njit(cache=True, nogil=True)
def _withsigned_area(loop: PointsXy, area: float, largest: float) -> PointsXy:
    """Move every edge outwards by one distance, at most `largest`, so that the loop's signed area becomes `area`."""
    n, length = len(loop), _length(loop)
    if length == 0.0:
        return loop
    shift = min(largest, max(-largest, (area - signed_area(loop)) / length))
    moved = np.empty_like(loop)
    for i in range(n):
        following = (i + 1) % n
        ax, ay = loop[i, 0] - loop[i - 1, 0], loop[i, 1] - loop[i - 1, 1]
        bx, by = loop[following, 0] - loop[i, 0], loop[following, 1] - loop[i, 1]
        a, b = np.hypot(ax, ay), np.hypot(bx, by)
        nx, ny = ay / a + by / b, -ax / a - bx / b
        # A sharp corner would run far out; half the full length is the most that a corner moves.
        scale = 2.0 / max(nx * nx + ny * ny, 1.0)
        moved[i, 0] = loop[i, 0] + shift * scale * nx
        moved[i, 1] = loop[i, 1] + shift * scale * ny
    return moved
