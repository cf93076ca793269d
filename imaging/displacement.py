"""Displacement fields at points and on grids: looking them up, moving them between grids, and how they stretch space.

Fields are pull-back and lie on the fixed (daily) patient: moving_point = affine(fixed_point + sum of the fields there).
Between voxel centres a field is trilinear; outside its grid it is zero, at once, so a field that must not tear the
patient at its border needs a taper.
"""

from collections.abc import Sequence

import numba
import numpy as np
from numpy.typing import NDArray

from imaging.arrays import DvfVoxels, FloatVoxels, Points
from imaging.geometry import Box, VolumeGeometry, bounds
from imaging.transforms import AffineTransform, Deformation, DisplacementField


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
    total = np.empty((3, *geometry.shape), dtype=np.float32)
    sum_on(fields, geometry, total)
    return total


def vectors_reaching(field: DisplacementField, geometry: VolumeGeometry) -> DvfVoxels:
    """`vectors_on` with the field's outermost vectors repeated outwards, for a grid that reaches beyond the field's."""
    total = np.empty((3, *geometry.shape), dtype=np.float32)
    _add_on_grid(field.vectors, *_steps_in(field.geometry, geometry), True, np.inf, total)
    return total


def sum_on(fields: Sequence[DisplacementField], geometry: VolumeGeometry, total: DvfVoxels) -> None:
    """Write the sum of the fields on a grid into `total`, (3, z, y, x)."""
    if not fields:
        total[:] = 0
    for n, field in enumerate(fields):
        first, step = _steps_in(field.geometry, geometry)
        offset = np.rint(first)
        if np.all(step == 1) and np.abs(first - offset).max() < 1e-6:
            if n == 0:
                total[:] = 0
            _add_shifted(field.vectors, offset.astype(int)[::-1], total)
        else:
            _add_on_grid(field.vectors, first, step, n == 0, 0.0, total)


def _steps_in(source: VolumeGeometry, geometry: VolumeGeometry) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where a grid begins among the voxels (x, y, z) of another one, and how far apart its own are there."""
    first = source.to_index(np.array([geometry.origin_mm]))[0]
    return first, np.divide(geometry.spacing_mm, source.spacing_mm)


def _add_shifted(vectors: DvfVoxels, offset: NDArray[np.int_], total: DvfVoxels) -> None:
    """Add vectors on voxels that coincide with those of `total`; `offset` (z, y, x) is where `total` begins."""
    lower = np.maximum(offset, 0)
    upper = np.minimum(offset + total.shape[1:], vectors.shape[1:])
    if np.all(upper > lower):
        there = (slice(None), *(slice(a, b) for a, b in zip(lower, upper, strict=True)))
        here = (slice(None), *(slice(a, b) for a, b in zip(lower - offset, upper - offset, strict=True)))
        total[here] += vectors[there]


def reached(affine: AffineTransform, fields: Sequence[DisplacementField], margin_mm: float) -> Box:
    """A box of the moving patient in which every point of the fields' grids ends, under each of them alone."""
    corners = []
    for field in fields:
        lowest, highest = (at(field.vectors, axis=(1, 2, 3)) for at in (np.min, np.max))
        spans = np.stack(
            [field.geometry.origin_mm + lowest - margin_mm, field.geometry.last_mm + highest + margin_mm], axis=1
        )
        corners.append(np.stack(np.meshgrid(*spans), axis=-1).reshape(-1, 3))
    return bounds(affine.to_moving(np.concatenate(corners)))


def part_around(
    planned: Box | None, field: DisplacementField, affine: AffineTransform, margin_mm: float
) -> VolumeGeometry:
    """The part of a field's grid that holds all its points which come from a box of the moving patient.

    Args:
        planned: The box; None for the whole grid.
        field: On the fixed patient.
        affine: From the fixed to the moving patient.
        margin_mm: Room on all sides of the box; the whole grid where no point comes from there.
    """
    grid = field.geometry
    if planned is None:
        return grid
    lower, upper = planned[0] - margin_mm, planned[1] + margin_mm
    depth, height, width = grid.shape
    rows, columns = np.zeros((depth, height), dtype=np.bool_), np.zeros((depth, width), dtype=np.bool_)
    _mark_between(field.vectors, grid.index_to_lps, affine.matrix, lower, upper, rows, columns)
    if not rows.any():
        return grid
    spans = [np.flatnonzero(marked) for marked in (rows.any(axis=1), rows.any(axis=0), columns.any(axis=0))]
    (k0, k1), (j0, j1), (i0, i1) = ((int(span[0]), int(span[-1]) + 1) for span in spans)
    return grid.cropped((k0, j0, i0), (k1, j1, i1))


def jacobian_determinant(field: DisplacementField) -> FloatVoxels:
    """Smallest local change of volume of p + field(p) at each voxel, (z, y, x); zero or less where space folds.

    The least of the eight determinants towards the eight cells that meet there (differences behind and ahead along each
    axis): central differences look over a fold of one cell. An axis of one voxel counts as unchanged.
    """
    out = np.empty(field.geometry.shape, dtype=np.float32)
    _jacobian(field.vectors, np.asarray(field.geometry.spacing_mm), out)
    return out


def least_determinant(fields: Sequence[DisplacementField], grid: VolumeGeometry) -> FloatVoxels:
    """Smallest determinant of p + sum of fields(p) in the neighbourhood of each point of a grid, (z, y, x).

    The sum is looked at on the grid and on each field's own, so that nothing hides between the points of the grid.
    """
    least = jacobian_determinant(DisplacementField(vectors_on(fields, grid), grid))
    for own in dict.fromkeys(field.geometry for field in fields if field.geometry != grid):
        ends = own.to_index(np.array([grid.origin_mm, grid.last_mm]))[:, ::-1]
        lower = np.maximum(np.ceil(ends[0] - 1e-6), 0).astype(int)
        upper = np.minimum(np.floor(ends[1] + 1e-6) + 1, own.shape).astype(int)
        if np.all(upper > lower):
            part = own.cropped((lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2]))
            fine = jacobian_determinant(DisplacementField(vectors_on(fields, part), part))
            first = grid.to_index(np.array([part.origin_mm]))[0]
            _carry_least(fine, first, np.divide(part.spacing_mm, grid.spacing_mm), least)
    return least


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


def border_weight(part: VolumeGeometry, whole: VolumeGeometry, width_mm: float) -> FloatVoxels:
    """(z, y, x) as `taper_weight` where a grid ends inside another one's extent, and 1 where both end.

    Ends that are less than half a voxel of `part` apart are taken for one.
    """
    spacing, ends = np.asarray(part.spacing_mm), np.asarray([part.box, whole.box])
    reach = np.ceil(width_mm / spacing).astype(int) + 1
    lower = (reach * (ends[0, 0] < ends[1, 0] + spacing / 2)).tolist()
    upper = (reach * (ends[0, 1] > ends[1, 1] - spacing / 2)).tolist()
    z, y, x = part.shape
    wider = part.cropped((-lower[2], -lower[1], -lower[0]), (z + upper[2], y + upper[1], x + upper[0]))
    weight = taper_weight(wider, width_mm)
    return weight[lower[2] : lower[2] + z, lower[1] : lower[1] + y, lower[0] : lower[0] + x]


@numba.njit(cache=True, parallel=True)
def _mark_between(vectors, to_lps, m, lower, upper, rows, columns):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    """The rows (z, y) and columns (z, x) of a field's grid that hold a point that ends between a box's corners."""
    depth, height, width = vectors.shape[1:]
    for k in numba.prange(depth):
        for j in range(height):
            found = False
            for i in range(width):
                px = to_lps[0, 0] * i + to_lps[0, 3] + vectors[0, k, j, i]
                py = to_lps[1, 1] * j + to_lps[1, 3] + vectors[1, k, j, i]
                pz = to_lps[2, 2] * k + to_lps[2, 3] + vectors[2, k, j, i]
                inside = True
                for n in range(3):
                    at = m[n, 0] * px + m[n, 1] * py + m[n, 2] * pz + m[n, 3]
                    inside &= (at >= lower[n]) & (at <= upper[n])
                columns[k, i] |= inside
                found |= inside
            rows[k, j] = found


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
def _add_on_grid(vectors, first, step, clear, beyond, total):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    """Add the vectors on the grid of `total`, which is cleared before, row by row, where that is asked for.

    The outermost ones are repeated so many voxels `beyond` their own grid.
    """
    depth, height, width = vectors.shape[1:]
    x = first[0] + step[0] * np.arange(total.shape[3])
    inside = np.flatnonzero((x >= -beyond) & (x <= width - 1 + beyond))
    x = np.minimum(np.maximum(x, 0.0), width - 1.0)
    if inside.size == 0:
        if clear:
            total[:] = 0
        return
    begin, end = inside[0], inside[-1] + 1
    # Without a sign, or each look would first ask whether the index counts from the end.
    left = x[begin:end].astype(np.uint32)
    share = (x[begin:end] - left).astype(np.float32)
    source_begin, source_end = left[0], min(left[-1] + 2, width)
    for k in numba.prange(total.shape[1]):
        if clear:
            for c in range(3):
                total[c, k] = 0
        z = first[2] + step[2] * k
        if not -beyond <= z <= depth - 1 + beyond:
            continue
        z = min(max(z, 0.0), depth - 1.0)
        ka = int(z)
        kb = min(ka + 1, depth - 1)
        w = np.float32(z - ka)
        # One beyond the last voxel repeats it.
        row = np.empty(width + 1, dtype=np.float32)
        for j in range(total.shape[2]):
            y = first[1] + step[1] * j
            if not -beyond <= y <= height - 1 + beyond:
                continue
            y = min(max(y, 0.0), height - 1.0)
            ja = int(y)
            jb = min(ja + 1, height - 1)
            v = np.float32(y - ja)
            one = np.float32(1)
            for c in range(3):
                na, nb = vectors[c, ka, ja], vectors[c, ka, jb]
                fa, fb = vectors[c, kb, ja], vectors[c, kb, jb]
                for i in range(source_begin, source_end):
                    row[i] = (na[i] * (one - v) + nb[i] * v) * (one - w) + (fa[i] * (one - v) + fb[i] * v) * w
                row[width] = row[width - 1]
                target = total[c, k, j, begin:end]
                for i in range(target.size):
                    u = share[i]
                    target[i] += row[left[i]] * (one - u) + row[left[i] + np.uint32(1)] * u


@numba.njit(cache=True, parallel=True)
def _jacobian(vectors, spacing, out):  # type: ignore[no-untyped-def]
    depth, height, width = out.shape
    rx, ry, rz = np.float32(1 / spacing[0]), np.float32(1 / spacing[1]), np.float32(1 / spacing[2])
    for plane in numba.prange(depth):
        # Numba counts planes without a sign, and such a number less one is a float to it.
        k = int(np.int64(plane))
        # Columns of the Jacobian: along x between all neighbours, along y and z the difference behind and ahead.
        along_x = np.zeros((3, width + 1), dtype=np.float32)
        along_y = np.zeros((2, 3, width), dtype=np.float32)
        along_z = np.zeros((2, 3, width), dtype=np.float32)
        for j in range(height):
            for c in range(3):
                row = vectors[c, k, j]
                for i in range(width - 1):
                    along_x[c, i + 1] = (row[i + 1] - row[i]) * rx + np.float32(c == 0)
                along_x[c, 0] = along_x[c, 1] if width > 1 else np.float32(c == 0)
                along_x[c, width] = along_x[c, max(width - 1, 0)]
                for ahead in range(2):
                    ja = max(min(j + ahead - 1, height - 2), 0)
                    ka = max(min(k + ahead - 1, depth - 2), 0)
                    low_y, high_y = vectors[c, k, ja], vectors[c, k, min(ja + 1, height - 1)]
                    low_z, high_z = vectors[c, ka, j], vectors[c, min(ka + 1, depth - 1), j]
                    for i in range(width):
                        along_y[ahead, c, i] = (high_y[i] - low_y[i]) * ry + np.float32(c == 1)
                        along_z[ahead, c, i] = (high_z[i] - low_z[i]) * rz + np.float32(c == 2)
            least = out[k, j]
            least[:] = np.inf
            x0, x1, x2 = along_x[0], along_x[1], along_x[2]
            for corner in range(4):
                y, z = along_y[corner % 2], along_z[corner // 2]
                y0, y1, y2, z0, z1, z2 = y[0], y[1], y[2], z[0], z[1], z[2]
                for i in range(width):
                    n0 = y1[i] * z2[i] - y2[i] * z1[i]
                    n1 = y2[i] * z0[i] - y0[i] * z2[i]
                    n2 = y0[i] * z1[i] - y1[i] * z0[i]
                    at_low = x0[i] * n0 + x1[i] * n1 + x2[i] * n2
                    at_high = x0[i + 1] * n0 + x1[i + 1] * n1 + x2[i + 1] * n2
                    least[i] = min(least[i], at_low, at_high)


@numba.njit(cache=True, parallel=True)
def _carry_least(fine, first, step, least):  # type: ignore[no-untyped-def]
    depth, height, width = least.shape
    column = np.empty(fine.shape[2], dtype=np.int64)
    for i in range(fine.shape[2]):
        column[i] = min(max(int(np.rint(first[0] + step[0] * i)), 0), width - 1)
    for plane in numba.prange(depth):
        for k in range(fine.shape[0]):
            if min(max(int(np.rint(first[2] + step[2] * k)), 0), depth - 1) != plane:
                continue
            for j in range(fine.shape[1]):
                row = least[plane, min(max(int(np.rint(first[1] + step[1] * j)), 0), height - 1)]
                for i in range(fine.shape[2]):
                    row[column[i]] = min(row[column[i]], fine[k, j, i])
