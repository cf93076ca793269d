"""The way of the data, top to bottom: from a case to its contours on the daily CT.

The daily CT is the fixed image and the planning CT the moving one; this file is the one place where the clinic's words
turn into those of registration. The deformation therefore lives on the daily grid and nothing has to be inverted.

A second thread makes what is not waited for: the planned masks while the affine is found, the body outline from when
the network begins, the segmented organs from when it ends.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from imaging.alignment import align
from imaging.arrays import FloatVoxels
from imaging.assembly import (
    DrawnPatch,
    by_number,
    carriers,
    choose_paths,
    draw,
    draw_beside,
    outcomes,
    propagated_set,
    recommended_set,
    segmented_set,
)
from imaging.body import find_body
from imaging.case import Case, Recontouring, RecontourOptions
from imaging.deformation import ChosenDeformation, choose_deformation
from imaging.findings import Finding, Verdict
from imaging.geometry import VolumeGeometry
from imaging.masks import PackedMasks
from imaging.model import Prediction, RecontouringModel
from imaging.organs import SegmentedOrgan, segmented_organs, truncations, unplanned
from imaging.plan import Plan, contour_points, sort_plan
from imaging.planned import PlannedRois, prepare_plan
from imaging.plausibility import assess
from imaging.plausibility_limits import PlausibilityLimits
from imaging.preprocessing import ModelInputs, model_inputs, network_region
from imaging.propagation import propagate
from imaging.timing import Stopwatch
from imaging.transforms import AffineTransform


def recontour(
    case: Case,
    model: RecontouringModel | None,
    *,
    limits: PlausibilityLimits,
    options: RecontourOptions,
    stopwatch: Stopwatch,
) -> Recontouring:
    """Carry the planned ROIs over to the daily CT, and segment there the organs that the model knows.

    Args:
        case: Planning CT with structures, daily CT.
        model: The network, or None to do without.
        limits: Where the checks begin to ask for review.
        options: What the request chose.
        stopwatch: Receives the time of every stage.

    Raises:
        RegistrationRejected: If the affine does not pass its success test.
        RoiAmbiguous: If two ROIs of the plan mean one organ.
        RoiUnmapped: If a wanted ROI is not there.
        ModelError: If the network misbehaves.
    """
    plan = sort_plan(case.planning_structures, model.manifest if model else None, options.rois)
    # The loops in the second thread run on one core each: numba's that use all of them must not meet in two threads.
    with ThreadPoolExecutor(1) as beside:
        planned_soon = beside.submit(_planned, case, plan, stopwatch)
        with stopwatch.stage("affine"):
            affine = align(fixed=case.daily, moving=case.planning)
        planned = planned_soon.result()
        shown, network_findings = _network_inputs(
            case, plan, model, planned=planned.masks, affine=affine, stopwatch=stopwatch
        )
        bodies_soon = beside.submit(_bodies, case, plan, stopwatch)
        prediction = _predict(model, shown, stopwatch)
        segmented_soon = beside.submit(_segmented, case, plan, prediction, model)
        with stopwatch.stage("refinement"):
            chosen = choose_deformation(
                daily=case.daily,
                planning=case.planning,
                affine=affine,
                network=prediction.dvf if prediction else None,
                refine=options.refine,
                masks=planned.masks,
                newton_steps=model.newton_steps if model else None,
            )
        with stopwatch.stage("propagate"):
            carried = propagate(planned.masks, chosen.deformation, case.daily.geometry)
        with stopwatch.stage("contour"):
            drawn = (*draw_beside([patch for patch in carried if patch.inside.size]), *bodies_soon.result())
            organs, segmented = segmented_soon.result()
            loops, found = by_number(drawn, segmented)
    propagated = tuple(one.patch for one in drawn)
    with stopwatch.stage("plausibility"):
        checks = assess(
            {roi.number: planned.measures[roi.number] for roi in plan.wanted if roi.number in planned.measures},
            found.propagated,
            segmented=found.segmented,
            names={roi.number: roi.name for roi in plan.wanted},
            daily=case.daily.geometry,
            affine=affine,
            jacobian=_jacobian(chosen),
            external=[roi.number for roi in plan.external.rois],
            known_to_model=list(plan.organs) if prediction else [],
            limits=limits,
        )
        checks = (*checks, *truncations(organs), *unplanned(organs, plan.organs))
        paths, exceptions = choose_paths(plan, loops, checks)
        carried_by = carriers(plan, propagated, chosen.carried_by)
        lines = outcomes(plan, planned.measures, affine=affine, paths=paths, carried_by=carried_by, found=found)
    propagated_rois = propagated_set(plan, loops, carried_by)
    segmented_rois = segmented_set(plan, loops, model.manifest if model and prediction else None)
    return Recontouring(
        recommended=recommended_set(plan, paths, propagated_rois, segmented_rois),
        propagated=propagated_rois,
        segmented=segmented_rois,
        deformation=chosen.deformation,
        rois=lines,
        findings=(*planned.findings, *network_findings, *chosen.findings, *exceptions, *checks),
        propagated_patches=propagated,
        segmented_patches=tuple(one.patch for one in segmented),
        model_identity=model.manifest.identity if model and prediction else "",
    )


def _planned(case: Case, plan: Plan, stopwatch: Stopwatch) -> PlannedRois:
    if case.planned is not None:
        return case.planned
    with stopwatch.stage("rasterize"):
        return prepare_plan(plan, case.planning)


def _network_inputs(
    case: Case,
    plan: Plan,
    model: RecontouringModel | None,
    *,
    planned: tuple[PackedMasks, ...],
    affine: AffineTransform,
    stopwatch: Stopwatch,
) -> tuple[ModelInputs | None, tuple[Finding, ...]]:
    """What the network is shown of the planned organs; None, with a finding, where there is nothing for it to do."""
    if model is None or not plan.organs:
        why = "no model is loaded" if model is None else "the plan has no ROI that the model knows by name or alias"
        return None, (Finding("network-skipped", Verdict.REVIEW, f"the network was not used: {why}"),)
    with stopwatch.stage("region"):
        corners = contour_points(plan.carried, set(plan.organs))
        region = network_region(affine.to_fixed(corners), model.manifest)
    with stopwatch.stage("resample"):
        inputs = model_inputs(
            daily=case.daily,
            planning=case.planning,
            organs=planned[0],
            label_of={number: organ.label for number, organ in plan.organs.items()},
            affine=affine,
            region=region.geometry,
            manifest=model.manifest,
        )
    if region.holds_all:
        return inputs, ()
    message = "the planned organs are larger than the network's largest region; their ends rest on the refinement alone"
    return inputs, (Finding("network-region", Verdict.REVIEW, message),)


def _predict(model: RecontouringModel | None, shown: ModelInputs | None, stopwatch: Stopwatch) -> Prediction | None:
    if model is None or shown is None:
        return None
    with stopwatch.stage("network"):
        return model.run(shown)


def _bodies(case: Case, plan: Plan, stopwatch: Stopwatch) -> tuple[DrawnPatch, ...]:
    """The body outline, for each ROI of the plan that is one."""
    with stopwatch.stage("body"):
        found = find_body(case.daily) if plan.external.rois else None
        return draw(replace(found, roi_number=roi.number) for roi in plan.external.rois) if found else ()


def _segmented(
    case: Case, plan: Plan, prediction: Prediction | None, model: RecontouringModel | None
) -> tuple[tuple[SegmentedOrgan, ...], tuple[DrawnPatch, ...]]:
    if prediction is None or model is None:
        return (), ()
    numbers = plan.number_of_label(model.manifest)
    organs = segmented_organs(prediction, model.manifest, numbers, case.daily.geometry)
    return organs, draw(organ.patch for organ in organs)


def _jacobian(chosen: ChosenDeformation) -> tuple[FloatVoxels, VolumeGeometry] | None:
    """Local change of volume on the grid on which the deformation was judged; None for the affine alone."""
    if chosen.determinant is None:
        return None
    return chosen.determinant, chosen.geometry
