"""Smooth implicit shapes on a grid: negative inside, positive outside, roughly in millimetres.

Every shape is *defined* as the trilinear interpolant of its values on the grid, so that whoever asks for the anatomy
at a point (planning or mapped from the day) gets the same answer.
"""

from collections.abc import Sequence

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import ndimage

from imaging.arrays import FloatVoxels, Points
from imaging.geometry import VolumeGeometry

FAR_MM = 60.0
"""Distance that stands for 'far away' where no shape has been drawn."""

MARGIN_MM = 30.0
"""How far around its skeleton a shape is evaluated."""


def empty(geometry: VolumeGeometry) -> FloatVoxels:
    """A field in which nothing is inside."""
    return np.full(geometry.shape, FAR_MM, dtype=np.float32)


@njit(cache=True)
def _chain(out, second, origin, spacing, points, radii, lower, upper, blend, margin):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    near = np.empty(len(radii), dtype=np.int64)
    for k in range(lower[2], upper[2]):
        z = origin[2] + k * spacing[2]
        for j in range(lower[1], upper[1]):
            y = origin[1] + j * spacing[1]
            count = 0
            for s in range(len(radii) - 1):
                reach = max(radii[s], radii[s + 1]) + margin
                dy = max(min(points[s, 1], points[s + 1, 1]) - y, y - max(points[s, 1], points[s + 1, 1]))
                dz = max(min(points[s, 2], points[s + 1, 2]) - z, z - max(points[s, 2], points[s + 1, 2]))
                if dy < reach and dz < reach:
                    near[count] = s
                    count += 1
            if count == 0:
                continue
            for i in range(lower[0], upper[0]):
                x = origin[0] + i * spacing[0]
                best = 1e9
                for c in range(count):
                    s = near[c]
                    ax, ay, az = points[s, 0], points[s, 1], points[s, 2]
                    bx, by, bz = points[s + 1, 0] - ax, points[s + 1, 1] - ay, points[s + 1, 2] - az
                    length = bx * bx + by * by + bz * bz + 1e-9
                    t = ((x - ax) * bx + (y - ay) * by + (z - az) * bz) / length
                    t = min(max(t, 0.0), 1.0)
                    dx, dy, dz = x - ax - t * bx, y - ay - t * by, z - az - t * bz
                    d = (dx * dx + dy * dy + dz * dz) ** 0.5 - radii[s] - t * (radii[s + 1] - radii[s])
                    best = min(best, d)
                old = out[k, j, i]
                if second.size:
                    second[k, j, i] = min(second[k, j, i], max(old, best))
                h = max(blend - abs(old - best), 0.0) / blend
                out[k, j, i] = min(old, best) - h * h * blend * 0.25


@njit(cache=True)
def _loft(out, second, origin, spacing, levels, sections, lower, upper, blend):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    count = sections.shape[1]
    now = np.empty((count, 3))
    for k in range(lower[2], upper[2]):
        z = origin[2] + k * spacing[2]
        inside = min(max(z, levels[0]), levels[-1])
        above = 1
        while above < len(levels) - 1 and levels[above] < inside:
            above += 1
        t = (inside - levels[above - 1]) / (levels[above] - levels[above - 1])
        for n in range(count):
            for c in range(3):
                now[n, c] = sections[above - 1, n, c] * (1 - t) + sections[above, n, c] * t
        beyond = abs(z - inside)
        for j in range(lower[1], upper[1]):
            y = origin[1] + j * spacing[1]
            for i in range(lower[0], upper[0]):
                x = origin[0] + i * spacing[0]
                best = 1e9
                for s in range(count - 1):
                    bx, by = now[s + 1, 0] - now[s, 0], now[s + 1, 1] - now[s, 1]
                    u = ((x - now[s, 0]) * bx + (y - now[s, 1]) * by) / (bx * bx + by * by + 1e-9)
                    u = min(max(u, 0.0), 1.0)
                    dx, dy = x - now[s, 0] - u * bx, y - now[s, 1] - u * by
                    d = (dx * dx + dy * dy) ** 0.5 - now[s, 2] - u * (now[s + 1, 2] - now[s, 2])
                    best = min(best, d)
                if beyond > 0.0:
                    best = (max(best, 0.0) ** 2 + beyond * beyond) ** 0.5 if best > 0 else max(best, beyond)
                old = out[k, j, i]
                if second.size:
                    second[k, j, i] = min(second[k, j, i], max(old, best))
                h = max(blend - abs(old - best), 0.0) / blend
                out[k, j, i] = min(old, best) - h * h * blend * 0.25


def _box(
    geometry: VolumeGeometry, low: Points, high: Points, margin: float = MARGIN_MM
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    shape = np.array(geometry.shape[::-1])
    lower = np.floor((low - margin - np.array(geometry.origin_mm)) / np.array(geometry.spacing_mm)).astype(np.int64)
    upper = np.ceil((high + margin - np.array(geometry.origin_mm)) / np.array(geometry.spacing_mm)).astype(np.int64)
    return np.clip(lower, 0, shape), np.clip(upper + 1, 0, shape)


_NOTHING: FloatVoxels = np.empty((0, 0, 0), dtype=np.float32)


def add_chain(
    out: FloatVoxels,
    geometry: VolumeGeometry,
    *,
    points: Sequence[Sequence[float]] | Points,
    radii: Sequence[float] | NDArray[np.float64],
    second: FloatVoxels | None = None,
    blend_mm: float = 4.0,
    margin_mm: float = MARGIN_MM,
) -> None:
    """Unite `out`, in place, with a string of tapering rods.

    Args:
        out: Field that is changed.
        geometry: Its grid.
        points: (n, 3) skeleton, LPS millimetres.
        radii: (n,) radius at each point.
        second: Field of the second-nearest shape so far, kept up to date where given.
        blend_mm: Over which difference of distances the union is rounded.
        margin_mm: How far from the surface distances are right; further away they may be too large.
    """
    skeleton = np.asarray(points, dtype=np.float64)
    thickness = np.asarray(radii, dtype=np.float64)
    widest = thickness.max()
    lower, upper = _box(geometry, skeleton.min(0) - widest, skeleton.max(0) + widest, margin_mm)
    origin, spacing = np.array(geometry.origin_mm), np.array(geometry.spacing_mm)
    other = _NOTHING if second is None else second
    _chain(out, other, origin, spacing, skeleton, thickness, lower, upper, blend_mm, margin_mm)


def add_loft(
    out: FloatVoxels,
    geometry: VolumeGeometry,
    *,
    levels: Sequence[float] | NDArray[np.float64],
    sections: Sequence[Sequence[Sequence[float]]] | NDArray[np.float64],
    second: FloatVoxels | None = None,
    blend_mm: float = 4.0,
) -> None:
    """Unite `out`, in place, with a plate whose axial sections are strings of discs.

    Args:
        out: Field that is changed.
        geometry: Its grid.
        levels: (m,) rising z of the sections.
        sections: (m, n, 3) per level the discs (x, y, radius); linear between levels.
        second: Field of the second-nearest shape so far, kept up to date where given.
        blend_mm: Over which difference of distances the union is rounded.
    """
    cuts = np.asarray(sections, dtype=np.float64)
    heights = np.asarray(levels, dtype=np.float64)
    widest = cuts[..., 2].max()
    low = np.array([cuts[..., 0].min(), cuts[..., 1].min(), heights[0]]) - widest
    high = np.array([cuts[..., 0].max(), cuts[..., 1].max(), heights[-1]]) + widest
    lower, upper = _box(geometry, low, high)
    origin, spacing = np.array(geometry.origin_mm), np.array(geometry.spacing_mm)
    other = _NOTHING if second is None else second
    _loft(out, other, origin, spacing, heights, cuts, lower, upper, blend_mm)


def add_ellipsoid(
    out: FloatVoxels,
    geometry: VolumeGeometry,
    *,
    centre: Sequence[float],
    radii: Sequence[float],
    blend_mm: float = 4.0,
) -> None:
    """Unite `out`, in place, with an axis-parallel ellipsoid."""
    np.copyto(out, smooth_min(out, ellipsoid(geometry, centre=centre, radii=radii), blend_mm))


def axes(geometry: VolumeGeometry) -> tuple[FloatVoxels, FloatVoxels, FloatVoxels]:
    """Coordinates x, y, z of the voxels, shaped for broadcasting."""
    x, y, z = (geometry.axis_mm(a).astype(np.float32) for a in "xyz")
    return x[None, None, :], y[None, :, None], z[:, None, None]


def ellipsoid(geometry: VolumeGeometry, *, centre: Sequence[float], radii: Sequence[float]) -> FloatVoxels:
    """Distance along the ray from the centre to an ellipsoid, negative inside."""
    x, y, z = (a - np.float32(c) for a, c in zip(axes(geometry), centre, strict=True))
    gauge = np.sqrt((x / radii[0]) ** 2 + (y / radii[1]) ** 2 + (z / radii[2]) ** 2)
    reach = np.sqrt(x**2 + y**2 + z**2)
    return np.where(gauge > 1e-3, reach * (1 - 1 / np.maximum(gauge, 1e-3)), -min(radii)).astype(np.float32)


def smooth_min(a: FloatVoxels, b: FloatVoxels, blend_mm: float) -> FloatVoxels:
    """Union of two fields, rounded where both are about equal."""
    h = np.maximum(blend_mm - np.abs(a - b), 0) / blend_mm
    return (np.minimum(a, b) - h * h * (blend_mm * 0.25)).astype(np.float32)


def smooth_max(a: FloatVoxels, b: FloatVoxels, blend_mm: float) -> FloatVoxels:
    """Intersection of two fields, rounded where both are about equal."""
    return (-smooth_min(-a, -b, blend_mm)).astype(np.float32)


def smooth_noise(rng: np.random.Generator, geometry: VolumeGeometry, *, length_mm: float) -> FloatVoxels:
    """Random field of mean 0 and standard deviation 1 that changes over about `length_mm`."""
    step = length_mm / 2.0
    x, y, z = geometry.size_mm
    counts = [int(np.ceil(size / step)) + 5 for size in (z, y, x)]
    knots = ndimage.gaussian_filter(rng.standard_normal(counts), 1.0, mode="wrap")
    knots /= knots.std() + 1e-9
    out = knots.astype(np.float32)
    for axis, (count, spacing) in enumerate(zip(geometry.shape, geometry.spacing_mm[::-1], strict=True)):
        at = np.arange(count) * spacing / step + 2.0
        out = np.moveaxis(_along_first(np.moveaxis(out, axis, 0), at), 0, axis)
    return np.ascontiguousarray(out)


def _along_first(knots: FloatVoxels, at: NDArray[np.floating]) -> FloatVoxels:
    """Catmull-Rom interpolation along the first axis."""
    base = np.floor(at).astype(np.int64)
    t = at - base
    weights = (
        -0.5 * t**3 + t**2 - 0.5 * t,
        1.5 * t**3 - 2.5 * t**2 + 1,
        -1.5 * t**3 + 2 * t**2 + 0.5 * t,
        0.5 * t**3 - 0.5 * t**2,
    )
    shape = (-1,) + (1,) * (knots.ndim - 1)
    total = np.zeros((len(at), *knots.shape[1:]), dtype=np.float32)
    for offset, weight in enumerate(weights, start=-1):
        total += knots[np.clip(base + offset, 0, len(knots) - 1)] * weight.reshape(shape).astype(np.float32)
    return total


def sample(field: FloatVoxels, geometry: VolumeGeometry, points_mm: Points) -> NDArray[np.float64]:
    """Trilinear values at points (..., 3); beyond the grid the edge value plus the distance to the edge."""
    points = np.ascontiguousarray(points_mm, dtype=np.float64)
    out = np.empty(points.shape[:-1])
    origin, spacing = np.array(geometry.origin_mm), np.array(geometry.spacing_mm)
    _trilinear(out.reshape(-1), field, origin, spacing, points.reshape(-1, 3))
    return out


@njit(cache=True)
def _trilinear(out, field, origin, spacing, points):  # type: ignore[no-untyped-def]
    base, part = np.empty(3, dtype=np.int64), np.empty(3)
    for n in range(len(points)):
        away = 0.0
        for c in range(3):
            last = field.shape[2 - c] - 1
            index = (points[n, c] - origin[c]) / spacing[c]
            held = min(max(index, 0.0), float(last))
            away += ((index - held) * spacing[c]) ** 2
            base[c] = min(int(held), max(last - 1, 0))
            part[c] = held - base[c]
        value = 0.0
        for corner in range(8):
            i, j, k = corner & 1, corner >> 1 & 1, corner >> 2
            weight = part[0] if i else 1.0 - part[0]
            weight *= part[1] if j else 1.0 - part[1]
            weight *= part[2] if k else 1.0 - part[2]
            if weight != 0.0:
                value += weight * field[base[2] + k, base[1] + j, base[0] + i]
        out[n] = value + away**0.5
