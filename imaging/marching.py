"""Marching squares on a stack of planes, compiled: closed lines where values, linear between pixels, cross a level."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from imaging.arrays import FloatVoxels, PointsXy

_NUDGE = np.float32(1e-4)
"""Values nearer to the level than this are moved off it: two lines through a pixel centre could touch there."""

_ROW, _COLUMN = (0, 0, 1, 1), (0, 1, 1, 0)
"""Corners of a square, counter-clockwise; corner d is on the left of a line that enters in direction d."""

_ROW_STEP, _COLUMN_STEP = (1, 0, -1, 0), (0, -1, 0, 1)
"""Directions +y, -x, -y, +x: the next one is a turn to the left."""


class Lines(NamedTuple):
    """Closed lines, one after the other in one array.

    Attributes:
        points: (n, 2) corners (x, y) of all lines; the first corner of a line is not repeated.
        ends: (m,) where each line ends in `points`.
        planes: (m,) index of its plane, ascending.
    """

    points: PointsXy
    ends: NDArray[np.int64]
    planes: NDArray[np.int64]

    def loops(self) -> list[PointsXy]:
        """One view (k, 2) per line."""
        bounds = [0, *self.ends.tolist()]
        return [self.points[start:end] for start, end in pairwise(bounds)]


def march(values: FloatVoxels, level: float) -> Lines:
    """All lines at `level`, in pixels; beyond the planes' borders all is 0.

    The first pixel centre of every plane lies at (1, 1): round it there is one pixel of the 0 beyond.

    Where two corners that face each other are above the level and two below, the mean of the four decides.

    Args:
        values: (z, y, x) float32.
        level: Above 0.

    Returns:
        Simple lines with the higher values on their left (x to the right, y up); a line begins in its lowest row, and
        there at its first column.
    """
    return Lines(*_march(values, np.float32(level)))


@njit(cache=True, nogil=True)
def _march(values: FloatVoxels, level: np.float32) -> tuple[PointsXy, NDArray[np.int64], NDArray[np.int64]]:
    count, rows, columns = values.shape
    z = np.zeros((rows + 2, columns + 2), np.float32)
    high, seen = np.zeros(z.shape, np.bool_), np.zeros(z.shape, np.bool_)
    points, at = np.empty((4096, 2)), 0
    ends, planes = [np.int64(0)], [np.int64(0)]
    for k in range(count):
        crossings = _fill(values[k], level, z, high)
        if crossings == 0:
            continue
        if at + crossings > len(points):
            longer = np.empty((2 * len(points) + crossings, 2))
            longer[:at] = points[:at]
            points = longer
        seen[:] = False
        for j in range(rows + 1):
            lower, upper = high[j], high[j + 1]
            for i in range(columns + 1):
                # A line's first square in this order is one where it cuts off the upper right corner.
                corner = upper[i + 1]
                if corner == upper[i] or corner == lower[i + 1] or seen[j, i]:
                    continue
                if corner == lower[i] and corner == _middle(z, level, j, i):
                    continue
                at = _follow(z, high, seen, level, j, i, points, at, k * (rows + 2))
                ends.append(np.int64(at))
                planes.append(np.int64(k))
    return points[:at], np.array(ends)[1:], np.array(planes)[1:]


@njit(cache=True, nogil=True)
def _fill(plane: NDArray[np.float32], level: np.float32, z: NDArray[np.float32], high: NDArray[np.bool_]) -> int:
    """Copy a plane into the middle of `z`, mark what is above the level; returns how many pixel edges cross it."""
    crossings = 0
    for j in range(plane.shape[0]):
        source, target = plane[j], z[j + 1, 1:-1]
        marks, before = high[j + 1], high[j]
        for i in range(len(source)):
            value = source[i]
            value = level - _NUDGE if np.abs(value - level) < _NUDGE else value
            target[i] = value
            marks[i + 1] = value > level
        for i in range(1, len(marks)):
            crossings += int(marks[i] != marks[i - 1]) + int(marks[i] != before[i])
    last = high[plane.shape[0]]
    for i in range(len(last)):
        crossings += int(last[i])
    return crossings


@njit(cache=True, nogil=True)
def _middle(z: NDArray[np.float32], level: np.float32, j: int, i: int) -> bool:
    total = np.float64(z[j, i]) + np.float64(z[j, i + 1]) + np.float64(z[j + 1, i]) + np.float64(z[j + 1, i + 1])
    return bool(0.25 * total > level)


@njit(cache=True, nogil=True)
def _follow(  # noqa: PLR0917  compiled code takes no structures
    z: NDArray[np.float32],
    high: NDArray[np.bool_],
    seen: NDArray[np.bool_],
    level: np.float32,
    j: int,
    i: int,
    points: PointsXy,
    at: int,
    top: int,
) -> int:
    """Write one line from its first square on, and mark the upper right corners that it cuts off.

    `top` counts the rows of earlier planes: ties of a later thinning hang on the last digits, which are those of one
    tall picture of all planes, as contourpy would trace it.
    """
    first_j, first_i = j, i
    first = direction = 2 if high[j + 1, i + 1] else 1
    while True:
        left, right = direction, (direction + 1) % 4
        ahead_right, ahead_left = (direction + 2) % 4, (direction + 3) % 4
        j0, i0, j1, i1 = j + _ROW[left], i + _COLUMN[left], j + _ROW[right], i + _COLUMN[right]
        z0, z1 = np.float64(z[j0, i0]), np.float64(z[j1, i1])
        share = (z1 - level) / (z1 - z0)
        points[at, 0] = i0 * share + i1 * (1.0 - share)
        points[at, 1] = (top + j0) * share + (top + j1) * (1.0 - share) - top
        at += 1
        high_left = high[j + _ROW[ahead_left], i + _COLUMN[ahead_left]]
        high_right = high[j + _ROW[ahead_right], i + _COLUMN[ahead_right]]
        if high_left:
            turned = (direction + 3) % 4 if high_right else direction
        elif high_right and _middle(z, level, j, i):
            turned = (direction + 3) % 4
        else:
            turned = (direction + 1) % 4
        if (direction == 2 and turned == 3) or (direction == 1 and turned == 0):
            seen[j, i] = True
        direction = turned
        j, i = j + _ROW_STEP[direction], i + _COLUMN_STEP[direction]
        if j == first_j and i == first_i and direction == first:
            return at
