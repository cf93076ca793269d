"""Sorting a plan: what is carried, what is drawn anew, which ROI means which organ."""

import numpy as np
import pytest

from imaging.errors import RoiAmbiguous, RoiUnmapped
from imaging.geometry import VolumeGeometry
from imaging.plan import contour_points, grid_around, sort_plan
from imaging.structures import Contour, Roi, StructureSet
from tests.manifests import manifest_with

SQUARE = (Contour(10.0, np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 4.0], [0.0, 4.0]])),)


def plan_of(*named: tuple[int, str, str]) -> StructureSet:
    return StructureSet(tuple(Roi(number, name, kind, contours=SQUARE) for number, name, kind in named))


def test_the_body_outline_is_not_carried_but_drawn_anew() -> None:
    plan = sort_plan(plan_of((1, "BODY", "EXTERNAL"), (2, "Femur", "ORGAN")), None, None)
    assert [roi.number for roi in plan.carried.rois] == [2]
    assert [roi.number for roi in plan.external.rois] == [1]
    assert [roi.number for roi in plan.wanted] == [1, 2]


@pytest.mark.parametrize("name", ["BODY", "Body", " External"])
def test_a_body_outline_without_its_type_is_known_by_its_whole_name(name: str) -> None:
    plan = sort_plan(plan_of((1, name, ""), (2, "BODY_PRV", "")), None, None)
    assert [roi.number for roi in plan.external.rois] == [1]


def test_an_organ_is_carried_for_the_network_even_if_it_is_not_wanted() -> None:
    plan = sort_plan(plan_of((1, "Femur", "ORGAN"), (2, "Blase", "ORGAN")), manifest_with(), (1,))
    assert [roi.number for roi in plan.wanted] == [1]
    assert [roi.number for roi in plan.carried.rois] == [2, 1]
    assert plan.organs[2].name == "Bladder"


def test_two_rois_that_mean_one_organ_are_refused() -> None:
    """Hazard: the network is shown, and the physician gets, the wrong one of two bladders."""
    with pytest.raises(RoiAmbiguous, match="Bladder"):
        sort_plan(plan_of((1, "Bladder", ""), (2, "blase", "")), manifest_with(), None)


def test_an_organ_without_contours_does_not_make_the_other_ambiguous() -> None:
    empty = Roi(3, "Bladder")
    plan = sort_plan(StructureSet((*plan_of((1, "Blase", "")).rois, empty)), manifest_with(), None)
    assert list(plan.organs) == [1]
    assert [roi.number for roi in plan.wanted] == [1, 3]


def test_a_wanted_roi_that_the_plan_lacks_is_refused_by_its_place_in_the_request() -> None:
    with pytest.raises(RoiUnmapped, match="wanted ROI 2"):
        sort_plan(plan_of((1, "Femur", "")), None, (1, 9))


def test_organs_that_the_plan_lacks_get_numbers_after_the_last_one() -> None:
    manifest = manifest_with()
    plan = sort_plan(plan_of((4, "Bladder", ""), (7, "Femur", "")), manifest, (4,))
    assert plan.number_of_label(manifest) == {1: 4, 2: 8}


def test_the_grid_of_the_masks_holds_every_corner_and_no_more_than_it_must() -> None:
    """Corners at x, y = 0..4 mm and z = 10 mm on a 1 mm grid from -50 mm: indices 50..54 and plane 60."""
    grid = VolumeGeometry((100, 100, 100), (-50.0, -50.0, -50.0), (1.0, 1.0, 1.0))
    part = grid_around(contour_points(plan_of((1, "A", ""))), grid)
    assert part.origin_mm == (-1.0, -1.0, 9.0)
    assert part.last_mm == (5.0, 5.0, 11.0)


def test_the_grid_of_the_masks_stays_within_the_scan() -> None:
    grid = VolumeGeometry((5, 5, 5), (0.0, 0.0, 8.0), (1.0, 1.0, 1.0))
    assert grid_around(contour_points(plan_of((1, "A", ""))), grid).shape == (3, 5, 5)
