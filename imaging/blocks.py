"""A CT as means of blocks of whole voxels."""

import numba
import numpy as np

from imaging.arrays import HuVoxels
from imaging.geometry import Box, VolumeGeometry


def block_means(
    hu: HuVoxels, geometry: VolumeGeometry, spacing_mm: tuple[float, float, float], within: Box | None = None
) -> tuple[HuVoxels, VolumeGeometry]:
    """Means of the largest blocks not wider than `spacing_mm` (x, y, z), rounded to 1 HU, and their grid.

    A remainder of less than one block at the far end of an axis is left out. What is coarse already comes back as it
    is. The blocks are the same `within` a box as without one; those that a look inside the box does not need are left
    out.
    """
    wanted = [int(new / old + 1e-6) for new, old in zip(spacing_mm, geometry.spacing_mm, strict=True)]
    fx, fy, fz = (max(1, min(w, n)) for w, n in zip(wanted, geometry.shape[::-1], strict=True))
    if fx == fy == fz == 1:
        return hu, geometry
    z, y, x = geometry.shape
    ox, oy, oz = (
        o + s * (f - 1) / 2 for o, s, f in zip(geometry.origin_mm, geometry.spacing_mm, (fx, fy, fz), strict=True)
    )
    sx, sy, sz = geometry.spacing_mm
    blocks = VolumeGeometry((z // fz, y // fy, x // fx), (ox, oy, oz), (sx * fx, sy * fy, sz * fz))
    lower, upper = (0, 0, 0), blocks.shape
    if within is not None:
        lower, upper = _needed(blocks, within)
    part = blocks.cropped(lower, upper)
    out = np.empty(part.shape, dtype=np.int16)
    first_z, first_y, first_x = lower
    _block_means(hu, (fz, fy, fx), (first_z * fz, first_y * fy, first_x * fx), out)
    return out, part


def _needed(blocks: VolumeGeometry, within: Box) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """First blocks and ends (z, y, x) of those between whose centres the box lies, at least one."""
    (x0, y0, z0), (x1, y1, z1) = blocks.to_index(np.stack(within))
    ends = [(z0, z1), (y0, y1), (x0, x1)]
    lower = [min(max(int(np.floor(first)), 0), count - 1) for (first, _), count in zip(ends, blocks.shape, strict=True)]
    upper = [
        min(max(int(np.ceil(last)) + 1, low + 1), count)
        for (_, last), low, count in zip(ends, lower, blocks.shape, strict=True)
    ]
    return (lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2])


@numba.njit(cache=True, parallel=True)
def _block_means(hu, factors, first, out):  # type: ignore[no-untyped-def]
    depth, height, width = out.shape
    fz, fy, fx = factors
    z0, y0, x0 = first
    count = fz * fy * fx
    for k in numba.prange(depth):
        # Rows are added up along their whole length first, which the compiler vectorises, and then within blocks.
        line = np.empty(width * fx, dtype=np.int32)
        for j in range(height):
            line[:] = 0
            for kk in range(k * fz, (k + 1) * fz):
                for jj in range(j * fy, (j + 1) * fy):
                    row = hu[z0 + kk, y0 + jj, x0 : x0 + width * fx]
                    for i in range(width * fx):
                        line[i] += np.int32(row[i])
            for i in range(width):
                total = 0
                for ii in range(i * fx, (i + 1) * fx):
                    total += line[ii]
                out[k, j, i] = np.int16(np.floor(total / count + 0.5))
