"""How alike two CTs are at a place, whatever the day did to their brightness: self-similarity descriptors.

Each voxel is described by how much the six neighbours around it resemble one another (MIND-SSC, Heinrich et al., MICCAI
2013): twelve squared differences of small patches, relative to their mean, in six steps each. Sixty bits hold that, and
the distance of two voxels is the number of unequal bits. Offsets and contrast of the HU scale cancel; a place whose
content changed (gas, contrast medium) costs a bounded amount, instead of pulling everything towards it. Uniform tissue
with nothing but noise describes itself as uniform, because differences below the noise count as none.
"""

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from imaging.arrays import FloatVoxels, MaskVoxels
from imaging.smoothing import smooth

Descriptors = NDArray[np.uint64]
"""(z, y, x); 12 channels of 5 thermometer bits."""

BITS = 60
LOWER_HU, UPPER_HU = -350.0, 450.0
NOISE_HU = 8.0
"""Differences of this size are noise of a CT averaged to about 4 mm."""

# exp(-d / mean) in six equal steps; the bounds are where it passes 1/6 .. 5/6.
_STEPS = -np.log(np.arange(1, 6) / 6.0)

_SIX = [(0, 0, -1), (0, 0, 1), (0, -1, 0), (0, 1, 0), (-1, 0, 0), (1, 0, 0)]
_PAIRS = np.array(
    [
        (*a, *b)
        for n, a in enumerate(_SIX)
        for b in _SIX[n + 1 :]
        if sum((p - q) ** 2 for p, q in zip(a, b, strict=True)) == 2
    ],
    dtype=np.int64,
)


def describe(hu: FloatVoxels, *, noise_hu: float = NOISE_HU) -> Descriptors:
    """Self-similarity descriptors of a CT (z, y, x) on an even grid; a step of the pattern is one voxel.

    Args:
        hu: Hounsfield units.
        noise_hu: Standard deviation below which differences mean nothing.
    """
    clipped = np.clip(hu, LOWER_HU, UPPER_HU).astype(np.float32)
    padded = np.pad(clipped, 2, mode="edge")
    out = np.zeros(hu.shape, dtype=np.uint64)
    _describe(padded, _PAIRS, _STEPS.astype(np.float32), np.float32(2 * noise_hu**2), out)
    return out


def local_distance(fixed: Descriptors, moving: Descriptors, seen: MaskVoxels, *, sigma_voxels: float) -> FloatVoxels:
    """Mean share of unequal bits around each voxel, 0 alike to 1 unlike.

    Args:
        fixed: Descriptors of one image.
        moving: Descriptors of the other on the same grid.
        seen: Where the comparison means something; elsewhere the neighbours decide.
        sigma_voxels: Standard deviation of the Gaussian neighbourhood.
    """
    counted = np.empty((2, *fixed.shape), dtype=np.float32)
    _distance(fixed, moving, seen, counted)
    total, weight = smooth(counted, sigma_voxels)
    return total / np.maximum(weight, np.float32(1e-6))


@intrinsic
def bits_set(typing_context, word):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """Number of bits set in a uint64, one machine instruction where the machine has it."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]  # noqa: ARG001
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), generate


@numba.njit(cache=True, inline="always")
def unequal_bits(a, b):  # type: ignore[no-untyped-def]
    """Number of bits in which two words differ."""
    return bits_set(a ^ b)


@numba.njit(cache=True, parallel=True)
def _describe(hu, pairs, steps, floor, out):  # type: ignore[no-untyped-def]  # noqa: PLR0912
    depth, height, width = out.shape
    count = pairs.shape[0]
    for k in numba.prange(depth):
        squares = np.empty((height + 2, width + 2), dtype=np.float32)
        across = np.empty((height + 2, width), dtype=np.float32)
        patches = np.empty((count, height, width), dtype=np.float32)
        mean = np.zeros((height, width), dtype=np.float32)
        for c in range(count):
            az, ay, ax, bz, by, bx = pairs[c]
            for j in range(height + 2):
                for i in range(width + 2):
                    squares[j, i] = 0
                for dk in range(3):
                    first = hu[k + dk + 1 + az, j + 1 + ay]
                    second = hu[k + dk + 1 + bz, j + 1 + by]
                    for i in range(width + 2):
                        d = first[i + 1 + ax] - second[i + 1 + bx]
                        squares[j, i] += d * d
                for i in range(width):
                    across[j, i] = squares[j, i] + squares[j, i + 1] + squares[j, i + 2]
            for j in range(height):
                for i in range(width):
                    total = (across[j, i] + across[j + 1, i] + across[j + 2, i]) * np.float32(1 / 27)
                    patches[c, j, i] = total
                    mean[j, i] += total
        for j in range(height):
            for i in range(width):
                mean[j, i] = 1 / (mean[j, i] / count + floor)
        for c in range(count):
            for j in range(height):
                for i in range(width):
                    relative = patches[c, j, i] * mean[j, i]
                    level = 0
                    for s in range(5):
                        level += relative > steps[s]
                    out[k, j, i] |= np.uint64((1 << (5 - level)) - 1) << np.uint64(5 * c)


@numba.njit(cache=True, parallel=True)
def _distance(fixed, moving, seen, counted):  # type: ignore[no-untyped-def]
    depth, height, width = fixed.shape
    for k in numba.prange(depth):
        for j in range(height):
            for i in range(width):
                share = np.float32(unequal_bits(fixed[k, j, i], moving[k, j, i])) * np.float32(1 / BITS)
                counted[0, k, j, i] = share if seen[k, j, i] else 0
                counted[1, k, j, i] = 1 if seen[k, j, i] else 0
