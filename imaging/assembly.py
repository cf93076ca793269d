"""From patches on the daily CT to the three structure sets: which path each ROI takes, and what is said of it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from imaging.case import CarriedBy, RoiOutcome, RoiPath
from imaging.findings import Finding, Verdict
from imaging.manifest import ModelManifest
from imaging.masks import RoiPatch
from imaging.measures import MeasuredPatch, RoiMeasure, measured
from imaging.plan import Plan
from imaging.structures import Contour, Roi, StructureSet
from imaging.trace import trace
from imaging.transforms import AffineTransform

NOT_FOUND = "not found on the daily CT; contour by hand"


@dataclass(frozen=True, eq=False)
class Loops:
    """Contours by ROI number, of either path."""

    propagated: Mapping[int, tuple[Contour, ...]]
    segmented: Mapping[int, tuple[Contour, ...]]


@dataclass(frozen=True, eq=False)
class Measured:
    """Patches with their numbers, by ROI number, of either path."""

    propagated: Mapping[int, MeasuredPatch]
    segmented: Mapping[int, MeasuredPatch]


@dataclass(frozen=True, eq=False)
class DrawnPatch:
    """An ROI on the daily CT with its contours and numbers."""

    measured: MeasuredPatch
    contours: tuple[Contour, ...]

    @property
    def patch(self) -> RoiPatch:
        """The ROI as it was traced."""
        return self.measured.patch


def draw(patches: Iterable[RoiPatch]) -> tuple[DrawnPatch, ...]:
    """Contours and numbers of patches, one after another, in their order."""
    return tuple(DrawnPatch(measured(patch), trace(patch)) for patch in patches)


def draw_beside(patches: Sequence[RoiPatch]) -> tuple[DrawnPatch, ...]:
    """`draw` in two threads; compiled code and shapely let go of the interpreter."""
    # The largest begin, so that no thread is left with one of them at the end.
    order = sorted(patches, key=lambda patch: -patch.inside.size)
    with ThreadPoolExecutor(2) as pool:
        begun = {patch: (pool.submit(trace, patch), pool.submit(measured, patch)) for patch in order}
    return tuple(DrawnPatch(begun[patch][1].result(), begun[patch][0].result()) for patch in patches)


def by_number(propagated: Iterable[DrawnPatch], segmented: Iterable[DrawnPatch]) -> tuple[Loops, Measured]:
    """Contours and numbers of both paths."""
    paths = [{one.patch.roi_number: one for one in path} for path in (propagated, segmented)]
    loops = [{number: one.contours for number, one in path.items()} for path in paths]
    numbers = [{number: one.measured for number, one in path.items()} for path in paths]
    return Loops(*loops), Measured(*numbers)


def choose_paths(plan: Plan, loops: Loops, findings: Iterable[Finding]) -> tuple[dict[int, RoiPath], list[Finding]]:
    """The path that each ROI of the plan is recommended from.

    It is the one that the manifest names, unless that path came back empty, or failed a check where the other failed
    none.

    Returns:
        The path by ROI number, without the ROIs that both paths left empty, and a finding for every exception.
    """
    failed = {(f.roi_number, f.check.split("-", 1)[0]) for f in findings if f.verdict is Verdict.FAIL}
    chosen: dict[int, RoiPath] = {}
    exceptions = []
    for roi in plan.wanted:
        organ = plan.organs.get(roi.number)
        wanted: RoiPath = organ.recommended if organ else "propagated"
        other: RoiPath = "propagated" if wanted == "segmented" else "segmented"
        drawn = {"propagated": loops.propagated.get(roi.number), "segmented": loops.segmented.get(roi.number)}
        other_is_better = bool(drawn[other]) and (
            not drawn[wanted] or ((roi.number, wanted) in failed and (roi.number, other) not in failed)
        )
        if other_is_better:
            chosen[roi.number] = other
            worse = "failed a check" if drawn[wanted] else "is empty"
            message = f"recommended from the {other} path, because the {wanted} one {worse}"
            exceptions.append(Finding("recommended-path", Verdict.REVIEW, message, roi_number=roi.number))
        elif drawn[wanted]:
            chosen[roi.number] = wanted
    return chosen, exceptions


def propagated_set(plan: Plan, loops: Loops, carried_by: Mapping[int, CarriedBy]) -> StructureSet:
    """Every wanted ROI as the deformation carried it; the body outline as it was drawn anew."""
    return StructureSet(
        tuple(_drawn(roi, loops.propagated.get(roi.number), _how(carried_by[roi.number])) for roi in plan.wanted)
    )


def segmented_set(plan: Plan, loops: Loops, manifest: ModelManifest | None) -> StructureSet:
    """The organs that the network knows: those of the plan under its names, the others after them if they were seen."""
    if manifest is None:
        return StructureSet(())
    rois = [
        _drawn(roi, loops.segmented.get(roi.number), "segmented") for roi in plan.wanted if roi.number in plan.organs
    ]
    for organ in manifest.organs:
        number = plan.number_of_label(manifest)[organ.label]
        if number not in plan.organs and loops.segmented.get(number):
            roi = Roi(number, organ.name, "ORGAN", organ.colour)
            rois.append(_drawn(roi, loops.segmented[number], "segmented, not in the plan"))
    return StructureSet(tuple(rois))


def recommended_set(
    plan: Plan, paths: Mapping[int, RoiPath], propagated: StructureSet, segmented: StructureSet
) -> StructureSet:
    """Every wanted ROI from its recommended path; one that has none is empty on both."""
    of = {"propagated": propagated, "segmented": segmented}
    return StructureSet(tuple(of[paths.get(roi.number, "propagated")].by_number(roi.number) for roi in plan.wanted))


def _drawn(roi: Roi, contours: tuple[Contour, ...] | None, how: str) -> Roi:
    if contours:
        return roi.with_contours(contours, generation=how)
    why = NOT_FOUND if roi.contours else "empty in the plan"
    return replace(roi, contours=(), generation=why)


def _how(carried_by: CarriedBy) -> str:
    return {
        "affine": "propagated (affine)",
        "network": "propagated (affine + network)",
        "refinement": "propagated (affine + deformable refinement)",
        "drawn anew": "drawn anew in the daily CT",
        "nothing": NOT_FOUND,
    }[carried_by]


def carriers(
    plan: Plan, propagated: Iterable[RoiPatch], carrier_of: Callable[[RoiPatch], CarriedBy]
) -> dict[int, CarriedBy]:
    """What placed each wanted ROI on the daily CT."""
    patches = {patch.roi_number: patch for patch in propagated}
    external = {roi.number for roi in plan.external.rois}

    def carrier(number: int) -> CarriedBy:
        if number not in patches:
            return "nothing"
        return "drawn anew" if number in external else carrier_of(patches[number])

    return {roi.number: carrier(roi.number) for roi in plan.wanted}


def outcomes(
    plan: Plan,
    planned: Mapping[int, RoiMeasure],
    *,
    affine: AffineTransform,
    paths: Mapping[int, RoiPath],
    carried_by: Mapping[int, CarriedBy],
    found: Measured,
) -> tuple[RoiOutcome, ...]:
    """One line of numbers per wanted ROI."""
    propagated, segmented = (
        {number: one.measure for number, one in path.items()} for path in (found.propagated, found.segmented)
    )
    lines = []
    for roi in plan.wanted:
        path = paths.get(roi.number)
        recommended = (segmented if path == "segmented" else propagated).get(roi.number)
        before = planned.get(roi.number)
        shift = None
        if recommended and before and recommended.centroid_mm and before.centroid_mm:
            start = affine.to_fixed(np.array([before.centroid_mm]))[0]
            shift = float(np.linalg.norm(recommended.centroid_mm - start))
        lines.append(
            RoiOutcome(
                number=roi.number,
                recommended_path=path,
                carried_by=carried_by[roi.number],
                planned_cc=before.volume_cc if before else 0.0,
                propagated_cc=propagated[roi.number].volume_cc if roi.number in propagated else 0.0,
                segmented_cc=segmented[roi.number].volume_cc if roi.number in segmented else None,
                shift_mm=shift,
            )
        )
    return tuple(lines)
