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
REACH = 2
"""Voxels, along each axis, to which a descriptor looks."""
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
    padded = np.empty([n + 2 * REACH for n in hu.shape], dtype=np.float32)
    _pad_clipped(hu, REACH, np.float32(LOWER_HU), np.float32(UPPER_HU), padded)
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
def _pad_clipped(hu, reach, lower, upper, padded):  # type: ignore[no-untyped-def]
    """The edge is repeated outwards."""
    depth, height, width = hu.shape
    for k in numba.prange(padded.shape[0]):
        for j in range(padded.shape[1]):
            row = hu[min(max(k - reach, 0), depth - 1), min(max(j - reach, 0), height - 1)]
            target = padded[k, j]
            for i in range(width):
                target[reach + i] = min(max(row[i], lower), upper)
            target[:reach] = target[reach]
            target[reach + width :] = target[reach + width - 1]


@numba.njit(cache=True, parallel=True)
def _describe(hu, pairs, steps, floor, out):  # type: ignore[no-untyped-def]
    # Rows are cut out and steps unpacked, or the compiler cannot prove that the loops are safe to vectorise.
    depth, height, width = out.shape
    count = pairs.shape[0]
    step_a, step_b, step_c, step_d, step_e = steps[0], steps[1], steps[2], steps[3], steps[4]
    for k in numba.prange(depth):
        line = np.empty(width + 2, dtype=np.float32)
        across = np.empty((height + 2, width), dtype=np.float32)
        patches = np.empty((count, height, width), dtype=np.float32)
        mean = np.zeros((height, width), dtype=np.float32)
        for c in range(count):
            az, ay, ax, bz, by, bx = pairs[c] + 1
            for j in range(height + 2):
                a0, b0 = hu[k + az, j + ay, ax : ax + width + 2], hu[k + bz, j + by, bx : bx + width + 2]
                a1, b1 = hu[k + az + 1, j + ay, ax : ax + width + 2], hu[k + bz + 1, j + by, bx : bx + width + 2]
                a2, b2 = hu[k + az + 2, j + ay, ax : ax + width + 2], hu[k + bz + 2, j + by, bx : bx + width + 2]
                for i in range(width + 2):
                    d0, d1, d2 = a0[i] - b0[i], a1[i] - b1[i], a2[i] - b2[i]
                    line[i] = d0 * d0 + d1 * d1 + d2 * d2
                row = across[j]
                for i in range(width):
                    row[i] = line[i] + line[i + 1] + line[i + 2]
            for j in range(height):
                before, here, behind = across[j], across[j + 1], across[j + 2]
                patch, total = patches[c, j], mean[j]
                for i in range(width):
                    patch[i] = (before[i] + here[i] + behind[i]) * np.float32(1 / 27)
                    total[i] += patch[i]
        for j in range(height):
            scale, word = mean[j], out[k, j]
            for i in range(width):
                scale[i] = 1 / (scale[i] / count + floor)
            for c in range(count):
                patch, shift = patches[c, j], np.uint64(5 * c)
                for i in range(width):
                    relative = patch[i] * scale[i]
                    level = (
                        np.uint64(relative > step_a)
                        + np.uint64(relative > step_b)
                        + np.uint64(relative > step_c)
                        + np.uint64(relative > step_d)
                        + np.uint64(relative > step_e)
                    )
                    word[i] |= (np.uint64(31) >> level) << shift


@numba.njit(cache=True, parallel=True)
def _distance(fixed, moving, seen, counted):  # type: ignore[no-untyped-def]
    depth, height, width = fixed.shape
    for k in numba.prange(depth):
        for j in range(height):
            for i in range(width):
                share = np.float32(unequal_bits(fixed[k, j, i], moving[k, j, i])) * np.float32(1 / BITS)
                counted[0, k, j, i] = share if seen[k, j, i] else 0
                counted[1, k, j, i] = 1 if seen[k, j, i] else 0
