"""Masks and probabilities to contours: sub-voxel lines where `inside` is 0.5, plane by plane.

The lines run linearly between voxel centres (marching squares), so a soft boundary is drawn where it lies and not on
voxel edges. Loops of one plane combine by the even-odd rule: a loop inside a loop is a hole.
"""

from collections.abc import Iterator
from itertools import chain

import contourpy
import numpy as np
import shapely
from numba import njit

from imaging.arrays import PointsXy
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

_NUDGE = 1e-4
"""Values nearer to the level than this are moved off it."""


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
    if not patch.inside.size:
        return ()
    by_plane: dict[int, list[PointsXy]] = {}
    for plane, loop in _loops(patch):
        by_plane.setdefault(plane, []).append(loop)
    order = sorted(by_plane)
    planes = [by_plane[plane] for plane in order]
    if tolerance_mm > 0 and planes:
        planes = _thinned(planes, _shifts_mm(planes, order, patch), tolerance_mm)
    heights = [patch.geometry.origin_mm[2] + plane * patch.geometry.spacing_mm[2] for plane in order]
    return tuple(Contour(z_mm, loop) for z_mm, loops in zip(heights, planes, strict=True) for loop in loops)


def _cropped(patch: RoiPatch) -> RoiPatch:
    """The part that can matter: what reaches the level, and the pixels around it."""
    reached = patch.inside > LEVEL
    box = []
    for other in ((1, 2), (0, 2), (0, 1)):
        along = np.flatnonzero(reached.any(axis=other))
        around = 0 if other == (1, 2) else 2
        box.append(slice(max(0, along[0] - around), along[-1] + 1 + around) if len(along) else slice(0, 0))
    z, y, x = (int(first + part.start) for first, part in zip(patch.lower, box, strict=True))
    return RoiPatch(patch.roi_number, (z, y, x), patch.inside[tuple(box)], patch.geometry)


def _shifts_mm(planes: list[list[PointsXy]], order: list[int], patch: RoiPatch) -> list[float]:
    """Per plane, how far to move all lines outwards of the material."""
    sx, sy, _ = patch.geometry.spacing_mm
    sums = patch.inside.sum(axis=(1, 2), dtype=np.float64) * sx * sy
    missing = [sums[k - patch.lower[0]] - sum(map(_area, loops)) for k, loops in zip(order, planes, strict=True)]
    lengths = [sum(map(_length, loops)) for loops in planes]
    largest = LARGEST_SHIFT_PIXELS * min(sx, sy) if sums.max() < THIN_PIXELS * sx * sy else 0.0
    return np.clip(np.divide(missing, lengths), -largest, largest).tolist()


def _loops(patch: RoiPatch) -> Iterator[tuple[int, PointsXy]]:
    """Index of the plane in the whole grid, and a closed loop (n, 2) in millimetres, first corner not repeated."""
    planes, rows, columns = patch.inside.shape
    padded = np.zeros((planes, rows + 2, columns + 2), np.float32)
    padded[:, 1:-1, 1:-1] = patch.inside
    # A line through a voxel centre could touch another one there.
    padded[np.abs(padded - LEVEL) < _NUDGE] = LEVEL - _NUDGE
    # One tall picture of all planes, apart by their empty borders: the set-up of contourpy costs more than its tracing.
    tall = padded.reshape(-1, columns + 2)
    spacing = patch.geometry.spacing_mm[:2]
    offset = np.array(patch.geometry.origin_mm[:2]) + (np.array(patch.lower[:0:-1]) - 1) * spacing
    smallest = SMALLEST_LOOP_PIXELS * spacing[0] * spacing[1]
    for line in contourpy.contour_generator(z=tall, name="serial", line_type="Separate").lines(LEVEL):
        loop = np.array(line[:-1], np.float64)
        plane = int(loop[0, 1] // (rows + 2))
        loop[:, 1] -= plane * (rows + 2)
        loop *= spacing
        loop += offset
        if len(loop) > 2 and abs(_area(loop)) >= smallest:
            yield patch.lower[0] + plane, loop


def _thinned(planes: list[list[PointsXy]], shifts_mm: list[float], tolerance_mm: float) -> list[list[PointsXy]]:
    """Loops per plane with fewer corners, moved outwards; where they would cross or touch then, as they were."""
    thinned = [
        [_thin(loop, tolerance_mm, shift) for loop in loops] for loops, shift in zip(planes, shifts_mm, strict=True)
    ]
    corners = [new if len(new) > 2 else old for new, old in zip(chain(*thinned), chain(*planes), strict=True)]
    rings = shapely.linearrings(
        np.concatenate(corners), indices=np.repeat(np.arange(len(corners)), [len(loop) for loop in corners])
    )
    plane_of = np.repeat(np.arange(len(planes)), [len(loops) for loops in planes])
    spoiled = set(plane_of[~shapely.is_simple(rings)].tolist())
    for plane in np.flatnonzero(np.bincount(plane_of) > 1).tolist():
        own = rings[plane_of == plane]
        first, second = shapely.STRtree(own).query(own, predicate="intersects")
        if np.any(first != second):
            spoiled.add(plane)
    result: list[list[PointsXy]] = [[] for _ in planes]
    for plane, loop in zip(plane_of.tolist(), corners, strict=True):
        result[plane].append(loop)
    return [old if plane in spoiled else new for plane, (old, new) in enumerate(zip(planes, result, strict=True))]


@njit(cache=True, nogil=True)
def _area(loop: PointsXy) -> float:
    """Shoelace area, about the first corner."""
    total = 0.0
    x0, y0 = loop[0]
    for i in range(1, len(loop) - 1):
        total += (loop[i, 0] - x0) * (loop[i + 1, 1] - y0) - (loop[i + 1, 0] - x0) * (loop[i, 1] - y0)
    return 0.5 * total


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
    return _with_area(loop[keep[:n]], _area(loop) + shift * _length(loop), tolerance + abs(shift))


@njit(cache=True, nogil=True)
def _with_area(loop: PointsXy, area: float, largest: float) -> PointsXy:
    """Move every edge outwards by one distance, at most `largest`, so that the loop's signed area becomes `area`."""
    n, length = len(loop), _length(loop)
    if length == 0.0:
        return loop
    shift = min(largest, max(-largest, (area - _area(loop)) / length))
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
