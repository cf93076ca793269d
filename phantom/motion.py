"""From one day to another: one invertible displacement, written as pull-back.

`daily point -> planning point`: first the rigid set-up, then the rectum is emptied or filled back to its planning
diameter, the prostate with the seminal vesicles put back as a stiff body, the bladder filled back, and the soft tissue
relaxed, all of it in a few equal steps in turn. Each step is a smooth map that does not fold; bones do not take part.
What comes near to folding nevertheless is smoothed in its place. The composition is stored on a 3 mm grid
of the daily patient, and its trilinear interpolant IS the truth: images, labels and contours of the day are made from
it, so nothing is approximated afterwards.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from imaging.arrays import FloatVoxels, Points
from imaging.geometry import VolumeGeometry
from imaging.transforms import AffineTransform, Deformation, DisplacementField
from phantom import shapes
from phantom.anatomy import CLOSE, WIDE, Anatomy
from phantom.clinic import DailyChange

_REACH = VolumeGeometry((105, 91, 101), (-150.0, -150.0, -120.0), (3.0, 3.0, 3.0))
"""Where soft tissue may move, in the daily patient."""

LEAST_JACOBIAN = 0.12
"""Smallest determinant that is accepted before the day's motion is smoothed there."""


_STEPS = 4
"""In how many small steps a day is undone; each is far from folding, and so is what they make together."""


@dataclass(frozen=True)
class _Step:
    """One of them: how much of the day is still there after it, and how much it undoes."""

    left: float
    share: float


@dataclass(frozen=True, eq=False)
class Day:
    """How the patient of one day differs from the planning day.

    Attributes:
        deformation: Exact map from daily to planning points.
        bladder_ratio: Wanted volume of the day over that of the plan.
        rectum_ratio: Mean diameter ratio of the rectum at the prostate.
    """

    deformation: Deformation
    bladder_ratio: float
    rectum_ratio: float


def draw_day(rng: np.random.Generator, anatomy: Anatomy, change: DailyChange) -> Day:
    """A day at random."""
    affine = _setup(rng, change)
    filled = anatomy.traits.bladder_cc * np.exp(rng.normal(0.0, change.bladder_log))
    ratio = float(np.clip(filled, 70.0, 500.0) / anatomy.traits.bladder_cc)
    ratio = float(np.clip(ratio, 0.4, 2.8))
    widening = _rectum_ratios(rng, change)
    at_prostate = float(np.interp(-10.0, widening[0], widening[1]))
    push = -0.35 * anatomy.organs.axis.radius(np.array([-10.0]))[0] * (at_prostate - 1.0)
    shift = np.clip(rng.normal(0.0, 1.0, 3), -2.2, 2.2) * change.prostate_mm + np.array((0.0, push, 0.25 * -push))
    tilt = float(np.deg2rad(rng.normal(0.0, change.prostate_tilt_deg)))
    tissue = np.stack([shapes.smooth_noise(rng, _REACH, length_mm=38) for _ in range(3)]) * change.tissue_mm
    drift = tissue.astype(np.float64)
    points = _grid_points(_REACH)
    at = affine.to_moving(points.reshape(-1, 3)).reshape(points.shape)
    moved = at
    for done in range(_STEPS):
        step = _Step(1.0 - (done + 1) / _STEPS, 1.0 / _STEPS)
        wanted = _undo_rectum(moved, anatomy, widening, step)
        wanted = _undo_prostate(wanted, anatomy, shift, tilt, step)
        wanted = _undo_bladder(wanted, anatomy, ratio, shift, step)
        wanted = wanted + step.share * _at(drift, moved)
        # bone holds what is near it at every step, so that what slides past it is not folded
        moved = moved + (wanted - moved) * _mobility(moved, anatomy)[..., None]
    moved = _stiffen(at, moved, anatomy.organs.vesicles, share=0.88)
    displacement = _stiffen(at, moved, anatomy.organs.prostate, share=0.97) - at
    turned = displacement @ np.linalg.inv(affine.matrix[:3, :3]).T
    vectors = np.moveaxis(turned, -1, 0)
    vectors = _unfolded(vectors)
    field = DisplacementField(np.ascontiguousarray(vectors, dtype=np.float32), _REACH)
    return Day(Deformation(affine, (field,)), ratio, at_prostate)


def _unfolded(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """The displacement, smoothed where it comes near to folding; scaled down as a whole if that does not suffice."""
    for turn in range(24):
        jacobian = _cell_jacobians(vectors, _REACH)
        if jacobian.min() >= LEAST_JACOBIAN:
            break
        if turn >= 16:
            vectors = vectors * 0.88
            continue
        near = np.zeros(_REACH.shape)
        near[:-1, :-1, :-1] = jacobian < 1.3 * LEAST_JACOBIAN
        weight = _fade(ndimage.distance_transform_edt(near == 0) - 2.0, 4.0)
        smooth = ndimage.gaussian_filter(vectors, (0, 1.5, 1.5, 1.5))
        vectors = vectors + weight * (smooth - vectors)
    return vectors


def smallest_jacobian(vectors: NDArray[np.floating], geometry: VolumeGeometry) -> float:
    """Smallest determinant of the map's derivative over the cells of the grid, by forward and backward differences.

    The trilinear map of a cell has its extreme derivatives at the corners, so all eight one-sided combinations are
    looked at.
    """
    return float(_cell_jacobians(vectors, geometry).min())


def _cell_jacobians(vectors: NDArray[np.floating], geometry: VolumeGeometry) -> NDArray[np.float64]:
    """Smallest determinant in each cell."""
    spacing = geometry.spacing_mm
    smallest = np.full([s - 1 for s in geometry.shape], np.inf)
    steps = []
    for component, axis in enumerate((3, 2, 1)):
        steps.append(np.diff(vectors, axis=axis) / spacing[component])
    for corner in range(8):
        columns = []
        for component, axis in enumerate((3, 2, 1)):
            part = steps[component]
            for other_component, other in enumerate((3, 2, 1)):
                if other != axis:
                    keep = slice(1, None) if corner >> other_component & 1 else slice(None, -1)
                    index = [slice(None)] * 4
                    index[other] = keep
                    part = part[tuple(index)]
            columns.append(part)
        a, b, c = columns
        m = [[a[r] + (r == 0), b[r] + (r == 1), c[r] + (r == 2)] for r in range(3)]
        determinant = (
            m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1])
            - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
            + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])
        )
        smallest = np.minimum(smallest, determinant)
    return smallest


def to_planning(deformation: Deformation, points_mm: Points) -> Points:
    """Points (n, 3) of the daily patient, carried exactly to the planning patient."""
    moved = np.array(points_mm, dtype=np.float64)
    total = np.zeros_like(moved)
    for field in deformation.fields:
        index = field.geometry.to_index(moved)
        inside = np.all((index >= 0) & (index <= np.array(field.geometry.shape[::-1]) - 1), axis=1)
        for component in range(3):
            values = shapes.sample(field.vectors[component], field.geometry, moved[inside])
            total[inside, component] += values
    return deformation.affine.to_moving(moved + total)


def _grid_points(geometry: VolumeGeometry) -> NDArray[np.float64]:
    z, y, x = np.meshgrid(*(geometry.axis_mm(a) for a in "zyx"), indexing="ij")
    return np.stack([x, y, z], axis=-1)


def _setup(rng: np.random.Generator, change: DailyChange) -> AffineTransform:
    ax, ay, az = np.deg2rad(np.clip(rng.normal(0.0, change.setup_deg, 3), -3.0, 3.0))
    rx = np.array([[1, 0, 0], [0, np.cos(ax), -np.sin(ax)], [0, np.sin(ax), np.cos(ax)]])
    ry = np.array([[np.cos(ay), 0, np.sin(ay)], [0, 1, 0], [-np.sin(ay), 0, np.cos(ay)]])
    rz = np.array([[np.cos(az), -np.sin(az), 0], [np.sin(az), np.cos(az), 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3] = rz @ ry @ rx
    matrix[:3, 3] = np.clip(rng.normal(0.0, 1.0, 3), -2.5, 2.5) * change.setup_mm
    return AffineTransform(matrix)


def _rectum_ratios(rng: np.random.Generator, change: DailyChange) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    z = np.linspace(-80.0, 140.0, 111)
    knots = np.linspace(-80.0, 140.0, 9)
    waves = np.interp(z, knots, rng.normal(0.0, 1.0, 9) * change.rectum_log + rng.normal(0.0, 0.5 * change.rectum_log))
    window = np.hanning(19) / np.hanning(19).sum()
    waves = np.convolve(np.pad(waves, 9, mode="edge"), window, mode="valid") * 1.25
    # the anal canal keeps its width
    opening = np.clip((z + 48.0) / 30.0, 0.0, 1.0)
    return z, np.exp(np.clip(waves, -0.42, 0.45) * opening)


def _fade(distance: NDArray[np.float64], length_mm: float | NDArray[np.float64]) -> NDArray[np.float64]:
    """1 inside, smoothly to 0 at `length_mm` outside."""
    t = np.clip(distance / length_mm, 0.0, 1.0)
    return 1.0 - t * t * (3.0 - 2.0 * t)


def _at(vectors: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Vectors (3, z, y, x) of the grid at points (..., 3), those of its border beyond it."""
    held = np.clip(points, _REACH.origin_mm, _REACH.last_mm)
    return np.stack([shapes.sample(v.astype(np.float32), _REACH, held) for v in vectors], axis=-1)


def _undo_rectum(
    at: NDArray[np.float64],
    anatomy: Anatomy,
    widening: tuple[NDArray[np.float64], NDArray[np.float64]],
    step: _Step,
) -> NDArray[np.float64]:
    axis = anatomy.organs.axis
    z = at[..., 2]
    whole = np.interp(z, *widening)
    ratio = whole**step.share
    x0, y0 = axis.centre(z)
    radius = axis.radius(z)
    # the sacrum holds the posterior wall, so filling moves the anterior one
    y0 = y0 + 0.55 * radius
    radius = radius * whole**step.left
    out = at.copy()
    wanted_x, wanted_y = x0 + (at[..., 0] - x0) / ratio, y0 + (at[..., 1] - y0) / ratio
    away = (np.hypot(wanted_x - x0, wanted_y - y0 + 0.55 * radius) - radius * 1.05) * ratio
    extent = 1.55 * radius * ratio
    weight = _fade(away - 1.5, 42.0) * extent / (extent + np.maximum(away, 0.0))
    out[..., 0] += weight * (wanted_x - at[..., 0])
    out[..., 1] += weight * (wanted_y - at[..., 1])
    return out


def _undo_prostate(
    at: NDArray[np.float64], anatomy: Anatomy, shift: NDArray[np.float64], tilt: float, step: _Step
) -> NDArray[np.float64]:
    cx, cy, cz = anatomy.organs.prostate_centre
    pivot = np.array((cx, cy, cz - 12.0))
    left = pivot + step.left * shift
    wanted = _tilted(at - step.share * shift - left, step.share * tilt) + left
    planned = _tilted(wanted - left, step.left * tilt) + pivot
    target = np.minimum(anatomy.organs.prostate, anatomy.organs.vesicles)
    distance = shapes.sample(target, CLOSE, planned)
    return at + _fade(distance - 1.0, 28.0)[..., None] * (wanted - at)


def _tilted(back: NDArray[np.float64], angle: float) -> NDArray[np.float64]:
    """Points about the left-right axis."""
    turned = back.copy()
    turned[..., 1] = np.cos(angle) * back[..., 1] - np.sin(angle) * back[..., 2]
    turned[..., 2] = np.sin(angle) * back[..., 1] + np.cos(angle) * back[..., 2]
    return turned


def _undo_bladder(
    at: NDArray[np.float64], anatomy: Anatomy, ratio: float, shift: NDArray[np.float64], step: _Step
) -> NDArray[np.float64]:
    planned_neck = np.array(anatomy.organs.bladder_neck)
    neck = planned_neck + step.left * shift
    # a bladder rises more than it widens
    factor = ratio ** np.array((0.24, 0.30, 0.46))
    part, left = factor**step.share, factor**step.left
    wanted = neck + (at - neck) / part
    planned = planned_neck + (wanted - neck) / left
    distance = shapes.sample(anatomy.organs.bladder, CLOSE, planned) * float((left * part).mean())
    height = 2.0 * (anatomy.traits.bladder_cc * 1000 / 4.19) ** (1 / 3)
    length = float(max(45.0, 2.2 * height * abs(1.0 - factor[2]) / min(factor[2], 1.0)))
    weight = _fade(distance - 1.0, length) * height / (height + np.maximum(distance, 0.0))
    return at + weight[..., None] * (wanted - at)


def _stiffen(
    at: NDArray[np.float64], moved: NDArray[np.float64], organ: FloatVoxels, *, share: float
) -> NDArray[np.float64]:
    """Let an organ follow, by that share, the rigid motion that fits best what its neighbours do to it."""
    inside = shapes.sample(organ, CLOSE, moved) < 0
    here, there = at[inside], moved[inside]
    u, _, vt = np.linalg.svd((here - here.mean(0)).T @ (there - there.mean(0)))
    turn = vt.T @ np.diag([1.0, 1.0, np.sign(np.linalg.det(vt.T @ u.T))]) @ u.T
    wanted = (at - here.mean(0)) @ turn.T + there.mean(0)
    weight = _fade(shapes.sample(organ, CLOSE, wanted) - 1.0, 14.0)
    return moved + share * weight[..., None] * (wanted - moved)


def _mobility(at: NDArray[np.float64], anatomy: Anatomy) -> NDArray[np.float64]:
    """0 in bone and at the border of the grid, 1 in free soft tissue."""
    loose = 1.0 - _fade(shapes.sample(anatomy.bone, WIDE, at) - 0.5, 22.0)
    for axis, (size, spacing) in enumerate(zip(_REACH.shape, _REACH.spacing_mm[::-1], strict=True)):
        inward = np.minimum(np.arange(size), size - 1 - np.arange(size)) * spacing
        edge = 1.0 - _fade(inward, 36.0)
        loose = loose * edge.reshape([-1 if a == axis else 1 for a in range(3)])
    return loose
