"""Holes in contours, for readers that know simple loops only: the keyhole technique of PS3.3 C.8.8.6.3."""

from collections.abc import Sequence

import numpy as np
from numba import njit

from imaging.arrays import PointsXy


def to_keyholes(loops: Sequence[PointsXy]) -> list[PointsXy]:
    """The same area, without a loop inside another loop's material.

    Every hole is joined to its outer loop by a corridor of no width, drawn from the hole's rightmost corner along +x
    to the first edge that it meets. Taking the holes from right to left, that edge always belongs to the outer loop or
    to a hole already joined, so corridors never cross. Islands inside holes stay loops of their own.

    Args:
        loops: Simple loops (n, 2) of one plane that do not cross, combined by the even-odd rule.

    Returns:
        One loop for each connected piece of material, running so that its signed area is positive.
    """
    if len(loops) == 1:
        return [_turned(loops[0], positive=True)]
    inside = containment(loops)
    depth = inside.sum(axis=1)
    pieces = {i: _turned(loop, positive=True) for i, loop in enumerate(loops) if depth[i] % 2 == 0}
    holes = [i for i in range(len(loops)) if depth[i] % 2 == 1]
    for hole in sorted(holes, key=lambda i: -loops[i][:, 0].max()):
        outer = max((i for i in pieces if inside[hole, i]), key=lambda i: int(depth[i]))
        pieces[outer] = _joined(pieces[outer], _turned(loops[hole], positive=False))
    return list(pieces.values())


def containment(loops: Sequence[PointsXy]) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """(n, n) table: row i, column j is True where loop i lies inside loop j.

    Args:
        loops: Simple loops (n, 2) of one plane that do not cross.
    """
    table = np.zeros((len(loops), len(loops)), np.bool_)
    for i, loop in enumerate(loops):
        for j, other in enumerate(loops):
            if (
                i != j
                and np.all(other.min(axis=0) <= loop.min(axis=0))
                and np.all(loop.max(axis=0) <= other.max(axis=0))
            ):
                table[i, j] = len(_crossings(other, _rightmost(loop))[0]) % 2 == 1
    return table


@njit(cache=True, nogil=True)
def signed_area(loop: PointsXy) -> float:
    """Shoelace area, about the first corner; positive where x turns towards y."""
    total = 0.0
    x0, y0 = loop[0]
    for i in range(1, len(loop) - 1):
        total += (loop[i, 0] - x0) * (loop[i + 1, 1] - y0) - (loop[i + 1, 0] - x0) * (loop[i, 1] - y0)
    return 0.5 * total


def _rightmost(loop: PointsXy) -> PointsXy:
    corner: PointsXy = loop[np.argmax(loop[:, 0])]
    return corner


def _turned(loop: PointsXy, *, positive: bool) -> PointsXy:
    """The loop, run through in the direction that gives its signed area the wanted sign."""
    return loop if (signed_area(loop) > 0) == positive else loop[::-1]


def _crossings(loop: PointsXy, point: PointsXy) -> tuple[np.ndarray, np.ndarray]:
    """Edges that the ray from the point along +x meets, and where: index of the edge's first corner, x."""
    first, second = loop, np.roll(loop, -1, axis=0)
    edges = np.flatnonzero((first[:, 1] <= point[1]) != (second[:, 1] <= point[1]))
    (x0, y0), (x1, y1) = first[edges].T, second[edges].T
    x = x0 + (point[1] - y0) * (x1 - x0) / (y1 - y0)
    ahead = x > point[0]
    return edges[ahead], x[ahead]


def _joined(outer: PointsXy, hole: PointsXy) -> PointsXy:
    """Outer loop and hole as one loop, through a horizontal corridor."""
    start = int(np.argmax(hole[:, 0]))
    edges, x = _crossings(outer, hole[start])
    nearest = int(np.argmin(x))
    gate = np.array([[x[nearest], hole[start, 1]]])
    after = int(edges[nearest]) + 1
    way = [outer[:after], gate, hole[start:], hole[: start + 1], gate, outer[after:]]
    return np.concatenate(way)
