"""Displacement fields at points and on grids: looking them up, moving them between grids, and how they stretch space.

Fields are pull-back and lie on the fixed (daily) patient: moving_point = affine(fixed_point + sum of the fields there).
Between voxel centres a field is trilinear; outside its grid it is zero, at once, so a field that must not tear the
patient at its border is tapered first.
"""

from collections.abc import Sequence

import numba
import numpy as np
from numpy.typing import NDArray

from imaging.arrays import DvfVoxels, FloatVoxels, Points
from imaging.geometry import VolumeGeometry
from imaging.transforms import Deformation, DisplacementField


def to_planning(deformation: Deformation, daily_mm: Points) -> Points:
    """Planning points (n, 3) of daily points (n, 3), LPS millimetres."""
    points = np.ascontiguousarray(daily_mm, dtype=np.float64)
    return deformation.affine.to_moving(points + vectors_at(deformation.fields, points))


def to_daily(deformation: Deformation, planning_mm: Points, *, steps: int = 8) -> Points:
    """Daily points (n, 3) of planning points (n, 3), by fixed-point iteration (Chen et al., Med Phys 2008)."""
    aligned = deformation.affine.to_fixed(np.ascontiguousarray(planning_mm, dtype=np.float64))
    points = aligned.copy()
    for _ in range(steps if deformation.fields else 0):
        points = aligned - vectors_at(deformation.fields, points)
    return points


def vectors_at(fields: Sequence[DisplacementField], points_mm: Points) -> Points:
    """Sum of the fields (n, 3) in millimetres at points (n, 3)."""
    total = np.zeros((len(points_mm), 3))
    for field in fields:
        _add_at_points(field.vectors, field.geometry.to_index(points_mm), total)
    return total


def vectors_on(fields: Sequence[DisplacementField], geometry: VolumeGeometry) -> DvfVoxels:
    """Sum of the fields on a grid, (3, z, y, x) float32 in millimetres."""
    total = np.zeros((3, *geometry.shape), dtype=np.float32)
    add_on(fields, geometry, total)
    return total


def add_on(fields: Sequence[DisplacementField], geometry: VolumeGeometry, total: DvfVoxels) -> None:
    """Add the fields to `total`, (3, z, y, x) on `geometry`, in place."""
    for field in fields:
        first = field.geometry.to_index(np.array([geometry.origin_mm]))[0]
        step = np.divide(geometry.spacing_mm, field.geometry.spacing_mm)
        _add_on_grid(field.vectors, first, step, total)


def jacobian_determinant(field: DisplacementField) -> FloatVoxels:
    """Local change of volume of p + field(p), (z, y, x); zero or less where space folds.

    Central differences inside, one-sided on the border; an axis of one voxel counts as unchanged.
    """
    out = np.empty(field.geometry.shape, dtype=np.float32)
    _jacobian(field.vectors, np.asarray(field.geometry.spacing_mm), out)
    return out


def fraction_folded(field: DisplacementField) -> float:
    """Part of the voxels whose Jacobian determinant is not positive."""
    return float(np.mean(jacobian_determinant(field) <= 0))


def taper_weight(geometry: VolumeGeometry, width_mm: float) -> FloatVoxels:
    """(z, y, x) from 0 on the outermost voxels of a grid to 1 from `width_mm` inwards, with smooth ends (cosine)."""
    ramps: list[NDArray[np.float64]] = []
    for axis, spacing in zip("zyx", geometry.spacing_mm[::-1], strict=True):
        n = len(geometry.axis_mm(axis))
        depth_mm = np.minimum(np.arange(n), np.arange(n)[::-1]) * spacing
        ramps.append(0.5 - 0.5 * np.cos(np.pi * np.clip(depth_mm / width_mm, 0, 1)))
    z, y, x = ramps
    return (z[:, None, None] * y[:, None] * x).astype(np.float32)


def tapered(field: DisplacementField, width_mm: float) -> DisplacementField:
    """The field brought to zero at the border of its grid over `width_mm`."""
    return DisplacementField(field.vectors * taper_weight(field.geometry, width_mm), field.geometry)


@numba.njit(cache=True)
def _add_at_points(vectors, index, total):  # type: ignore[no-untyped-def]
    depth, height, width = vectors.shape[1:]
    for n in range(index.shape[0]):
        x, y, z = index[n, 0], index[n, 1], index[n, 2]
        if not (0 <= x <= width - 1 and 0 <= y <= height - 1 and 0 <= z <= depth - 1):
            continue
        ia, ja, ka = int(x), int(y), int(z)
        ib, jb, kb = min(ia + 1, width - 1), min(ja + 1, height - 1), min(ka + 1, depth - 1)
        u, v, w = x - ia, y - ja, z - ka
        for c in range(3):
            near = vectors[c, ka]
            far = vectors[c, kb]
            a = (near[ja, ia] * (1 - u) + near[ja, ib] * u) * (1 - v) + (near[jb, ia] * (1 - u) + near[jb, ib] * u) * v
            b = (far[ja, ia] * (1 - u) + far[ja, ib] * u) * (1 - v) + (far[jb, ia] * (1 - u) + far[jb, ib] * u) * v
            total[n, c] += a * (1 - w) + b * w


@numba.njit(cache=True, parallel=True)
def _add_on_grid(vectors, first, step, total):  # type: ignore[no-untyped-def]
    depth, height, width = vectors.shape[1:]
    for k in numba.prange(total.shape[1]):
        z = first[2] + step[2] * k
        if not 0 <= z <= depth - 1:
            continue
        ka = int(z)
        kb = min(ka + 1, depth - 1)
        w = np.float32(z - ka)
        row = np.empty(width, dtype=np.float32)
        for j in range(total.shape[2]):
            y = first[1] + step[1] * j
            if not 0 <= y <= height - 1:
                continue
            ja = int(y)
            jb = min(ja + 1, height - 1)
            v = np.float32(y - ja)
            one = np.float32(1)
            for c in range(3):
                na, nb = vectors[c, ka, ja], vectors[c, ka, jb]
                fa, fb = vectors[c, kb, ja], vectors[c, kb, jb]
                for i in range(width):
                    row[i] = (na[i] * (one - v) + nb[i] * v) * (one - w) + (fa[i] * (one - v) + fb[i] * v) * w
                for i in range(total.shape[3]):
                    x = first[0] + step[0] * i
                    if 0 <= x <= width - 1:
                        ia = int(x)
                        u = np.float32(x - ia)
                        total[c, k, j, i] += row[ia] * (one - u) + row[min(ia + 1, width - 1)] * u


@numba.njit(cache=True, parallel=True)
def _jacobian(vectors, spacing, out):  # type: ignore[no-untyped-def]
    depth, height, width = out.shape
    for k in numba.prange(depth):
        k0, k1 = max(k - 1, 0), min(k + 1, depth - 1)
        m = np.empty((3, 3))
        for j in range(height):
            j0, j1 = max(j - 1, 0), min(j + 1, height - 1)
            for i in range(width):
                i0, i1 = max(i - 1, 0), min(i + 1, width - 1)
                for c in range(3):
                    m[c, 0] = (vectors[c, k, j, i1] - vectors[c, k, j, i0]) / (max(i1 - i0, 1) * spacing[0])
                    m[c, 1] = (vectors[c, k, j1, i] - vectors[c, k, j0, i]) / (max(j1 - j0, 1) * spacing[1])
                    m[c, 2] = (vectors[c, k1, j, i] - vectors[c, k0, j, i]) / (max(k1 - k0, 1) * spacing[2])
                    m[c, c] += 1.0
                out[k, j, i] = (
                    m[0, 0] * (m[1, 1] * m[2, 2] - m[1, 2] * m[2, 1])
                    - m[0, 1] * (m[1, 0] * m[2, 2] - m[1, 2] * m[2, 0])
                    + m[0, 2] * (m[1, 0] * m[2, 1] - m[1, 1] * m[2, 0])
                )
