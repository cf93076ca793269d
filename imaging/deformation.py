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
from imaging.displacement import least_determinant, taper_weight, tapered, to_daily, vectors_on
from imaging.findings import Finding, Verdict
from imaging.geometry import VolumeGeometry
from imaging.local_fit import fit_locally
from imaging.masks import PackedMasks, RoiPatch
from imaging.refinement import described_at
from imaging.refinement import refine as pull_together
from imaging.resampling import resample_deformed
from imaging.similarity import describe, local_distance
from imaging.smoothing import smooth
from imaging.transforms import AffineTransform, Deformation, DisplacementField
from imaging.volume import COMPARED_MM, Volume

GRID_MM = COMPARED_MM
ROI_MARGIN_MM = 20.0
"""Room around the planned ROIs that the refinement sees, because what lies beside an organ moves it."""
JUDGED_OVER_MM = 8.0
"""Standard deviation of the neighbourhood over which the steps are compared."""
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
        deformation: Affine, then the accepted part of the network's field, then the accepted correction.
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
        index = (np.argwhere(sampled) * strides + patch.lower)[:, ::-1].astype(np.float64)
        at = np.round(self.geometry.to_index(patch.geometry.to_lps(index))).astype(int)[:, ::-1]
        within = np.all((at >= 0) & (at < self.step.shape), axis=1)
        counts = np.bincount(self.step[tuple(at[within].T)], minlength=3)
        counts[0] += np.count_nonzero(~within)
        return _STEPS[int(np.argmax(counts))]


def choose_deformation(
    *,
    daily: Volume,
    planning: Volume,
    affine: AffineTransform,
    network: DisplacementField | None,
    refine: Literal["auto", "off"] = "auto",
    masks: Sequence[PackedMasks] | None = None,
) -> ChosenDeformation:
    """Put the deformation together, region by region.

    Args:
        daily: The fixed image.
        planning: The moving image.
        affine: From the daily to the planning patient.
        network: The network's field on the affinely aligned daily patient, or None.
        refine: 'off' leaves the refinement out.
        masks: Planned ROIs; the refinement works around them. None: over the whole daily scan.
    """
    grid = judged_grid(daily.geometry, masks, affine)
    judge = _Judge(daily.compared, planning.compared, affine, grid)
    findings: list[Finding] = []
    fields: list[DisplacementField] = []
    step = np.zeros(grid.shape, dtype=np.uint8)
    total = np.zeros((3, *grid.shape), dtype=np.float32)
    distance = judge.distance(total)
    determinant: FloatVoxels | None = None
    if network is not None:
        field, weight, least = _accepted_network(network, judge, distance, findings)
        if field is not None:
            determinant = least
            fields.append(field)
            total = vectors_on(fields, grid)
            distance = judge.distance(total)
            step[weight > 0.5] = 1
    if refine == "auto":
        pulled = pull_together(
            fixed=daily.compared, moving=planning.compared, affine=affine, grid=grid, start=total
        ).vectors
        fitted = fit_locally(fixed=daily, moving=planning, affine=affine, field=DisplacementField(pulled, grid)).vectors
        # Equal HU mean nothing where the day changed them: there the descriptors notice that the fit went astray.
        earned = _weight(judge.distance(pulled), judge.distance(fitted), gain=FIT_GAIN)
        pulled = pulled + (fitted - pulled) * earned
        correction, weight, least = _accepted_correction(
            (pulled - total) * _border(grid, daily.geometry), tuple(fields), judge, distance, findings
        )
        if correction is not None:
            fields.append(correction)
            determinant = least
            step[weight > 0.5] = 2
    return ChosenDeformation(Deformation(affine, tuple(fields)), tuple(findings), step, determinant, grid)


def judged_grid(daily: VolumeGeometry, masks: Sequence[PackedMasks] | None, affine: AffineTransform) -> VolumeGeometry:
    """The 4 mm grid over the planned ROIs with their margin, or over the whole daily scan."""
    lower, upper = np.array(daily.origin_mm), np.array(daily.last_mm)
    corners = [_corners(group) for group in masks or () if group.bits.any()]
    if corners:
        there = to_daily(Deformation(affine), np.concatenate(corners))
        hull_lower, hull_upper = there.min(axis=0) - ROI_MARGIN_MM, there.max(axis=0) + ROI_MARGIN_MM
        if np.all(np.maximum(lower, hull_lower) + GRID_MM < np.minimum(upper, hull_upper)):
            lower, upper = np.maximum(lower, hull_lower), np.minimum(upper, hull_upper)
    x, y, z = (int(n) for n in np.ceil((upper - lower) / GRID_MM) + 1)
    x0, y0, z0 = (float(v) for v in lower)
    return VolumeGeometry((z, y, x), (x0, y0, z0), (GRID_MM,) * 3)


def _corners(group: PackedMasks) -> NDArray[np.float64]:
    """The eight corners (8, 3) in millimetres of the box that holds every ROI of a group."""
    spans = [np.flatnonzero(group.bits.any(axis=axes))[[0, -1]] for axes in ((0, 1), (0, 2), (1, 2))]
    corners = np.stack(np.meshgrid(*spans), axis=-1).reshape(-1, 3)
    return group.geometry.to_lps(corners.astype(np.float64))


def _border(grid: VolumeGeometry, daily: VolumeGeometry) -> FloatVoxels:
    """Weight (z, y, x) that falls to zero where the grid ends inside the daily scan, and not where the scan ends."""
    reach = int(np.ceil(TAPER_MM / GRID_MM)) + 1
    lower = [reach * (first <= edge + GRID_MM) for first, edge in zip(grid.origin_mm, daily.origin_mm, strict=True)]
    upper = [reach * (last >= edge - GRID_MM) for last, edge in zip(grid.last_mm, daily.last_mm, strict=True)]
    z, y, x = grid.shape
    wider = grid.cropped((-lower[2], -lower[1], -lower[0]), (z + upper[2], y + upper[1], x + upper[0]))
    weight = taper_weight(wider, TAPER_MM)
    return weight[lower[2] : lower[2] + z, lower[1] : lower[1] + y, lower[0] : lower[0] + x]


class _Judge:
    """Local distance of the fixed image and the moving image under a field."""

    def __init__(self, fixed: Volume, moving: Volume, affine: AffineTransform, grid: VolumeGeometry) -> None:
        self.grid, self.moving, self.affine = grid, moving, affine
        self.described = described_at(fixed, grid)

    def distance(self, vectors: DvfVoxels) -> FloatVoxels:
        """Mean share of unequal bits around each voxel of the grid."""
        hu, seen = resample_deformed(self.moving, DisplacementField(vectors, self.grid), affine=self.affine)
        return local_distance(self.described, describe(hu), seen, sigma_voxels=JUDGED_OVER_MM / GRID_MM)


def _weight(before: FloatVoxels, after: FloatVoxels, *, gain: float) -> FloatVoxels:
    """Smooth weight in [0, 1]: a half where `after` is better by `gain`, one or zero `GAIN_WIDTH` away from it."""
    hard = np.clip(0.5 + 0.5 * (before - after - gain) / GAIN_WIDTH, 0.0, 1.0)
    return smooth(hard[None].astype(np.float32), JUDGED_OVER_MM / GRID_MM)[0]


def _accepted_network(
    network: DisplacementField, judge: _Judge, distance: FloatVoxels, findings: list[Finding]
) -> tuple[DisplacementField | None, FloatVoxels, FloatVoxels]:
    """The network's field times the weight that it earns, on its own grid; weight and determinant on the judged one."""
    grid = judge.grid
    bounded = tapered(network, TAPER_MM)
    offered = vectors_on((bounded,), grid)
    region = vectors_on((DisplacementField(np.ones_like(network.vectors), network.geometry),), grid)[0]
    weight = _weight(distance, judge.distance(offered), gain=NETWORK_GAIN) * region
    field, weight, least, folded = _unfolded_network(bounded, weight, grid)
    _state(findings, "network", weight, region > 0.5, folded)
    return (field if np.any(weight > 0.5) else None), weight, least


def _accepted_correction(
    correction: DvfVoxels,
    under: tuple[DisplacementField, ...],
    judge: _Judge,
    distance: FloatVoxels,
    findings: list[Finding],
) -> tuple[DisplacementField | None, FloatVoxels, FloatVoxels]:
    """The refinement's correction times the weight that it earns, without folds; the weight; the determinant."""
    grid = judge.grid
    weight = _weight(distance, judge.distance(vectors_on(under, grid) + correction), gain=REFINEMENT_GAIN)
    vectors, least, folded = unfolded(correction * weight, under, grid)
    _state(findings, "refinement", weight, np.ones(grid.shape, dtype=np.bool_), folded)
    return (DisplacementField(vectors, grid) if np.any(weight > 0.5) else None), weight, least


def unfolded(
    vectors: DvfVoxels, under: tuple[DisplacementField, ...], grid: VolumeGeometry
) -> tuple[DvfVoxels, FloatVoxels, float]:
    """`vectors` smoothed where their sum with the fields `under` them folds, wider each time until it does not.

    From the fifth time on they are weakened too, because what is under them may leave no room.

    Returns:
        The vectors, zeros where that does not help; the least determinant of the sum; the share that folded.
    """
    share = 0.0
    for attempt in range(10):
        least = least_determinant((*under, DisplacementField(vectors, grid)), grid)
        bad = least < LEAST_JACOBIAN
        share = share if attempt else float(bad.mean())
        if not bad.any():
            return vectors, least, share
        reach = 1.0 + 0.5 * attempt
        blend = _around(bad, reach, 4.0)
        vectors = vectors + blend * (smooth(vectors, reach) - vectors)
        if attempt >= 4:
            vectors = vectors * (1 - blend)
    nothing = np.zeros_like(vectors)
    return nothing, least_determinant(under, grid), share


def _unfolded_network(
    field: DisplacementField, weight: FloatVoxels, grid: VolumeGeometry
) -> tuple[DisplacementField, FloatVoxels, FloatVoxels, float]:
    """The field times a weight under which it does not fold.

    Returns:
        The field on its own grid; the weight and the least determinant on the judged grid; the share that would fold.
    """
    share = 0.0
    for attempt in range(8):
        weighted = _weighted(field, weight, grid)
        least = least_determinant((weighted,), grid)
        bad = least < LEAST_JACOBIAN
        share = share if attempt else float(bad.mean())
        if not bad.any():
            return weighted, weight, least, share
        # A lone fold must lose its weight within a few attempts, or all of the network is lost with it.
        weight = weight * (1 - _around(bad, 3.0 + attempt, 4.0 * 2**attempt))
    nothing = DisplacementField(np.zeros_like(field.vectors), field.geometry)
    return nothing, np.zeros_like(weight), np.ones_like(weight), share


def _weighted(field: DisplacementField, weight: FloatVoxels, grid: VolumeGeometry) -> DisplacementField:
    """A field on its own grid times a weight on another."""
    # The weight is a field of its own that travels to the network's grid like any other.
    on_grid = DisplacementField(np.repeat(weight[None], 3, axis=0), grid)
    return DisplacementField(field.vectors * vectors_on((on_grid,), field.geometry), field.geometry)


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
