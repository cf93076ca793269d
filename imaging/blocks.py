"""A CT as means of blocks of whole voxels."""

import numba
import numpy as np

from imaging.arrays import HuVoxels
from imaging.geometry import VolumeGeometry


def block_means(
    hu: HuVoxels, geometry: VolumeGeometry, spacing_mm: tuple[float, float, float]
) -> tuple[HuVoxels, VolumeGeometry]:
    """Means of the largest blocks not wider than `spacing_mm` (x, y, z), rounded to 1 HU, and their grid.

    A remainder of less than one block at the far end of an axis is left out. What is coarse already comes back as it
    is.
    """
    wanted = [int(new / old + 1e-6) for new, old in zip(spacing_mm, geometry.spacing_mm, strict=True)]
    fx, fy, fz = (max(1, min(w, n)) for w, n in zip(wanted, geometry.shape[::-1], strict=True))
    if fx == fy == fz == 1:
        return hu, geometry
    z, y, x = geometry.shape
    out = np.empty((z // fz, y // fy, x // fx), dtype=np.int16)
    _block_means(hu, fz, fy, fx, out)
    ox, oy, oz = (
        o + s * (f - 1) / 2 for o, s, f in zip(geometry.origin_mm, geometry.spacing_mm, (fx, fy, fz), strict=True)
    )
    sx, sy, sz = geometry.spacing_mm
    return out, VolumeGeometry(out.shape, (ox, oy, oz), (sx * fx, sy * fy, sz * fz))


@numba.njit(cache=True, parallel=True)
def _block_means(hu, fz, fy, fx, out):  # type: ignore[no-untyped-def]
    depth, height, width = out.shape
    count = fz * fy * fx
    for k in numba.prange(depth):
        # Rows are added up along their whole length first, which the compiler vectorises, and then within blocks.
        line = np.empty(width * fx, dtype=np.int32)
        for j in range(height):
            line[:] = 0
            for kk in range(k * fz, (k + 1) * fz):
                for jj in range(j * fy, (j + 1) * fy):
                    row = hu[kk, jj, : width * fx]
                    for i in range(width * fx):
                        line[i] += np.int32(row[i])
            for i in range(width):
                total = 0
                for ii in range(i * fx, (i + 1) * fx):
                    total += line[ii]
                out[k, j, i] = np.int16(np.floor(total / count + 0.5))
