"""The affine from the fixed (daily) to the moving (planning) patient, with its own success test.

A robust Gauss-Newton (see `affine_fit`) on picked points of 8 mm and then 4 mm block means. Several starts are
screened, because scans cover unequal parts of the patient and frames of reference may have nothing to do with each
other. Where the result fails the test, SimpleITK is asked; where that fails too, the case is refused.
`bench/alignment.py` measures both side by side.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from imaging.affine_fit import PickedPoints, correlation, gauss_newton, look
from imaging.alignment_simpleitk import affine_by_simpleitk
from imaging.arrays import MaskVoxels, Points
from imaging.errors import RegistrationRejected
from imaging.geometry import VolumeGeometry
from imaging.transforms import AffineTransform
from imaging.volume import Volume

_CROSS = np.array([[[0, 0, 0]] * 3, [[0, 1, 0], [1, 1, 1], [0, 1, 0]], [[0, 0, 0]] * 3], bool)
_SQUARE = np.ones((1, 3, 3), bool)
COARSE_MM = 8.0
LOWER_HU, UPPER_HU = -400, 400
BODY_HU = -350
SCREEN_STEP_MM = 16.0


@dataclass(frozen=True)
class AlignmentLimits:
    """What an affine must keep to be used; see docs/hazards for why.

    Attributes:
        overlap: Least Dice of the two bodies where both scans look.
        scale: Largest difference of the scale from 1, per axis.
        shear: Largest shear between two axes.
        rotation_deg: Largest angle of rotation.
        translation_mm: Largest shift of the body's centre, from where it lies or from body centre on body centre.
        determinant: Least and largest change of volume.
        correlation: Least correlation of the two images in the body.
        correlation_drop: How much less than the identity it may correlate. Up to here the identity is taken instead:
            the patient lies as planned and the rest is noise; beyond it the search went astray.
    """

    overlap: float = 0.80
    scale: float = 0.10
    shear: float = 0.05
    rotation_deg: float = 15.0
    translation_mm: float = 150.0
    determinant: tuple[float, float] = (0.8, 1.25)
    correlation: float = 0.5
    correlation_drop: float = 0.01


@dataclass(frozen=True)
class AlignmentReport:
    """The numbers of one affine, named as in `AlignmentLimits`.

    Attributes:
        scale: Scale along x, y, z.
        shear: Largest absolute shear.
        correlation: Correlation of clipped HU at points of the fixed body.
        correlation_of_identity: The same before any alignment; -1 where the scans do not meet.
        seen: Part of the fixed body that the moving scan covers.
    """

    overlap: float
    scale: tuple[float, float, float]
    shear: float
    rotation_deg: float
    translation_mm: float
    determinant: float
    correlation: float
    correlation_of_identity: float
    seen: float


@dataclass(frozen=True, eq=False)
class _Level:
    """One CT as block means, with its body."""

    volume: Volume
    body: MaskVoxels

    @property
    def geometry(self) -> VolumeGeometry:
        return self.volume.geometry

    @cached_property
    def near(self) -> tuple[NDArray[np.intp], ...]:
        """Indices (k, j, i) of the voxels of the body and of those beside it in their plane."""
        return np.nonzero(ndimage.binary_dilation(self.body, _SQUARE))

    @cached_property
    def centre_mm(self) -> Points:
        """Mean of the body's voxel centres, (3,)."""
        return self.geometry.to_lps(np.array([np.mean(np.nonzero(self.body), axis=1)[::-1]]))[0]


def align(*, fixed: Volume, moving: Volume, limits: AlignmentLimits | None = None) -> AffineTransform:
    """The affine that carries points of the fixed patient to the moving one.

    Args:
        fixed: The daily CT.
        moving: The planning CT.
        limits: What the result must keep.

    Raises:
        RegistrationRejected: The affine breaks a limit, or no body was found; facts hold every number.
    """
    return align_with_report(fixed=fixed, moving=moving, limits=limits)[0]


def align_with_report(
    *, fixed: Volume, moving: Volume, limits: AlignmentLimits | None = None
) -> tuple[AffineTransform, AlignmentReport]:
    """`align`, with the numbers of its success test. Raises as `align`."""
    (fixed_fine, fixed_volume), (moving_fine, moving_volume) = (_pyramid(volume) for volume in (fixed, moving))
    rng = np.random.default_rng(1)
    with ThreadPoolExecutor(2) as pool:
        moving_soon = pool.submit(_level, moving_volume)
        fixed_coarse = _level(fixed_volume)
        screened = _pick(fixed_coarse, 3000, rng, by_gradient=False)
        moving_coarse = moving_soon.result()
        starts_soon = pool.submit(_starts, fixed_coarse, moving_coarse, screened)
        picked = _pick(fixed_coarse, 3000, rng)
        # Edges find the way; the whole body, not its sharpest bones, says where the patient lies.
        points = _pick(fixed_coarse, 12000, rng, source=fixed_fine, by_gradient=False)
        starts = starts_soon.result()
        tried = list(pool.map(lambda start: gauss_newton(start, picked, moving_coarse.volume, steps=15), starts))
    best = max(tried, key=lambda matrix: correlation(matrix, screened, moving_coarse.volume)[0])
    limits = limits or AlignmentLimits()
    levels = fixed_coarse, moving_coarse
    affine, report = _settled(gauss_newton(best, points, moving_fine, steps=10), levels, screened, limits=limits)
    broken = _broken(report, limits)
    if broken:
        # SimpleITK raises where the scans do not meet or hold too little; the first result then stays the answer.
        with suppress(RuntimeError):
            second = affine_by_simpleitk(
                fixed=(fixed_coarse.volume, fixed_fine), moving=(moving_coarse.volume, moving_fine), start=starts[1]
            )
            affine, report = _settled(second, levels, screened, limits=limits)
            broken = _broken(report, limits)
    if broken:
        raise RegistrationRejected(
            f"The daily CT could not be aligned to the planning CT: {'; '.join(broken)}. Check that both scans show "
            "the same patient, position and body region, then contour by hand.",
            **asdict(report),
        )
    return affine, report


def _pyramid(volume: Volume) -> tuple[Volume, Volume]:
    """Block means, fine and coarse, clipped to the HU that are compared."""
    return _clipped(volume.compared), _clipped(volume.compared.coarsened((COARSE_MM,) * 3))


def _clipped(volume: Volume) -> Volume:
    return Volume(np.clip(volume.hu, LOWER_HU, UPPER_HU), volume.geometry)


def _level(coarse: Volume) -> _Level:
    return _Level(coarse, _body(coarse))


def _body(coarse: Volume) -> MaskVoxels:
    """The patient without the couch, filled plane by plane."""
    dense = coarse.hu > BODY_HU
    core = ndimage.binary_erosion(dense, _SQUARE)
    labels, count = ndimage.label(core)
    if count == 0:
        raise RegistrationRejected(
            "No body was found in one of the CTs; check that the series shows the patient.",
            dense_fraction=float(dense.mean()),
        )
    largest = labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
    body = ndimage.binary_dilation(largest, _SQUARE) & dense
    outside, _ = ndimage.label(~np.pad(body, ((0, 0), (1, 1), (1, 1))), _CROSS)
    return ~np.isin(outside, np.unique(outside[:, 0, 0]))[:, 1:-1, 1:-1]


def _pick(
    level: _Level, count: int, rng: np.random.Generator, *, source: Volume | None = None, by_gradient: bool = True
) -> PickedPoints:
    """Points in the body, where the block means change most; value and gradient there are those of `source`."""
    k, j, i = level.near
    weight = np.ones(k.size)
    if by_gradient:
        spacing = level.geometry.spacing_mm
        hu = level.volume.hu.astype(np.float32)
        parts = [np.gradient(hu, spacing[2 - axis], axis=axis) for axis in range(3) if hu.shape[axis] > 1]
        weight = np.sqrt(sum(part[k, j, i].astype(np.float64) ** 2 for part in parts)) + 1e-6
    chosen = rng.choice(k.size, count, p=weight / weight.sum())
    index = np.stack([i[chosen], j[chosen], k[chosen]], axis=1) + rng.uniform(-0.5, 0.5, (count, 3))
    mm = level.geometry.to_lps(index)
    value, gradient, _ = look(np.eye(4), mm, source or level.volume)
    return PickedPoints(mm, value, gradient)


def _starts(fixed: _Level, moving: _Level, points: PickedPoints) -> list[NDArray[np.float64]]:
    """Identity, body centre on body centre, and the best shifts along z of the latter."""
    shift = moving.centre_mm - fixed.centre_mm
    reach = (fixed.geometry.size_mm[2] + moving.geometry.size_mm[2]) / 2
    middle = moving.geometry.centre_mm[2] - fixed.geometry.centre_mm[2]
    along_z = [np.array([shift[0], shift[1], z]) for z in np.arange(middle - reach, middle + reach + 1, SCREEN_STEP_MM)]
    scored = sorted(along_z, key=lambda s: correlation(_translation(s), points, moving.volume)[0], reverse=True)
    return [_translation(s) for s in (np.zeros(3), shift, *scored[:2])]


def _translation(shift: Points) -> NDArray[np.float64]:
    matrix = np.eye(4)
    matrix[:3, 3] = shift
    return matrix


def _settled(
    matrix: NDArray[np.float64], levels: tuple[_Level, _Level], points: PickedPoints, *, limits: AlignmentLimits
) -> tuple[AffineTransform, AlignmentReport]:
    """The affine with its report, or the identity where that is at least as good; `levels` are fixed and moving."""
    affine = AffineTransform(matrix)
    report = _report(affine, *levels, points)
    if 0 < report.correlation_of_identity - report.correlation <= limits.correlation_drop:
        affine = AffineTransform.identity()
        report = _report(affine, *levels, points)
    return affine, report


def _report(affine: AffineTransform, fixed: _Level, moving: _Level, points: PickedPoints) -> AlignmentReport:
    linear = affine.matrix[:3, :3]
    left, singular, right = np.linalg.svd(linear)
    rotation = left @ np.diag([1, 1, np.linalg.det(left @ right)]) @ right
    stretch = rotation.T @ linear
    alike, seen = correlation(affine.matrix, points, moving.volume)
    centre = fixed.centre_mm
    shift = affine.to_moving(centre[None])[0] - centre
    between_centres = moving.centre_mm - centre
    return AlignmentReport(
        overlap=_overlap(affine, fixed, moving),
        scale=(float(stretch[0, 0]), float(stretch[1, 1]), float(stretch[2, 2])),
        shear=float(np.abs(stretch - np.diag(np.diag(stretch))).max()),
        rotation_deg=float(np.degrees(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1)))),
        translation_mm=float(min(np.linalg.norm(shift), np.linalg.norm(shift - between_centres))),
        determinant=float(np.prod(singular) * np.sign(np.linalg.det(linear))),
        correlation=alike,
        correlation_of_identity=correlation(np.eye(4), points, moving.volume)[0],
        seen=seen,
    )


def _overlap(affine: AffineTransform, fixed: _Level, moving: _Level) -> float:
    """Dice of the bodies where the moving scan sees, at every second voxel along each axis."""
    k, j, i = np.indices(tuple((n + 1) // 2 for n in fixed.body.shape)).reshape(3, -1) * 2
    index = moving.geometry.to_index(affine.to_moving(fixed.geometry.to_lps(np.stack([i, j, k], axis=1))))
    nearest = np.round(index).astype(int)[:, ::-1]
    seen = np.all((nearest >= 0) & (nearest < moving.body.shape), axis=1)
    there = moving.body[tuple(nearest[seen].T)]
    here = fixed.body[k, j, i][seen]
    total = int(here.sum() + there.sum())
    return 2.0 * float((here & there).sum()) / total if total else 0.0


def _broken(report: AlignmentReport, limits: AlignmentLimits) -> list[str]:
    """What the affine does not keep, in words."""
    low, high = limits.determinant
    worst_scale = max(abs(s - 1) for s in report.scale)
    checks = {
        f"the bodies overlap by {report.overlap:.2f} (at least {limits.overlap})": report.overlap >= limits.overlap,
        f"the scale differs by {worst_scale:.3f} (at most {limits.scale})": worst_scale <= limits.scale,
        f"the shear is {report.shear:.3f} (at most {limits.shear})": report.shear <= limits.shear,
        f"the rotation is {report.rotation_deg:.1f} deg (at most {limits.rotation_deg})": (
            report.rotation_deg <= limits.rotation_deg
        ),
        f"the shift is {report.translation_mm:.0f} mm (at most {limits.translation_mm:.0f})": (
            report.translation_mm <= limits.translation_mm
        ),
        f"the volume changes by {report.determinant:.2f} ({low} to {high})": low <= report.determinant <= high,
        f"the images correlate by {report.correlation:.2f} (at least {limits.correlation})": (
            report.correlation >= limits.correlation
        ),
        f"the correlation fell from {report.correlation_of_identity:.3f} to {report.correlation:.3f} "
        f"(by {limits.correlation_drop} at most)": (
            report.correlation >= report.correlation_of_identity - limits.correlation_drop
        ),
    }
    return [text for text, kept in checks.items() if not kept]
