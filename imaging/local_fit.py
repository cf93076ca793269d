"""The last millimetre: both CTs' Hounsfield units fitted to each other round every place, by a few Newton steps.

Around each place the shift that makes the warped planning CT equal the daily one is the solution of three linear
equations, summed over a Gaussian window (Lucas and Kanade, IJCAI 1981; both images' gradients as in Malis, ICRA 2004).
Contents without a counterpart, such as contrast medium, count little (Cauchy weights), and gas with its rim not at all.
It needs a start within a wall's width, which the searches of `refinement` give, and it sees finer than their
descriptors do. The choice of every number is in docs/decisions/0006-local-fit.md, 0008-gas.md,
0012-own-voxels.md, 0014-coarse-steps.md and 0016-around-the-plan.md.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numba
import numpy as np

from imaging.arrays import DvfVoxels, FloatVoxels
from imaging.displacement import border_weight, part_around, reached, vectors_on, vectors_reaching
from imaging.geometry import Box, VolumeGeometry
from imaging.resampling import resample_deformed, resample_reaching
from imaging.smoothing import CUT_OFF, smooth
from imaging.transforms import AffineTransform, DisplacementField
from imaging.volume import Volume


class Level(NamedTuple):
    """One scale of the fit.

    Attributes:
        spacing_mm: Of the voxels that are compared, at least.
        window_mm: Standard deviation of the window round every place, at least.
        steps: How many.
        more: Steps after them that only places take which have not arrived.
    """

    spacing_mm: float
    window_mm: float
    steps: int
    more: int = 0

    @property
    def window_blocks(self) -> float:
        """The window's standard deviation in blocks."""
        return self.window_mm / (STRIDE * self.spacing_mm)

    def on(self, region: VolumeGeometry, own_mm: float) -> "Level":
        """The level that a region allows, and CTs whose own voxels have edges of `own_mm`."""
        spacing_mm = max(self.spacing_mm, own_mm, region.edge_mm(MOST_VOXELS))
        return self._replace(spacing_mm=spacing_mm, window_mm=max(self.window_mm, OWN_VOXELS * own_mm))


LEVELS = (Level(3.0, 8.0, steps=4, more=4), Level(1.8, 4.0, steps=4))
MOST_VOXELS = 2_000_000
"""A larger region is compared more coarsely, because the treatment machine waits."""

TAPER_WINDOWS = 2.0
"""Over which the fit ends where the field goes on."""

ARRIVED_MM = 0.6
"""A step after the first ones of which half is taken; shorter ones follow noise."""

OWN_VOXELS = 2.8
"""Standard deviation of a window in voxels of the coarser CT, at least: over fewer, the fit follows their noise."""

FINER = 0.9
"""A level is left out unless its voxels are below this share of those before: it would look at the same again."""

STEPS_ALONE = 2
"""Of a level that no finer one follows, because the CTs are coarse or the region is large: more follow noise."""

LOWER_HU, UPPER_HU = -160.0, 240.0
"""Soft tissue; gas is as dark as fat's edge and metal no brighter than bone's rim, so neither pulls harder."""

UNLIKE_HU = 60.0
"""A difference that counts half."""

CHANGED_HU = 30.0
"""A mean difference within the window at which half a step is taken."""

RIDGE = 1.0
"""Added to the summed squares of gradients, (HU/mm)^2: where there is only noise, nothing moves."""

STRIDE = 2
"""Voxels per shift, along each axis: the window is wider than that."""


@dataclass(frozen=True, eq=False)
class LevelStart:
    """What the steps of a level begin with.

    Attributes:
        here: (z, y, x) soft HU of the daily CT.
        grid: Of `here`, even, of `level.spacing_mm`.
        source: The planning CT.
        affine: From the daily to the planning patient.
        vectors: (3, z, y, x) the shifts so far, in millimetres, one per block of `STRIDE` voxels of the grid.
        level: How far, how wide and how often.
    """

    here: FloatVoxels
    grid: VolumeGeometry
    source: Volume
    affine: AffineTransform
    vectors: DvfVoxels
    level: Level


NewtonSteps = Callable[[LevelStart], DvfVoxels]
"""Who takes the steps of a level and gives the shifts after them: compiled loops, or a graph on a GPU."""


def fit_locally(
    *,
    fixed: Volume,
    moving: Volume,
    affine: AffineTransform,
    field: DisplacementField,
    planned: Box | None = None,
    steps: NewtonSteps | None = None,
) -> DisplacementField:
    """The field with the steps added that make both CTs equal, on the field's own grid.

    Args:
        fixed: The daily CT.
        moving: The planning CT.
        affine: From the fixed to the moving patient.
        field: The displacement so far.
        planned: The box of the planning patient that matters; None: all that the field's grid holds. Beyond its reach a
            level leaves the field as it is.
        steps: Who takes them; None for the compiled loops.
    """
    own_mm = float(np.cbrt(1000 * max(fixed.geometry.voxel_cc, moving.geometry.voxel_cc)))
    for level, part in _levels_on(field, affine, planned, own_mm):
        begun = DisplacementField(vectors_on((field,), part), part)
        found = _fitted(fixed, moving, affine, begun, level, steps or compiled_steps) - begun.vectors
        found *= border_weight(part, field.geometry, TAPER_WINDOWS * level.window_mm)
        vectors = vectors_on((field, DisplacementField(found, part)), field.geometry)
        field = DisplacementField(vectors, field.geometry)
    return field


def _levels_on(
    field: DisplacementField, affine: AffineTransform, planned: Box | None, own_mm: float
) -> list[tuple[Level, VolumeGeometry]]:
    """The levels with the part of the field's grid that each one fits."""
    levels: list[tuple[Level, VolumeGeometry]] = []
    for wanted in LEVELS:
        # What lies beyond has no part in any window on a planned ROI.
        part = part_around(planned, field, affine, CUT_OFF * wanted.window_mm)
        level = wanted.on(part, own_mm)
        if not levels or level.spacing_mm < FINER * levels[-1][0].spacing_mm:
            levels.append((level, part))
    if len(levels) == 1:
        level, part = levels[0]
        levels = [(level._replace(steps=STEPS_ALONE), part)]
    return levels


def _fitted(  # noqa: PLR0917
    fixed: Volume,
    moving: Volume,
    affine: AffineTransform,
    field: DisplacementField,
    level: Level,
    steps: NewtonSteps,
) -> DvfVoxels:
    grid = field.geometry.covering((level.spacing_mm,) * 3)
    blocks = grid.in_blocks(STRIDE)
    # Both grids reach a little beyond the field's, and each step at most one voxel farther.
    farthest_mm = (level.steps + level.more + 2 * STRIDE) * level.spacing_mm
    here = _soft(resample_reaching(fixed.coarsened(grid.spacing_mm, grid.box), grid))
    source = moving.coarsened(grid.spacing_mm, reached(affine, (field,), farthest_mm))
    found = steps(LevelStart(here, grid, source, affine, vectors_reaching(field, blocks), level))
    return vectors_reaching(DisplacementField(found, blocks), field.geometry)


def compiled_steps(start: LevelStart) -> DvfVoxels:
    """The shifts after the level's steps."""
    level, vectors, blocks = start.level, start.vectors, start.grid.in_blocks(STRIDE)
    spacing_mm = np.float32(level.spacing_mm)
    sums = np.empty((10, *blocks.shape), dtype=np.float32)
    step = np.empty((3, *blocks.shape), dtype=np.float32)
    for n in range(level.steps + level.more):
        so_far = DisplacementField(vectors_reaching(DisplacementField(vectors, blocks), start.grid), start.grid)
        there, seen = resample_deformed(start.source, so_far, affine=start.affine)
        _sum_up(start.here, _soft(there), seen, 1 / spacing_mm, sums)
        _solve(smooth(sums, level.window_blocks), spacing_mm, step)
        if n >= level.steps:
            step *= still_far(step)
        vectors = vectors + step
    return vectors


def still_far(step: DvfVoxels) -> FloatVoxels:
    """Weight (z, y, x) of steps (3, z, y, x): 0 for none, a half at `ARRIVED_MM`, towards 1 where they are long."""
    squared = np.square(step).sum(axis=0) ** 2
    weight: FloatVoxels = squared / (squared + np.float32(ARRIVED_MM**4))
    return weight


def _soft(hu: FloatVoxels) -> FloatVoxels:
    return np.clip(hu, np.float32(LOWER_HU), np.float32(UPPER_HU), out=hu)


@numba.njit(cache=True, parallel=True)
def _sum_up(fixed, moving, seen, per_mm, sums):  # type: ignore[no-untyped-def]
    """Per block: the six products of the mean gradient's components (xx, xy, xz, yy, yz, zz), and each one's with the
    difference, all weighted; then the mean difference. HU and millimetres."""
    depth, height, width = fixed.shape
    half, share = np.float32(0.25) * per_mm, np.float32(1 / STRIDE**3)
    softer = np.float32(1 / UNLIKE_HU**2)
    for kb in numba.prange(sums.shape[1]):
        # Loops of one row and one result each, which the compiler vectorises.
        gx, gy, gz = np.empty(width, np.float32), np.empty(width, np.float32), np.empty(width, np.float32)
        unlike, weight = np.empty(width, np.float32), np.empty(width, np.float32)
        there = np.empty(width, np.float32)
        lines = np.zeros((10, STRIDE * sums.shape[3]), np.float32)
        for jb in range(sums.shape[2]):
            lines[:] = 0
            for k in range(kb * STRIDE, min((kb + 1) * STRIDE, depth)):
                below, above = max(k - 1, 0), min(k + 1, depth - 1)
                for j in range(jb * STRIDE, min((jb + 1) * STRIDE, height)):
                    front, back = max(j - 1, 0), min(j + 1, height - 1)
                    a, b = fixed[k, j], moving[k, j]
                    there[:] = seen[k, j]
                    for rows in (fixed, moving):
                        _leave_out_gas(there, rows[k, j], rows[k, front], rows[k, back], rows[below, j], rows[above, j])
                    for i in range(width):
                        unlike[i] = b[i] - a[i]
                    for i in range(width):
                        weight[i] = there[i] * share / (np.float32(1) + unlike[i] * unlike[i] * softer)
                    gx[0] = gx[width - 1] = 0
                    for i in range(1, width - 1):
                        gx[i] = half * (a[i + 1] - a[i - 1] + b[i + 1] - b[i - 1])
                    _slope(gy, half, fixed[k, back], fixed[k, front], moving[k, back], moving[k, front])
                    _slope(gz, half, fixed[above, j], fixed[below, j], moving[above, j], moving[below, j])
                    _add(lines[0], weight, gx, gx)
                    _add(lines[1], weight, gx, gy)
                    _add(lines[2], weight, gx, gz)
                    _add(lines[3], weight, gy, gy)
                    _add(lines[4], weight, gy, gz)
                    _add(lines[5], weight, gz, gz)
                    _add(lines[6], weight, gx, unlike)
                    _add(lines[7], weight, gy, unlike)
                    _add(lines[8], weight, gz, unlike)
                    for i in range(width):
                        lines[9, i] += there[i] * share * unlike[i]
            for n in range(10):
                for ib in range(sums.shape[3]):
                    total = np.float32(0)
                    for i in range(ib * STRIDE, (ib + 1) * STRIDE):
                        total += lines[n, i]
                    sums[n, kb, jb, ib] = total


@numba.njit(cache=True)
def _leave_out_gas(there, row, front, back, below, above):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    """Zero where a voxel of the row or one of its face neighbours is as dark as soft tissue never is."""
    last, limit = there.size - 1, np.float32(LOWER_HU)
    for i in range(last + 1):
        darkest = min(front[i], back[i], below[i], above[i], row[i])
        there[i] *= darkest > limit
    for i in range(last):
        there[i] *= row[i + 1] > limit
        there[i + 1] *= row[i] > limit


@numba.njit(cache=True)
def _slope(out, half, fixed_behind, fixed_before, moving_behind, moving_before):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    for i in range(out.size):
        out[i] = half * (fixed_behind[i] - fixed_before[i] + moving_behind[i] - moving_before[i])


@numba.njit(cache=True)
def _add(line, weight, a, b):  # type: ignore[no-untyped-def]
    for i in range(weight.size):
        line[i] += weight[i] * a[i] * b[i]


@numba.njit(cache=True, parallel=True)
def _solve(sums, longest, step):  # type: ignore[no-untyped-def]
    """Shift (x, y, z) in millimetres per block, by Cramer's rule, each component at most `longest`."""
    _, depth, height, width = sums.shape
    ridge = np.float32(RIDGE)
    for k in numba.prange(depth):
        for j in range(height):
            for i in range(width):
                a, b, c = sums[0, k, j, i] + ridge, sums[1, k, j, i], sums[2, k, j, i]
                d, e, f = sums[3, k, j, i] + ridge, sums[4, k, j, i], sums[5, k, j, i] + ridge
                x, y, z = -sums[6, k, j, i], -sums[7, k, j, i], -sums[8, k, j, i]
                df, ce, be = d * f - e * e, c * e - b * f, b * e - c * d
                # The ridge keeps the determinant above its cube.
                scale = np.float32(1) / (a * df + b * ce + c * be)
                # A wall between the same tissues is brighter on one side of its place and darker on the other; where
                # the mean differs, the day changed the contents.
                changed = sums[9, k, j, i] * np.float32(1 / CHANGED_HU)
                scale /= np.float32(1) + changed * changed
                step[0, k, j, i] = scale * (df * x + ce * y + be * z)
                step[1, k, j, i] = scale * (ce * x + (a * f - c * c) * y + (b * c - a * e) * z)
                step[2, k, j, i] = scale * (be * x + (b * c - a * e) * y + (a * d - b * b) * z)
                for n in range(3):
                    step[n, k, j, i] = min(max(step[n, k, j, i], -longest), longest)
