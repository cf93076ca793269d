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
    spacing = np.array(volume.geometry.spacing_mm)
    to_index = np.column_stack([np.eye(3), -np.array(volume.geometry.origin_mm)]) @ matrix / spacing[:, None]
    value, gradient, seen = np.empty(len(mm)), np.empty((len(mm), 3)), np.empty(len(mm), dtype=np.bool_)
    _value_and_gradient(volume.hu, mm, to_index, 1 / spacing, value, gradient, seen)
    return value, gradient, seen


def gauss_newton(
    start: NDArray[np.float64], points: PickedPoints, moving: Volume, *, steps: int
) -> NDArray[np.float64]:
    """From a first affine (4, 4), fixed to moving patient, to the one that fits; where too little is seen it stops."""
    matrix = start.copy()
    centre = points.mm.mean(axis=0)
    arm = (points.mm - centre) / 100.0
    for step in range(steps):
        value, moving_gradient, seen = look(matrix, points.mm, moving)
        if seen.mean() < LEAST_SEEN / 2:
            break
        slope, residual, weight = _compared(value, points.value, seen)
        inverse = np.linalg.inv(matrix[:3, :3])
        normal, right = _normal_equations(residual, weight, slope * moving_gradient, points.gradient, inverse, arm)
        # Shifts settle before shapes, or a far start shears the patient to meet it.
        ridge = 0.3 if step < 4 else 0.005
        normal[range(12), range(12)] *= 1.0 + np.repeat([0.001, ridge, ridge, ridge], 3)
        update = np.linalg.solve(normal + 1e-6 * np.eye(12), -right)
        linear = update[3:].reshape(3, 3).T / 100.0
        matrix[:3, :3] += linear
        matrix[:3, 3] += update[:3] - linear @ centre
        if np.abs(update).max() < 0.02:
            break
    return matrix


@numba.njit(cache=True, nogil=True)
def _value_and_gradient(hu, mm, to_index, per_mm, value, gradient, seen):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    """HU and gradient per mm under a quadratic B-spline, at to_index @ (mm, 1).

    It blurs alike wherever between the voxels a point lies. Trilinear looks are sharp on voxel centres and blurred
    between them, which made two scans of like grids cling to each other's grid: 2 degrees were found as 0.5.
    """
    depth, height, width = hu.shape
    m = to_index
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
        ia, ib, ic = min(max(i - 1, 0), width - 1), min(max(i, 0), width - 1), min(max(i + 1, 0), width - 1)
        total = gx = gy = gz = 0.0
        for dk in range(3):
            plane = hu[min(max(k + dk - 1, 0), depth - 1)]
            mean = mean_x = mean_y = 0.0
            for dj in range(3):
                row = plane[min(max(j + dj - 1, 0), height - 1)]
                a, b, c = row[ia], row[ib], row[ic]
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
def _normal_equations(residual, weight, moving_gradient, fixed_gradient, inverse, arm):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    """Weighted (12, 12) matrix and (12,) right side; a shift, then what each component of the arm does to it."""
    normal, right = np.zeros((12, 12)), np.zeros(12)
    jacobian = np.empty(12)
    for n in range(residual.size):
        for c in range(3):
            there = 0.0
            for d in range(3):
                there += fixed_gradient[n, d] * inverse[d, c]
            jacobian[c] = 0.5 * (moving_gradient[n, c] + there)
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
