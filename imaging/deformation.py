"""Which step carries which place: affine, network, refinement, each used only where it helps.

All three are judged by the same local similarity (see `similarity`), averaged over about the size of an organ's wall.
The network's field is taken where it lowers the local distance of the images against the affine alone; the refinement
starts from there and is kept where it does not raise it again. The weights change smoothly from place to place, and a
weighted field that folds is smoothed until it does not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from imaging.arrays import DvfVoxels, FloatVoxels, MaskVoxels
from imaging.displacement import (
    border_weight,
    jacobian_determinant,
    least_determinant,
    part_around,
    to_daily,
    vectors_on,
    vectors_reaching,
)
from imaging.findings import Finding, Verdict
from imaging.geometry import Box, VolumeGeometry, bounds
from imaging.judge import JUDGED_OVER_MM, ComparedPair, Judge, fine_judge_of, judge_of
from imaging.local_fit import NewtonSteps, fit_locally
from imaging.masks import PackedMasks, RoiPatch
from imaging.refinement import refine as pull_together
from imaging.smoothing import CUT_OFF, smooth
from imaging.transforms import AffineTransform, Deformation, DisplacementField
from imaging.volume import COMPARED_MM, Volume

GRID_MM = COMPARED_MM
ROI_MARGIN_MM = 36.0
"""Room around the planned ROIs that the refinement sees: what lies beside an organ moves it, and a bladder that fills
ends where the plan had bowel."""
LEAST_JACOBIAN = 0.1
NETWORK_GAIN, REFINEMENT_GAIN, FIT_GAIN, GAIN_WIDTH = 0.005, -0.01, 0.0, 0.01
"""The network must lower the share of unequal bits by this much; the refinement may not raise it by more."""
TAPER_MM = 10.0
REFUSED_LIMIT_PERCENT = 50.0

Step = Literal["affine", "network", "refinement"]
_STEPS: tuple[Step, ...] = ("affine", "network", "refinement")


@dataclass(frozen=True, eq=False)
class ChosenDeformation:
    """The deformation with its reasons.

    Attributes:
        deformation: Affine, then one field: what is accepted of the network's and of the refinement's correction to it.
        findings: What was not used, or smoothed, and how much of the judged space that concerns.
        step: (z, y, x) uint8 on `geometry`: 0 affine, 1 network, 2 refinement.
        determinant: (z, y, x) smallest local change of volume around the points of `geometry`; None for the affine.
        geometry: The coarse grid of `step` and `determinant`.
    """

    deformation: Deformation
    findings: tuple[Finding, ...]
    step: NDArray[np.uint8]
    determinant: FloatVoxels | None
    geometry: VolumeGeometry

    def carried_by(self, patch: RoiPatch) -> Step:
        """The step that carries most of an ROI; places beyond the judged grid are carried by the affine."""
        # A voxel per place of the judged grid is enough for a majority, unless the ROI is smaller than its steps.
        strides = [max(1, int(GRID_MM / spacing)) for spacing in patch.geometry.spacing_mm[::-1]]
        sampled = patch.inside[tuple(slice(None, None, stride) for stride in strides)] >= 0.5
        if not sampled.any():
            strides, sampled = [1, 1, 1], patch.inside >= 0.5
        places, judged = [], sampled
        for axis, stride in enumerate(strides):
            own, grid = patch.geometry, self.geometry
            voxels = patch.lower[axis] + stride * np.arange(sampled.shape[axis])
            mm = own.origin_mm[2 - axis] + own.spacing_mm[2 - axis] * voxels
            at = np.rint((mm - grid.origin_mm[2 - axis]) / grid.spacing_mm[2 - axis]).astype(int)
            within = (at >= 0) & (at < grid.shape[axis])
            places.append(at[within])
            judged = judged.compress(within, axis=axis)
        counts = np.bincount(self.step[np.ix_(*places)][judged], minlength=3)
        counts[0] += np.count_nonzero(sampled) - np.count_nonzero(judged)
        return _STEPS[int(np.argmax(counts))]


def choose_deformation(
    *,
    daily: Volume,
    planning: Volume,
    affine: AffineTransform,
    network: DisplacementField | None,
    refine: Literal["auto", "off"] = "auto",
    masks: Sequence[PackedMasks] | None = None,
    newton_steps: NewtonSteps | None = None,
) -> ChosenDeformation:
    """Put the deformation together, region by region.

    Args:
        daily: The fixed image.
        planning: The moving image.
        affine: From the daily to the planning patient.
        network: The network's field on the affinely aligned daily patient, or None.
        refine: 'off' leaves the refinement out.
        masks: Planned ROIs; the refinement works around them. None: over the whole daily scan.
        newton_steps: Who takes the last steps of the refinement; None for the compiled loops.
    """
    planned = planned_box(masks or ())
    grid = judged_grid(daily.geometry, planned, affine)
    pair = ComparedPair.of(daily.compared, planning.compared)
    judge = judge_of(pair, affine, grid)
    findings: list[Finding] = []
    step = np.zeros(grid.shape, dtype=np.uint8)
    total = np.zeros((3, *grid.shape), dtype=np.float32)
    determinant: FloatVoxels | None = None
    distance = judge.distance(total)
    if network is not None:
        accepted = _accepted_network(network, judge, distance, findings)
        if accepted is not None:
            total, determinant = accepted.vectors, accepted.determinant
            step[accepted.weight > 0.5] = 1
            distance = judge.distance(total)
    if refine == "auto":
        refined = _refined(
            daily=daily,
            planning=planning,
            pair=pair,
            affine=affine,
            field=DisplacementField(total, grid),
            planned=planned,
            newton_steps=newton_steps,
        )
        accepted = _accepted_correction(refined - total, total, judge, distance, findings)
        if accepted is not None:
            total, determinant = accepted.vectors, accepted.determinant
            step[accepted.weight > 0.5] = 2
    fields = () if determinant is None else (DisplacementField(total, grid),)
    return ChosenDeformation(Deformation(affine, fields), tuple(findings), step, determinant, grid)


def _refined(
    *,
    daily: Volume,
    planning: Volume,
    pair: ComparedPair,
    affine: AffineTransform,
    field: DisplacementField,
    planned: Box | None,
    newton_steps: NewtonSteps | None,
) -> DvfVoxels:
    """The refinement's whole field from `field` on, without a step where the grid ends inside the daily scan."""
    start, grid = field.vectors, field.geometry
    # At its own points a search makes the images more alike than between them, and would be preferred to the fit.
    x, y, z = (mm + GRID_MM / 2 for mm in grid.origin_mm)
    beside = VolumeGeometry(grid.shape, (x, y, z), grid.spacing_mm)
    begun = _moved_over(start, grid, beside)
    found = pull_together(fixed=pair.fixed, moving=pair.moving, affine=affine, grid=beside, start=begun)
    pulled = _moved_over(found.vectors, beside, grid)
    searched = DisplacementField(pulled, grid)
    fitted = fit_locally(
        fixed=daily, moving=planning, affine=affine, field=searched, planned=planned, steps=newton_steps
    ).vectors
    # Equal HU mean nothing where the day changed them: there the descriptors notice that the fit went astray.
    part = part_around(planned, searched, affine, CUT_OFF * JUDGED_OVER_MM)
    both = [DisplacementField(vectors_on((DisplacementField(v, grid),), part), part) for v in (pulled, fitted)]
    judge = fine_judge_of(daily, planning, pair, affine, both)
    before, after = (judge.distance(_moved_over(field.vectors, part, judge.grid)) for field in both)
    lowered = _moved_over(np.stack([before - after] * 3), judge.grid, grid)[0]
    earned = _weight(lowered, gain=FIT_GAIN)
    refined = pulled + (fitted - pulled) * earned
    return start + (refined - start) * border_weight(grid, daily.geometry, TAPER_MM)


def _moved_over(vectors: DvfVoxels, grid: VolumeGeometry, target: VolumeGeometry) -> DvfVoxels:
    """The same field on a grid that reaches less than a voxel farther."""
    return vectors_reaching(DisplacementField(vectors, grid), target)


def judged_grid(daily: VolumeGeometry, planned: Box | None, affine: AffineTransform) -> VolumeGeometry:
    """The 4 mm grid over a box of the planning patient with its margin, or over the whole daily scan."""
    lower, upper = np.array(daily.origin_mm), np.array(daily.last_mm)
    if planned is not None:
        spans = np.stack(planned, axis=1)
        hull = bounds(to_daily(Deformation(affine), np.stack(np.meshgrid(*spans), axis=-1).reshape(-1, 3)))
        hull_lower, hull_upper = hull[0] - ROI_MARGIN_MM, hull[1] + ROI_MARGIN_MM
        if np.all(np.maximum(lower, hull_lower) + GRID_MM < np.minimum(upper, hull_upper)):
            lower, upper = np.maximum(lower, hull_lower), np.minimum(upper, hull_upper)
    x, y, z = (int(n) for n in np.ceil((upper - lower) / GRID_MM) + 1)
    x0, y0, z0 = (float(v) for v in lower)
    return VolumeGeometry((z, y, x), (x0, y0, z0), (GRID_MM,) * 3)


def planned_box(masks: Sequence[PackedMasks]) -> Box | None:
    """The box of the planning patient that holds all planned ROIs; None if all are empty."""
    ends = [group.geometry.to_lps(np.array(box)[:, ::-1]) for group in masks if (box := group.box)]
    return bounds(np.concatenate(ends)) if ends else None


def _weight(lowered: FloatVoxels, *, gain: float) -> FloatVoxels:
    """Smooth weight in [0, 1]: a half where the distance was lowered by `gain`, one or zero `GAIN_WIDTH` from there."""
    hard = np.clip(0.5 + 0.5 * (lowered - gain) / GAIN_WIDTH, 0.0, 1.0)
    return smooth(hard[None].astype(np.float32), JUDGED_OVER_MM / GRID_MM)[0]


@dataclass(frozen=True, eq=False)
class _Accepted:
    """What a step leaves of the field: all of it so far, the weight that the step earned, and the determinant."""

    vectors: DvfVoxels
    weight: FloatVoxels
    determinant: FloatVoxels


def _accepted_network(
    network: DisplacementField, judge: Judge, distance: FloatVoxels, findings: list[Finding]
) -> _Accepted | None:
    """The network's field on the judged grid times the weight that it earns; None where that is nothing."""
    within = _within(network.geometry, judge.grid)
    offered = vectors_on((network,), judge.grid) * within
    weight = _weight(distance - judge.distance(offered), gain=NETWORK_GAIN) * (within > 0)
    vectors, least, folded = unfolded(offered * weight, judge.grid)
    # What folds between the points of the judged grid is gone on it, but the network did it.
    finer = least_determinant((network,), judge.grid) < LEAST_JACOBIAN
    _state(findings, "network", weight, within > 0.5, max(folded, float(finer.mean())))
    return _Accepted(vectors, weight, least) if np.any(weight > 0.5) else None


def _accepted_correction(
    correction: DvfVoxels, under: DvfVoxels, judge: Judge, distance: FloatVoxels, findings: list[Finding]
) -> _Accepted | None:
    """The field with the refinement's correction times the weight that it earns, without folds."""
    weight = _weight(distance - judge.distance(under + correction), gain=REFINEMENT_GAIN)
    vectors, least, folded = unfolded(under + correction * weight, judge.grid)
    _state(findings, "refinement", weight, np.ones(judge.grid.shape, dtype=np.bool_), folded)
    return _Accepted(vectors, weight, least) if np.any(weight > 0.5) else None


def _within(region: VolumeGeometry, grid: VolumeGeometry) -> FloatVoxels:
    """Weight (z, y, x) on `grid`: 1 well inside `region`, falling to 0 at its outer voxels."""
    weight = np.ones(grid.shape, dtype=np.float32)
    for axis, component in enumerate("zyx"):
        position, ends = grid.axis_mm(component), region.axis_mm(component)[[0, -1]]
        ramp = np.clip(np.minimum(position - ends[0], ends[1] - position) / TAPER_MM, 0.0, 1.0)
        weight *= np.expand_dims(ramp, [other for other in range(3) if other != axis]).astype(np.float32)
    return weight


def unfolded(vectors: DvfVoxels, grid: VolumeGeometry) -> tuple[DvfVoxels, FloatVoxels, float]:
    """A field smoothed where it folds, wider each time until it does not; from the ninth time on it is weakened too.

    Returns:
        The field, zeros where that does not help; its determinant; the share that folded.
    """
    share = 0.0
    for attempt in range(16):
        least = jacobian_determinant(DisplacementField(vectors, grid))
        bad = least < LEAST_JACOBIAN
        share = share if attempt else float(bad.mean())
        if not bad.any():
            return vectors, least, share
        reach = 0.6 + 0.2 * attempt
        blend = _around(bad, reach, 4.0)
        vectors = vectors + blend * (smooth(vectors, reach) - vectors)
        if attempt >= 8:
            vectors = vectors * (1 - blend)
    return np.zeros_like(vectors), np.ones_like(least), share


def _around(bad: MaskVoxels, reach: float, gain: float) -> FloatVoxels:
    """Smooth weight from 1 among many bad voxels to 0 far from them."""
    near = smooth(bad[None].astype(np.float32), reach)[0]
    around: FloatVoxels = np.clip(near * np.float32(gain * reach**3), 0, 1)
    return around


def _state(findings: list[Finding], step: str, weight: FloatVoxels, where: MaskVoxels, folded: float) -> None:
    refused = 100.0 * float(np.mean(weight[where] <= 0.5)) if where.any() else 100.0
    verdict = Verdict.REVIEW if refused > REFUSED_LIMIT_PERCENT else Verdict.PASS
    findings.append(
        Finding(
            f"{step}-not-used",
            verdict,
            f"In {refused:.0f} % of its space the {step} did not make the images more alike and was left out.",
            refused,
            REFUSED_LIMIT_PERCENT,
            "%",
        )
    )
    if folded > 0:
        findings.append(
            Finding(
                "folding-removed",
                Verdict.REVIEW if folded > 0.01 else Verdict.PASS,
                f"The {step} folded {100 * folded:.2f} % of its voxels; it was weakened there until it did not.",
                100 * folded,
                1.0,
                "%",
            )
        )
