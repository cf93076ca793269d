"""Where a place of one image lies in the other, by comparing descriptors: a dense search and a sub-voxel step.

The search costs every whole-voxel displacement in a window and then finds a smooth field that is cheap everywhere, by
taking turns between the cheapest displacement near the smooth field and smoothing (coupled convex optimisation,
Siebert et al., ConvexAdam, IEEE TMI 2024; the idea, not the code). It sees far, so an organ that moved by more than its
own wall is found. The step fits a parabola through the costs beside a place, so it is finer than a voxel.
"""

import numba
import numpy as np

from imaging.arrays import FloatVoxels, MaskVoxels
from imaging.similarity import Descriptors, unequal_bits
from imaging.smoothing import smooth

STRIDE = 2
"""Voxels per displacement of the search, along each axis."""

COUPLINGS = (0.0, 1.0, 3.0, 10.0, 30.0)
"""Unequal bits that one voxel of distance from the smooth field costs, rising until smoothness wins."""

_SIX_AND_CENTRE = np.array(
    [(0, 0, 0), (0, 0, -1), (0, 0, 1), (0, -1, 0), (0, 1, 0), (-1, 0, 0), (1, 0, 0)], dtype=np.int64
)


def search(fixed: Descriptors, moving: Descriptors, *, reach: int) -> FloatVoxels:
    """A coarse displacement field from all whole-voxel displacements within a window.

    Args:
        fixed: Descriptors of one image.
        moving: Descriptors of the other on the same grid.
        reach: Largest displacement along each axis, in voxels.

    Returns:
        (3, z, y, x) float32 in voxels, components (x, y, z), constant over blocks of `STRIDE` voxels.
    """
    shape = tuple(-(-n // STRIDE) for n in fixed.shape)
    window = np.arange(-reach, reach + 1)
    offsets = np.stack(np.meshgrid(window, window, window, indexing="ij"), axis=-1).reshape(-1, 3)
    # Nearest first, so that a place where every displacement costs the same (air) stays where it is.
    offsets = offsets[np.argsort((offsets**2).sum(axis=1), kind="stable")]
    cost = np.empty((len(offsets), *shape), dtype=np.float32)
    _window_costs(fixed, moving, offsets, STRIDE, cost)
    best = np.zeros((3, *shape), dtype=np.float32)
    coupled = best
    for coupling in COUPLINGS:
        _cheapest(cost, offsets, np.float32(coupling), coupled, best)
        coupled = smooth(best, 1.0)
    for axis in (1, 2, 3):
        coupled = np.repeat(coupled, STRIDE, axis=axis)
    z, y, x = fixed.shape
    return coupled[:, :z, :y, :x]


def sub_voxel_step(
    fixed: Descriptors, moving: Descriptors, seen: MaskVoxels, *, window: float
) -> tuple[FloatVoxels, FloatVoxels]:
    """How far to go from here, at most one voxel, and how sure that is.

    Args:
        fixed: Descriptors of one image.
        moving: Descriptors of the other on the same grid, already deformed as far as is known.
        seen: Where `moving` means something.
        window: Standard deviation, in blocks, of the neighbourhood that is compared.

    Returns:
        Step (3, z, y, x) in voxels, components (x, y, z), for each block of `STRIDE` voxels along each axis; and weight
        (1, z, y, x), larger where the costs are more curved and lower, so that edges with a counterpart lead and
        uniform or changed contents follow.
    """
    shape = tuple(-(-n // STRIDE) for n in fixed.shape)
    cost = np.empty((7, *shape), dtype=np.float32)
    part = np.empty(shape, dtype=np.float32)
    _neighbour_costs(fixed, moving, seen, _SIX_AND_CENTRE, STRIDE, cost, part)
    cost = smooth(cost, window)
    step = np.empty((3, *shape), dtype=np.float32)
    weight = np.empty((1, *shape), dtype=np.float32)
    _parabola(cost, part, step, weight)
    return step, weight


@numba.njit(cache=True, parallel=True)
def _window_costs(fixed, moving, offsets, stride, cost):  # type: ignore[no-untyped-def]
    depth, height, width = fixed.shape
    d, h, w = cost.shape[1:]
    for n in numba.prange(offsets.shape[0]):
        dk, dj, di = offsets[n]
        first, last = max(0, -di), min(width, width - di)
        line = np.zeros(w * stride, dtype=np.uint16)
        sums = np.zeros((d, h, w), dtype=np.float32)
        for kc in range(d):
            for jc in range(h):
                line[:] = 0
                for k in range(kc * stride, min((kc + 1) * stride, depth)):
                    for j in range(jc * stride, min((jc + 1) * stride, height)):
                        here = fixed[k, j]
                        there = moving[min(max(k + dk, 0), depth - 1), min(max(j + dj, 0), height - 1)]
                        # A slice of its own, or the compiler cannot prove that this is safe to vectorise.
                        part = there[first + di : last + di]
                        for i in range(last - first):
                            line[first + i] += np.uint16(unequal_bits(here[first + i], part[i]))
                        for i in range(first):
                            line[i] += np.uint16(unequal_bits(here[i], there[0]))
                        for i in range(last, width):
                            line[i] += np.uint16(unequal_bits(here[i], there[width - 1]))
                for i in range(w):
                    total = 0
                    for s in range(stride):
                        total += line[i * stride + s]
                    sums[kc, jc, i] = total
        _box_means(sums, np.float32(1.0 / stride**3), cost[n])


@numba.njit(cache=True)
def _box_means(sums, scale, out):  # type: ignore[no-untyped-def]
    """Means over 3x3x3, the edge repeated."""
    depth, height, width = sums.shape
    plane = np.empty((depth, width), dtype=np.float32)
    line = np.empty(width + 2, dtype=np.float32)
    for j in range(height):
        up, down = max(j - 1, 0), min(j + 1, height - 1)
        for k in range(depth):
            for i in range(width):
                plane[k, i] = sums[k, up, i] + sums[k, j, i] + sums[k, down, i]
        for k in range(depth):
            before, after = max(k - 1, 0), min(k + 1, depth - 1)
            for i in range(width):
                line[i + 1] = plane[before, i] + plane[k, i] + plane[after, i]
            line[0], line[width + 1] = line[1], line[width]
            for i in range(width):
                out[k, j, i] = (line[i] + line[i + 1] + line[i + 2]) * (scale / 27)


@numba.njit(cache=True, parallel=True)
def _cheapest(cost, offsets, coupling, coupled, best):  # type: ignore[no-untyped-def]
    _, depth, height, width = cost.shape
    for k in numba.prange(depth):
        low = np.empty(width, dtype=np.float32)
        at = np.empty(width, dtype=np.int32)
        for j in range(height):
            low[:] = np.inf
            at[:] = 0
            x, y, z = coupled[0, k, j], coupled[1, k, j], coupled[2, k, j]
            for n in range(offsets.shape[0]):
                dz, dy, dx = np.float32(offsets[n, 0]), np.float32(offsets[n, 1]), np.float32(offsets[n, 2])
                row = cost[n, k, j]
                for i in range(width):
                    total = row[i] + coupling * ((x[i] - dx) ** 2 + (y[i] - dy) ** 2 + (z[i] - dz) ** 2)
                    if total < low[i]:
                        low[i] = total
                        at[i] = n
            for i in range(width):
                for c in range(3):
                    best[c, k, j, i] = offsets[at[i], 2 - c]


@numba.njit(cache=True, parallel=True)
def _neighbour_costs(fixed, moving, seen, offsets, stride, cost, part):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    """Mean cost of each offset per block, and the part of the block that is seen."""
    depth, height, width = fixed.shape
    d, h, w = part.shape
    for kc in numba.prange(d):
        line = np.empty(w * stride, dtype=np.uint16)
        for n in range(offsets.shape[0] + 1):
            dk, dj, di = offsets[min(n, offsets.shape[0] - 1)]
            first, last = max(0, -di), min(width, width - di)
            for jc in range(h):
                line[:] = 0
                rows = 0
                for k in range(kc * stride, min((kc + 1) * stride, depth)):
                    for j in range(jc * stride, min((jc + 1) * stride, height)):
                        rows += 1
                        if n == offsets.shape[0]:
                            for i in range(width):
                                line[i] += np.uint16(seen[k, j, i])
                            continue
                        here = fixed[k, j]
                        # Beyond the edge the opposite side is taken: no slope, so the edge is pulled nowhere.
                        kk = k + dk if 0 <= k + dk < depth else max(min(k - dk, depth - 1), 0)
                        jj = j + dj if 0 <= j + dj < height else max(min(j - dj, height - 1), 0)
                        there = moving[kk, jj]
                        shifted = there[first + di : last + di]
                        for i in range(last - first):
                            line[first + i] += np.uint16(unequal_bits(here[first + i], shifted[i]))
                        for i in range(first):
                            line[i] += np.uint16(unequal_bits(here[i], there[min(i - di, width - 1)]))
                        for i in range(last, width):
                            line[i] += np.uint16(unequal_bits(here[i], there[max(i - di, 0)]))
                out = part[kc, jc] if n == offsets.shape[0] else cost[n, kc, jc]
                for i in range(w):
                    total = 0
                    for s in range(stride):
                        total += line[i * stride + s]
                    out[i] = np.float32(total) / np.float32(rows * min(stride, width - i * stride))


@numba.njit(cache=True, parallel=True)
def _parabola(cost, part, step, weight):  # type: ignore[no-untyped-def]
    half, zero, one = np.float32(0.5), np.float32(0), np.float32(1)
    _, depth, height, width = cost.shape
    for k in numba.prange(depth):
        for j in range(height):
            for i in range(width):
                total = zero
                for c in range(3):
                    slope = cost[2 + 2 * c, k, j, i] - cost[1 + 2 * c, k, j, i]
                    curve = cost[2 + 2 * c, k, j, i] + cost[1 + 2 * c, k, j, i] - 2 * cost[0, k, j, i]
                    curve = max(curve, zero)
                    # On a slope without a valley the parabola would leap; the slope itself bounds it.
                    wanted = -half * slope / (curve + half * abs(slope) + np.float32(0.05))
                    step[c, k, j, i] = min(max(wanted, -one), one)
                    total += curve
                sure = (total / np.float32(3)) ** np.float32(1.5) * np.exp(np.float32(-0.05) * cost[0, k, j, i])
                weight[0, k, j, i] = sure * part[k, j, i]
