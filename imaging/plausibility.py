"""Would a physicist believe this contour? Every ROI against every check, each with its number, limit and verdict.

A verdict never withholds a contour: it tells where to look first. The limits are those of the project's hazard
analysis or, where marked, our own; a department replaces them by a JSON file of its own.
"""

import math
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from imaging.arrays import FloatVoxels, MaskVoxels, Points
from imaging.findings import Finding, Verdict, graded
from imaging.geometry import VolumeGeometry
from imaging.laterality import Midlines, carried_side, planned_side
from imaging.masks import RoiPatch
from imaging.measures import MeasuredPatch, RoiMeasure, on_common_box
from imaging.metrics import SurfaceDistances, dice, surface_distances
from imaging.plausibility_limits import PlausibilityLimits
from imaging.structures import OUTLINE_NAMES
from imaging.transforms import AffineTransform

AGREEMENT_MM = 2.0
"""The distance of the two paths is measured on voxels of at most this size."""


def assess(
    planned: Mapping[int, RoiMeasure],
    propagated: Mapping[int, MeasuredPatch],
    *,
    segmented: Mapping[int, MeasuredPatch],
    names: Mapping[int, str],
    daily: VolumeGeometry,
    affine: AffineTransform,
    jacobian: tuple[FloatVoxels, VolumeGeometry] | None = None,
    external: Collection[int] = (),
    known_to_model: Collection[int] = (),
    midline_mm: tuple[float, float] | None = None,
    limits: PlausibilityLimits | None = None,
) -> tuple[Finding, ...]:
    """Hold every ROI of the plan against every check that applies to it; checks that pass are reported too.

    The body outline is judged on emptiness and on the lateral edges of the scan alone: it is drawn anew, ends where
    the scan ends and holds gas and couch that no deformation follows.

    Args:
        planned: Measures of the planned ROIs that were asked for, in the planning patient.
        propagated: Propagated ROIs on the daily grid; one that came back empty may be absent.
        segmented: Segmented organs on the daily grid.
        names: ROI names of the plan, read for a side only and never repeated.
        daily: Grid of the daily CT.
        affine: From the daily to the planning patient.
        jacobian: Determinant of the daily-to-planning deformation on a daily grid, or None if there is no field.
        external: Numbers of the body outlines.
        known_to_model: Numbers that the network should have segmented; one that is not in `segmented` fails.
        midline_mm: x of the body's midline in plan and daily CT where no body outline tells it.
        limits: Where review and fail begin; the defaults if None.

    Returns:
        Findings in the order of `planned`, one per ROI and check, propagated checks before segmented ones.
    """
    now = {number: found.measure for number, found in propagated.items()}
    seen = {number: found.measure for number, found in segmented.items()}
    patches = {number: found.patch for number, found in propagated.items()}
    outlines = [*external, *(number for number in planned if names.get(number, "").strip().casefold() in OUTLINE_NAMES)]
    body = next((number for number in outlines if number in planned and number in now), None)
    setting = _Setting(
        daily=daily,
        affine=affine,
        names=names,
        midlines=Midlines(None if body is None else (planned[body], now[body]), midline_mm),
        limits=limits or PlausibilityLimits(),
    )
    # The largest begins, so that no thread is left with it at the end.
    both = sorted(
        (number for number in planned if number in segmented and number in patches),
        key=lambda number: -patches[number].inside.size,
    )
    findings: dict[int, list[Finding]] = {}
    with ThreadPoolExecutor(2) as pool:
        agreements = {number: pool.submit(_agreement, patches[number], segmented[number].patch) for number in both}
        for number, plan in planned.items():
            own = findings[number] = []
            if number in external:
                own.append(_emptiness("propagated", number, plan, now.get(number)))
                own.append(_lateral_edges(number, patches.get(number)))
                continue
            own += planned_side(number, names.get(number, ""), plan, setting.midlines, setting.limits)
            visible = _visible(plan, setting)
            own.append(_field_of_view(number, plan, visible, patches.get(number), setting.limits))
            own += _path_checks(
                "propagated", number, plan=plan, visible=visible, found=now.get(number), setting=setting
            )
            if jacobian is not None and number in patches:
                own += _jacobian_checks(patches[number], jacobian, setting.limits)
            if number in segmented or number in known_to_model:
                own += _path_checks(
                    "segmented", number, plan=plan, visible=visible, found=seen.get(number), setting=setting
                )
    for number, agreement in agreements.items():
        agreed = agreement.result()
        if agreed is not None and number not in external:
            findings[number] += _agreement_checks(number, *agreed, setting.limits)
    return tuple(finding for own in findings.values() for finding in own)


@dataclass(frozen=True, eq=False)
class _Setting:
    """What the checks of every ROI share."""

    daily: VolumeGeometry
    affine: AffineTransform
    names: Mapping[int, str]
    midlines: Midlines
    limits: PlausibilityLimits


@dataclass(frozen=True, eq=False)
class _Visible:
    """The part of a planned ROI between the first and the last daily slice, in the daily patient after the affine."""

    volume_cc: float
    centroid_mm: Points | None


def _visible(plan: RoiMeasure, setting: _Setting) -> _Visible:
    """Whole slices of the plan are in or out, each by its own centroid: exact without rotation, near enough with it."""
    centroids = setting.affine.to_fixed(plan.slice_centroids_mm)
    half = setting.daily.spacing_mm[2] / 2
    lowest, highest = setting.daily.origin_mm[2] - half, setting.daily.last_mm[2] + half
    inside = (centroids[:, 2] >= lowest) & (centroids[:, 2] <= highest)
    volume = float(plan.slice_cc[inside].sum())
    if volume <= 0:
        return _Visible(0.0, None)
    return _Visible(volume, np.average(centroids[inside], axis=0, weights=plan.slice_cc[inside]))


def _path_checks(
    path: str, number: int, *, plan: RoiMeasure, visible: _Visible, found: RoiMeasure | None, setting: _Setting
) -> Iterator[Finding]:
    """Emptiness, then volume, place, islands, gaps and side of what is not empty."""
    yield _emptiness(path, number, plan, found)
    if found is None or found.centroid_mm is None or visible.centroid_mm is None:
        return
    limits = setting.limits
    yield _volume_ratio(path, number, found.volume_cc / visible.volume_cc, limits)
    shift = float(np.linalg.norm(np.asarray(found.centroid_mm) - visible.centroid_mm))
    yield graded(
        f"{path}-centroid-shift",
        number,
        shift,
        review=limits.centroid_shift_review_mm,
        fail=limits.centroid_shift_fail_mm,
        unit="mm",
        message=f"centroid {shift:.1f} mm from where the affine alignment carries the planned one",
    )
    yield graded(
        f"{path}-islands",
        number,
        found.components,
        review=max(plan.components, 1),
        fail=math.inf,
        message=f"{found.components} separate parts, {plan.components} in the plan",
    )
    yield graded(
        f"{path}-slice-gaps",
        number,
        found.gaps,
        review=math.inf if plan.gaps else 0,
        fail=math.inf if plan.gaps else 0,
        message=f"{found.gaps} empty slices between its ends, {plan.gaps} in the plan",
    )
    name = setting.names.get(number, "")
    yield from carried_side(path, number, name, plan, found, setting.midlines, limits)


def _emptiness(path: str, number: int, plan: RoiMeasure, found: RoiMeasure | None) -> Finding:
    volume = found.volume_cc if found else 0.0
    lost = volume == 0 and plan.volume_cc > 0
    message = "came back empty" if lost else "empty in the plan too" if volume == 0 else "not empty"
    return Finding(f"{path}-empty", Verdict.FAIL if lost else Verdict.PASS, message, volume, 0.0, "cc", number)


def _volume_ratio(path: str, number: int, ratio: float, limits: PlausibilityLimits) -> Finding:
    check, message = f"{path}-volume-ratio", f"{ratio:.2f} times the planned volume that lies within the daily scan"
    side = 0 if ratio < 1 else 1
    review, fail = limits.volume_ratio_review[side], limits.volume_ratio_fail[side]
    return graded(check, number, ratio, review=review, fail=fail, message=message, below=side == 0)


def _field_of_view(
    number: int, plan: RoiMeasure, visible: _Visible, patch: RoiPatch | None, limits: PlausibilityLimits
) -> Finding:
    """Share of the planned volume beyond the scan; an ROI that touches an edge of the scan is for review at least."""
    outside = 100 * (1 - visible.volume_cc / plan.volume_cc) if plan.volume_cc else 0.0
    # Whole slices are summed in another order here and there: the last digits, and a minus zero, are noise.
    outside = max(0.0, round(outside, 6))
    edges = _touched_edges(patch) if patch is not None else ()
    touched = f"; it touches the {', '.join(edges)} of the scan" if edges else ""
    finding = graded(
        "field-of-view",
        number,
        outside,
        review=limits.outside_scan_review_percent,
        fail=limits.outside_scan_fail_percent,
        unit="%",
        message=f"{outside:.1f} % of the planned volume lies above or below the daily scan{touched}",
    )
    return replace(finding, verdict=Verdict.REVIEW) if edges and finding.verdict is Verdict.PASS else finding


def _lateral_edges(number: int, patch: RoiPatch | None) -> Finding:
    """The body outline ends with the scan above and below; at the sides it must not."""
    edges = [edge for edge in (_touched_edges(patch) if patch is not None else ()) if "slice" not in edge]
    message = f"touches the {', '.join(edges)} of the scan" if edges else "within the sides of the scan"
    return Finding(
        "field-of-view", Verdict.REVIEW if edges else Verdict.PASS, message, len(edges), 0, roi_number=number
    )


def _touched_edges(patch: RoiPatch) -> tuple[str, ...]:
    """Which edges of the daily scan the ROI reaches; first is lowest."""
    names = (("first slice", "last slice"), ("front edge", "back edge"), ("right edge", "left edge"))
    edges: list[str] = []
    for axis, (low, high) in enumerate(names):
        first = -patch.lower[axis]
        last = first + patch.geometry.shape[axis] - 1
        for index, name in ((first, low), (last, high)):
            if 0 <= index < patch.inside.shape[axis] and patch.inside.take(index, axis=axis).max() >= 0.5:
                edges.append(name)
    return tuple(edges)


def _jacobian_checks(
    patch: RoiPatch, jacobian: tuple[FloatVoxels, VolumeGeometry], limits: PlausibilityLimits
) -> Iterator[Finding]:
    """Smallest determinant and folded share at the grid points of the field that lie inside the ROI."""
    inside = _determinants_inside(patch, *jacobian)
    if not inside.size:
        return
    smallest = float(inside.min())
    yield graded(
        "jacobian-minimum",
        patch.roi_number,
        smallest,
        review=limits.jacobian_review,
        fail=-math.inf,
        message=f"smallest Jacobian determinant {smallest:.2f}",
        below=True,
    )
    folded = 100 * float(np.count_nonzero(inside <= 0)) / inside.size
    yield graded(
        "jacobian-folded",
        patch.roi_number,
        folded,
        review=limits.folded_review_percent,
        fail=limits.folded_fail_percent,
        unit="%",
        message=f"{folded:.2f} % of the ROI is folded",
    )


def _determinants_inside(patch: RoiPatch, determinants: FloatVoxels, grid: VolumeGeometry) -> FloatVoxels:
    """Determinants at the grid points whose nearest voxel lies in the ROI."""
    chosen: list[NDArray[np.intp]] = []
    nearest: list[NDArray[np.intp]] = []
    for axis, component in enumerate("zyx"):
        position = (grid.axis_mm(component) - patch.geometry.axis_mm(component)[0]) / patch.geometry.spacing_mm[
            2 - axis
        ]
        index = np.rint(position).astype(np.intp) - patch.lower[axis]
        hit = np.flatnonzero((index >= 0) & (index < patch.inside.shape[axis]))
        chosen.append(hit)
        nearest.append(index[hit])
    return determinants[np.ix_(*chosen)][patch.inside[np.ix_(*nearest)] >= 0.5]


def _agreement(one: RoiPatch, other: RoiPatch) -> tuple[float, SurfaceDistances] | None:
    """Overlap and distance of an ROI's two paths; None where one of them is empty."""
    a, b = on_common_box(one, other)
    if not a.any() or not b.any():
        return None
    return dice(a, b), _coarse_distances(a, b, one.geometry)


def _agreement_checks(
    number: int, overlap: float, distances: SurfaceDistances, limits: PlausibilityLimits
) -> Iterator[Finding]:
    """How well the two independent paths agree on one ROI."""
    yield graded(
        "paths-dice",
        number,
        overlap,
        review=limits.paths_dice_review,
        fail=limits.paths_dice_fail,
        message=f"Dice of propagated and segmented {overlap:.3f}",
        below=True,
    )
    yield graded(
        "paths-surface-distance",
        number,
        distances.mean_mm,
        review=limits.paths_surface_review_mm,
        fail=limits.paths_surface_fail_mm,
        unit="mm",
        message=f"propagated and segmented surfaces {distances.mean_mm:.2f} mm apart on average",
    )
    yield graded(
        "paths-hausdorff-95",
        number,
        distances.hd95_mm,
        review=limits.paths_hausdorff_review_mm,
        fail=limits.paths_hausdorff_fail_mm,
        unit="mm",
        message=f"95 % Hausdorff distance of propagated and segmented {distances.hd95_mm:.1f} mm",
    )


def _coarse_distances(a: MaskVoxels, b: MaskVoxels, geometry: VolumeGeometry) -> SurfaceDistances:
    """Distances on every second or third voxel where voxels are fine: the limits are millimetres, the time is short."""
    x, y, z = (max(int(AGREEMENT_MM // step), 1) for step in geometry.spacing_mm)
    sx, sy, sz = geometry.spacing_mm
    part_a, part_b = a[::z, ::y, ::x], b[::z, ::y, ::x]
    if part_a.any() and part_b.any():
        return surface_distances(part_a, part_b, spacing_mm=(sx * x, sy * y, sz * z))
    return surface_distances(a, b, spacing_mm=geometry.spacing_mm)
