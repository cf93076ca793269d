"""A robust Gauss-Newton for the affine between two CTs, on picked points.

Both images' gradients (efficient second-order minimisation, Malis, ICRA 2004), a linear intensity map that is fitted
anew in each step, and Cauchy weights so that organs that moved on their own count little.
"""

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from imaging.arrays import Points
from imaging.volume import Volume

LEAST_SEEN = 0.4
"""A start counts only where at least this part of the points lands inside the moving scan."""


@dataclass(frozen=True, eq=False)
class PickedPoints:
    """Points (n, 3) mm of the fixed patient, with value and gradient (per mm) there."""

    mm: Points
    value: NDArray[np.float64]
    gradient: Points


def correlation(matrix: NDArray[np.float64], points: PickedPoints, moving: Volume) -> tuple[float, float]:
    """Correlation (-1 where too little is seen) and the part of the points that is seen."""
    value, _, seen = look(matrix, points.mm, moving)
    part = float(seen.mean())
    if part < LEAST_SEEN:
        return -1.0, part
    a, b = value[seen], points.value[seen]
    spread = a.std() * b.std()
    return (float(np.mean((a - a.mean()) * (b - b.mean())) / spread) if spread > 0 else -1.0), part


def look(
    matrix: NDArray[np.float64], mm: Points, volume: Volume
) -> tuple[NDArray[np.float64], Points, NDArray[np.bool_]]:
    """Value, gradient per mm, and whether the volume holds the point, at matrix @ mm."""
    value, gradient, seen = np.empty(len(mm)), np.empty((len(mm), 3)), np.empty(len(mm), dtype=np.bool_)
    to_grid, per_mm = _grid(volume)
    _value_and_gradient(volume.hu, mm, to_grid @ matrix, per_mm, value, gradient, seen)
    return value, gradient, seen


def gauss_newton(
    start: NDArray[np.float64], points: PickedPoints, moving: Volume, *, steps: int
) -> NDArray[np.float64]:
    """From a first affine (4, 4), fixed to moving patient, to the one that fits; where too little is seen it stops."""
    centre = points.mm.mean(axis=0)
    arm = (points.mm - centre) / 100.0
    matrix = start.copy()
    _descend(moving.hu, *_grid(moving), points.mm, points.value, points.gradient, arm, centre, steps, matrix)
    return matrix


def _grid(volume: Volume) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(3, 4) from millimetres to indices (x, y, z), and voxels per millimetre (3,)."""
    per_mm = 1 / np.array(volume.geometry.spacing_mm)
    return np.column_stack([np.diag(per_mm), -per_mm * volume.geometry.origin_mm]), per_mm


@numba.njit(cache=True, nogil=True)
def _descend(hu, to_grid, per_mm, mm, wanted, fixed_gradient, arm, centre, steps, matrix):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    """Steps of Gauss-Newton on the matrix, in place; compiled as a whole, so that starts need not wait in turn."""
    count = mm.shape[0]
    value, gradient, seen = np.empty(count), np.empty((count, 3)), np.empty(count, dtype=np.bool_)
    for step in range(steps):
        _value_and_gradient(hu, mm, to_grid @ matrix, per_mm, value, gradient, seen)
        if seen.mean() < LEAST_SEEN / 2:
            break
        slope, residual, weight = _compared(value, wanted, seen)
        inverse = np.linalg.inv(matrix[:3, :3].copy())
        normal, right = _normal_equations(residual, weight, slope, gradient, fixed_gradient, inverse, arm)
        # Shifts settle before shapes, or a far start shears the patient to meet it.
        ridge = 0.3 if step < 4 else 0.005
        for a in range(12):
            normal[a, a] = normal[a, a] * (1.0 + (0.001 if a < 3 else ridge)) + 1e-6
        update = np.linalg.solve(normal, -right)
        for c in range(3):
            matrix[c, 3] += update[c]
            for axis in range(3):
                linear = update[3 + 3 * axis + c] / 100.0
                matrix[c, axis] += linear
                matrix[c, 3] -= linear * centre[axis]
        if np.abs(update).max() < 0.02:
            break


@numba.njit(cache=True, nogil=True)
def _value_and_gradient(hu, mm, to_index, per_mm, value, gradient, seen):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    """HU and gradient per mm under a quadratic B-spline, at to_index @ (mm, 1).

    It blurs alike wherever between the voxels a point lies. Trilinear looks are sharp on voxel centres and blurred
    between them, which made two scans of like grids cling to each other's grid: 2 degrees were found as 0.5.
    """
    depth, height, width = hu.shape
    m, flat = to_index, hu.reshape(-1)
    for n in range(mm.shape[0]):
        x = m[0, 0] * mm[n, 0] + m[0, 1] * mm[n, 1] + m[0, 2] * mm[n, 2] + m[0, 3]
        y = m[1, 0] * mm[n, 0] + m[1, 1] * mm[n, 1] + m[1, 2] * mm[n, 2] + m[1, 3]
        z = m[2, 0] * mm[n, 0] + m[2, 1] * mm[n, 1] + m[2, 2] * mm[n, 2] + m[2, 3]
        seen[n] = 0 <= x <= width - 1 and 0 <= y <= height - 1 and -0.5 <= z <= depth - 0.5
        i, j, k = int(np.floor(x + 0.5)), int(np.floor(y + 0.5)), int(np.floor(z + 0.5))
        u, v, w = x - i, y - j, z - k
        u0, u1, u2 = 0.5 * (0.5 - u) ** 2, 0.75 - u * u, 0.5 * (0.5 + u) ** 2
        across = (0.5 * (0.5 - v) ** 2, 0.75 - v * v, 0.5 * (0.5 + v) ** 2)
        along = (0.5 * (0.5 - w) ** 2, 0.75 - w * w, 0.5 * (0.5 + w) ** 2)
        across_slope, along_slope = (v - 0.5, -2.0 * v, v + 0.5), (w - 0.5, -2.0 * w, w + 0.5)
        ia, ib = np.uint64(min(max(i - 1, 0), width - 1)), np.uint64(min(max(i, 0), width - 1))
        ic = np.uint64(min(max(i + 1, 0), width - 1))
        total = gx = gy = gz = 0.0
        for dk in range(3):
            plane = min(max(k + dk - 1, 0), depth - 1) * height
            mean = mean_x = mean_y = 0.0
            for dj in range(3):
                # Without a sign, or each look would first ask whether the index counts from the end.
                row = np.uint64((plane + min(max(j + dj - 1, 0), height - 1)) * width)
                a, b, c = flat[row + ia], flat[row + ib], flat[row + ic]
                here = u0 * a + u1 * b + u2 * c
                mean += here * across[dj]
                mean_x += ((u - 0.5) * a - 2.0 * u * b + (u + 0.5) * c) * across[dj]
                mean_y += here * across_slope[dj]
            total += mean * along[dk]
            gx += mean_x * along[dk]
            gy += mean_y * along[dk]
            gz += mean * along_slope[dk]
        value[n] = total
        gradient[n, 0], gradient[n, 1], gradient[n, 2] = gx * per_mm[0], gy * per_mm[1], gz * per_mm[2]


@numba.njit(cache=True, nogil=True)
def _compared(value, wanted, seen):  # type: ignore[no-untyped-def]
    """Slope of the linear map from `value` to `wanted`, what remains of it per point, and its Cauchy weight."""
    count, mean, wanted_mean = 0, 0.0, 0.0
    for n in range(value.size):
        if seen[n]:
            count, mean, wanted_mean = count + 1, mean + value[n], wanted_mean + wanted[n]
    mean, wanted_mean = mean / count, wanted_mean / count
    spread = together = 0.0
    for n in range(value.size):
        if seen[n]:
            spread += (value[n] - mean) ** 2
            together += (value[n] - mean) * (wanted[n] - wanted_mean)
    slope = min(max(together / spread if spread > 0 else 1.0, 0.7), 1.4)
    residual = slope * (value - mean) + wanted_mean - wanted
    scale = 1.5 * np.median(np.abs(residual[seen])) + 5.0
    return slope, residual, seen / (1.0 + (residual / scale) ** 2)


@numba.njit(cache=True, nogil=True)
def _normal_equations(residual, weight, slope, moving_gradient, fixed_gradient, inverse, arm):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    """Weighted (12, 12) matrix and (12,) right side; a shift, then what each component of the arm does to it."""
    normal, right = np.zeros((12, 12)), np.zeros(12)
    jacobian = np.empty(12)
    for n in range(residual.size):
        for c in range(3):
            there = 0.0
            for d in range(3):
                there += fixed_gradient[n, d] * inverse[d, c]
            jacobian[c] = 0.5 * (slope * moving_gradient[n, c] + there)
        for arm_axis in range(3):
            for c in range(3):
                jacobian[3 + 3 * arm_axis + c] = jacobian[c] * arm[n, arm_axis]
        for a in range(12):
            pull = weight[n] * jacobian[a]
            right[a] += pull * residual[n]
            for b in range(a + 1):
                normal[a, b] += pull * jacobian[b]
    for a in range(12):
        for b in range(a):
            normal[b, a] = normal[a, b]
    return normal, right
