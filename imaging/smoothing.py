"""Gaussian smoothing of stacks of volumes, the regulariser of everything that deforms."""

import numba
import numpy as np
from numpy.typing import NDArray

from imaging.arrays import FloatVoxels

CUT_OFF = 2.5
"""Standard deviations at which the Gaussian ends."""


def smooth(stack: FloatVoxels, sigma: float) -> FloatVoxels:
    """Gaussian over the last three axes of (n, z, y, x), the edge repeated outwards; cut off at `CUT_OFF` sigma.

    Args:
        stack: What to smooth; left as it is.
        sigma: Standard deviation in voxels, the same along all axes.
    """
    taps = gaussian(sigma)
    between = np.empty(stack.shape, dtype=np.float32)
    out = np.empty(stack.shape, dtype=np.float32)
    # A read-only array is another type to the compiler, which would then compile while a patient waits.
    _smooth_planes(np.require(stack, dtype=np.float32, requirements=["C", "W"]), taps, between)
    _smooth_across(between, taps, out)
    return out


def gaussian(sigma: float) -> NDArray[np.float32]:
    """(2 n + 1,) weights that sum to one, cut off at `CUT_OFF` sigma; at least one on each side."""
    reach = max(1, int(np.ceil(CUT_OFF * sigma)))
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return (taps / taps.sum()).astype(np.float32)


@numba.njit(cache=True, parallel=True)
def _smooth_planes(stack, taps, out):  # type: ignore[no-untyped-def]
    count, depth, height, width = stack.shape
    reach = taps.size // 2
    for plane in numba.prange(count * depth):
        c, k = plane // depth, plane % depth
        line = np.empty(width + 2 * reach, dtype=np.float32)
        for j in range(height):
            row = stack[c, k, j]
            for i in range(width):
                line[i + reach] = taps[reach] * row[i]
            # Two rows that weigh the same at a time: half as many passes over the sums.
            for t in range(1, reach + 1):
                before, behind = stack[c, k, max(j - t, 0)], stack[c, k, min(j + t, height - 1)]
                for i in range(width):
                    line[i + reach] += taps[reach + t] * (before[i] + behind[i])
            for i in range(reach):
                line[i] = line[reach]
                line[width + reach + i] = line[width + reach - 1]
            row = out[c, k, j]
            for i in range(width):
                row[i] = taps[reach] * line[i + reach]
            for t in range(1, reach + 1):
                for i in range(width):
                    row[i] += taps[reach + t] * (line[i + reach - t] + line[i + reach + t])


@numba.njit(cache=True, parallel=True)
def _smooth_across(stack, taps, out):  # type: ignore[no-untyped-def]
    count, depth, height, width = stack.shape
    reach = taps.size // 2
    for plane in numba.prange(count * depth):
        c, k = plane // depth, plane % depth
        for j in range(height):
            row, target = stack[c, k, j], out[c, k, j]
            for i in range(width):
                target[i] = taps[reach] * row[i]
            for t in range(1, reach + 1):
                before, behind = stack[c, max(k - t, 0), j], stack[c, min(k + t, depth - 1), j]
                for i in range(width):
                    target[i] += taps[reach + t] * (before[i] + behind[i])
