"""A CT on another grid: one trilinear look per wanted voxel, straight from the native int16 slices.

Only wanted voxels are visited, so asking for a small grid is the crop. Before a grid that is coarser than the CT,
blocks of native voxels are averaged, because picking single voxels would turn noise and thin bones into structure.
"""

import numba
import numpy as np

from imaging.arrays import FloatVoxels, MaskVoxels
from imaging.geometry import VolumeGeometry
from imaging.transforms import AffineTransform, DisplacementField
from imaging.volume import AIR_HU, Volume


def resample(
    volume: Volume,
    geometry: VolumeGeometry,
    *,
    to_source: AffineTransform | None = None,
    antialias: bool = False,
) -> FloatVoxels:
    """Hounsfield units of a volume at the voxel centres of another grid.

    Args:
        volume: The CT to look at.
        geometry: The wanted grid.
        to_source: Carries points of `geometry` to points of `volume`; None where both share one patient.
        antialias: Average native voxels in blocks first where `geometry` is at least twice as coarse.

    Returns:
        (z, y, x) float32; trilinear, the outermost voxel's value up to half a voxel beyond its centre, and
        `AIR_HU` farther out.
    """
    if antialias:
        volume = volume.coarsened(geometry.spacing_mm)
    if to_source is None:
        return _resample_aligned(volume, geometry, repeat=False)
    out = np.empty(geometry.shape, dtype=np.float32)
    to_index = volume.geometry.lps_to_index @ to_source.matrix @ geometry.index_to_lps
    _sample_affine(volume.hu, to_index, np.float32(AIR_HU), out)
    return out


def resample_reaching(volume: Volume, geometry: VolumeGeometry) -> FloatVoxels:
    """`resample` on a grid of the same patient, the outermost voxels repeated outwards as in `resample_deformed`."""
    return _resample_aligned(volume, geometry, repeat=True)


def _resample_aligned(volume: Volume, geometry: VolumeGeometry, *, repeat: bool) -> FloatVoxels:
    out = np.empty(geometry.shape, dtype=np.float32)
    to_index = volume.geometry.lps_to_index @ geometry.index_to_lps
    _sample_aligned(volume.hu, np.diag(to_index)[:3].copy(), to_index[:3, 3].copy(), repeat, np.float32(AIR_HU), out)
    return out


def resample_deformed(
    volume: Volume, field: DisplacementField, *, affine: AffineTransform
) -> tuple[FloatVoxels, MaskVoxels]:
    """The moving CT on a field's grid, at affine(p + field(p)).

    Returns:
        (z, y, x) float32 Hounsfield units, the outermost voxels repeated outwards so that the end of a scan does not
        look like the end of the patient; and (z, y, x) bool, whether the CT holds the point.
    """
    grid = field.geometry
    to_index = volume.geometry.lps_to_index @ affine.matrix
    out = np.empty(grid.shape, dtype=np.float32)
    seen = np.empty(grid.shape, dtype=np.bool_)
    _sample_deformed(volume.hu, to_index, grid.index_to_lps, field.vectors, out, seen)
    return out, seen


@numba.njit(cache=True, parallel=True)
def _sample_affine(hu, m, outside, out):  # type: ignore[no-untyped-def]
    depth, height, width = hu.shape
    flat = hu.reshape(-1)
    right, below, behind = np.uint64(1), np.uint64(width), np.uint64(height * width)
    for k in numba.prange(out.shape[0]):
        number = np.empty(out.shape[2], dtype=np.int64)
        us, vs, ws = np.empty((3, out.shape[2]), dtype=np.float32)
        for j in range(out.shape[1]):
            x0 = m[0, 1] * j + m[0, 2] * k + m[0, 3]
            y0 = m[1, 1] * j + m[1, 2] * k + m[1, 3]
            z0 = m[2, 1] * j + m[2, 2] * k + m[2, 3]
            last = out.shape[2] - 1
            # A row whose two ends lie between voxels lies there as a whole.
            if _between(depth, height, width, x0, y0, z0) and _between(
                depth, height, width, x0 + m[0, 0] * last, y0 + m[1, 0] * last, z0 + m[2, 0] * last
            ):
                # Two loops, because the first has no looks at memory and is vectorised.
                for i in range(out.shape[2]):
                    x, y, z = x0 + m[0, 0] * i, y0 + m[1, 0] * i, z0 + m[2, 0] * i
                    ia, ja, ka = int(x), int(y), int(z)
                    number[i] = (ka * height + ja) * width + ia
                    us[i], vs[i], ws[i] = x - ia, y - ja, z - ka
                for i in range(out.shape[2]):
                    out[k, j, i] = _mixed(flat, np.uint64(number[i]), right, below, behind, us[i], vs[i], ws[i])
                continue
            for i in range(out.shape[2]):
                x = x0 + m[0, 0] * i
                y = y0 + m[1, 0] * i
                z = z0 + m[2, 0] * i
                if x < -0.5 or y < -0.5 or z < -0.5 or x > width - 0.5 or y > height - 0.5 or z > depth - 0.5:
                    out[k, j, i] = outside
                    continue
                out[k, j, i] = _trilinear(flat, depth, height, width, x, y, z)


@numba.njit(cache=True, parallel=True)
def _sample_aligned(hu, step, first, repeat, outside, out):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    """`_sample_affine` of grids with the same axes: four rows are mixed into one, which the compiler vectorises."""
    depth, height, width = hu.shape
    count = out.shape[2]
    left, share = np.empty(count, dtype=np.uint32), np.empty(count, dtype=np.float32)
    begin, end = count, 0
    for i in range(count):
        x = first[0] + step[0] * i
        if repeat or -0.5 <= x <= width - 0.5:
            begin, end = min(begin, i), i + 1
            x = min(max(x, 0.0), width - 1.0)
            left[i] = min(int(x), max(width - 2, 0))
            share[i] = x - left[i]
    for k in numba.prange(out.shape[0]):
        z = first[2] + step[2] * k
        row = np.empty(width + 1, dtype=np.float32)
        for j in range(out.shape[1]):
            y = first[1] + step[1] * j
            target = out[k, j]
            target[:] = outside
            if begin >= end or not (repeat or (-0.5 <= z <= depth - 0.5 and -0.5 <= y <= height - 0.5)):
                continue
            zc, yc = min(max(z, 0.0), depth - 1.0), min(max(y, 0.0), height - 1.0)
            ka, ja = int(zc), int(yc)
            w, v, one = np.float32(zc - ka), np.float32(yc - ja), np.float32(1)
            near, far = hu[ka], hu[min(ka + 1, depth - 1)]
            a, b = near[ja], near[min(ja + 1, height - 1)]
            c, d = far[ja], far[min(ja + 1, height - 1)]
            aw, bw, cw, dw = (one - w) * (one - v), (one - w) * v, w * (one - v), w * v
            for i in range(left[begin], min(left[end - 1] + 2, width)):
                row[i] = aw * a[i] + bw * b[i] + cw * c[i] + dw * d[i]
            # One beyond the last voxel repeats it.
            row[width] = row[width - 1]
            for i in range(begin, end):
                at = left[i]
                target[i] = row[at] + share[i] * (row[at + np.uint32(1)] - row[at])


@numba.njit(cache=True, parallel=True)
def _sample_deformed(hu, to_index, to_lps, vectors, out, seen):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    depth, height, width = hu.shape
    flat, m = hu.reshape(-1), to_index
    right, below = np.uint64(width > 1), np.uint64(width if height > 1 else 0)
    behind = np.uint64(height * width if depth > 1 else 0)
    zero, half = np.float64(0), np.float64(0.5)
    for k in numba.prange(out.shape[0]):
        pz = to_lps[2, 2] * k + to_lps[2, 3]
        number = np.empty(out.shape[2], dtype=np.int64)
        us, vs, ws = np.empty((3, out.shape[2]), dtype=np.float32)
        for j in range(out.shape[1]):
            py = to_lps[1, 1] * j + to_lps[1, 3]
            along_x, along_y, along_z = vectors[0, k, j], vectors[1, k, j], vectors[2, k, j]
            line, target = seen[k, j], out[k, j]
            # Two loops, because the first has no looks at memory and is vectorised.
            for i in range(target.size):
                qx = to_lps[0, 0] * i + to_lps[0, 3] + along_x[i]
                qy, qz = py + along_y[i], pz + along_z[i]
                z = m[2, 0] * qx + m[2, 1] * qy + m[2, 2] * qz + m[2, 3]
                y = m[1, 0] * qx + m[1, 1] * qy + m[1, 2] * qz + m[1, 3]
                x = m[0, 0] * qx + m[0, 1] * qy + m[0, 2] * qz + m[0, 3]
                line[i] = ((z >= -half) & (z <= depth - half) & (y >= -half) & (y <= height - half)) & (
                    (x >= -half) & (x <= width - half)
                )
                # Beyond the outermost voxel centres the value is theirs.
                x, y, z = (
                    min(max(x, zero), width - 1.0),
                    min(max(y, zero), height - 1.0),
                    min(max(z, zero), depth - 1.0),
                )
                ia, ja, ka = (
                    min(int(x), max(width - 2, 0)),
                    min(int(y), max(height - 2, 0)),
                    min(int(z), max(depth - 2, 0)),
                )
                number[i] = (ka * height + ja) * width + ia
                us[i], vs[i], ws[i] = x - ia, y - ja, z - ka
            for i in range(target.size):
                target[i] = _mixed(flat, np.uint64(number[i]), right, below, behind, us[i], vs[i], ws[i])


@numba.njit(cache=True, inline="always")
def _trilinear(flat, depth, height, width, x, y, z):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    """Value at a continuous index; beyond the outermost voxel centres it is theirs."""
    x, y, z = min(max(x, 0.0), width - 1.0), min(max(y, 0.0), height - 1.0), min(max(z, 0.0), depth - 1.0)
    ia, ja, ka = int(x), int(y), int(z)
    u, v, w = np.float32(x - ia), np.float32(y - ja), np.float32(z - ka)
    # Without a sign, or each look would first ask whether the index counts from the end.
    at = np.uint64((ka * height + ja) * width + ia)
    right = np.uint64(ia + 1 < width)
    below = np.uint64(width if ja + 1 < height else 0)
    behind = np.uint64(height * width if ka + 1 < depth else 0)
    return _mixed(flat, at, right, below, behind, u, v, w)


@numba.njit(cache=True, inline="always")
def _between(depth, height, width, x, y, z):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    return 0 <= x < width - 1 and 0 <= y < height - 1 and 0 <= z < depth - 1


@numba.njit(cache=True, inline="always")
def _mixed(flat, at, right, below, behind, u, v, w):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    """The eight voxels from `at` on, with the shares of the farther ones along x, y and z."""
    a = flat[at] + u * (flat[at + right] - flat[at])
    b = flat[at + below] + u * (flat[at + below + right] - flat[at + below])
    at += behind
    c = flat[at] + u * (flat[at + right] - flat[at])
    d = flat[at + below] + u * (flat[at + below + right] - flat[at + below])
    e = a + v * (b - a)
    f = c + v * (d - c)
    return e + w * (f - e)
