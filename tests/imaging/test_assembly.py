"""Which path is recommended, and what an empty result says."""

import numpy as np

from imaging.assembly import NOT_FOUND, Loops, choose_paths, propagated_set, recommended_set, segmented_set
from imaging.findings import Finding, Verdict
from imaging.plan import Plan, sort_plan
from imaging.structures import Contour, Roi, StructureSet
from tests.manifests import manifest_with

SQUARE = (Contour(10.0, np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 4.0], [0.0, 4.0]])),)
CIRCLE = (Contour(20.0, np.array([[0.0, 0.0], [4.0, 0.0], [2.0, 4.0]])),)


def plan() -> Plan:
    """Bladder (segmented path recommended), Rectum (propagated) and a target that the model does not know."""
    rois = (Roi(1, "Bladder", contours=SQUARE), Roi(2, "Rectum", contours=SQUARE), Roi(3, "PTV", contours=SQUARE))
    return sort_plan(StructureSet(rois), manifest_with(), None)


BOTH = Loops({1: SQUARE, 2: SQUARE, 3: SQUARE}, {1: CIRCLE, 2: CIRCLE})


def failed(number: int, check: str) -> Finding:
    return Finding(check, Verdict.FAIL, "", roi_number=number)


def test_every_organ_takes_the_path_of_the_manifest() -> None:
    paths, exceptions = choose_paths(plan(), BOTH, [])
    assert paths == {1: "segmented", 2: "propagated", 3: "propagated"}
    assert exceptions == []


def test_an_empty_segmentation_falls_back_to_the_propagated_contour_and_says_so() -> None:
    paths, exceptions = choose_paths(plan(), Loops(BOTH.propagated, {2: CIRCLE}), [])
    assert paths[1] == "propagated"
    assert [(f.check, f.roi_number, f.verdict) for f in exceptions] == [("recommended-path", 1, Verdict.REVIEW)]


def test_a_failed_segmentation_falls_back_only_to_a_contour_that_did_not_fail() -> None:
    segmented_failed = failed(1, "segmented-volume-ratio")
    assert choose_paths(plan(), BOTH, [segmented_failed])[0][1] == "propagated"
    both_failed = [segmented_failed, failed(1, "propagated-volume-ratio")]
    assert choose_paths(plan(), BOTH, both_failed)[0][1] == "segmented"


def test_an_empty_path_yields_to_the_other_even_if_that_one_failed() -> None:
    """What the report says is recommended and what RECOMMENDED holds must be the same contour."""
    loops = Loops({2: SQUARE, 1: SQUARE}, {2: CIRCLE})
    chosen = plan()
    paths, _ = choose_paths(chosen, loops, [failed(1, "propagated-volume-ratio")])
    assert paths[1] == "propagated"
    propagated = propagated_set(chosen, loops, {1: "network", 2: "network", 3: "nothing"})
    segmented = segmented_set(chosen, loops, manifest_with())
    assert recommended_set(chosen, paths, propagated, segmented).by_number(1).contours == SQUARE


def test_an_roi_that_was_not_found_is_kept_empty_and_says_what_to_do() -> None:
    loops = Loops({1: SQUARE, 2: SQUARE}, {})
    chosen = plan()
    paths, _ = choose_paths(chosen, loops, [])
    assert 3 not in paths
    propagated = propagated_set(chosen, loops, {1: "affine", 2: "network", 3: "nothing"})
    target = recommended_set(chosen, paths, propagated, StructureSet(())).by_number(3)
    assert target.contours == ()
    assert target.generation == NOT_FOUND


def test_an_organ_that_the_plan_lacks_is_segmented_under_its_own_name() -> None:
    chosen = sort_plan(StructureSet((Roi(5, "Bladder", contours=SQUARE),)), manifest_with(), None)
    segmented = segmented_set(chosen, Loops({}, {5: CIRCLE, 6: CIRCLE}), manifest_with())
    assert [(roi.number, roi.name) for roi in segmented.rois] == [(5, "Bladder"), (6, "Rectum")]
    assert segmented.rois[1].generation == "segmented, not in the plan"
