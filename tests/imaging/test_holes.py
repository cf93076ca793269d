import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from imaging.geometry import VolumeGeometry
from imaging.holes import containment, to_keyholes
from imaging.masks import RoiPatch
from imaging.structures import Contour
from imaging.trace import trace
from tests.closed_form import circle


def loop(x: float, y: float, radius: float, corners: int = 24) -> np.ndarray:
    return circle(0.0, (x, y), radius, corners=corners).xy_mm


def area(corners: np.ndarray) -> float:
    return Contour(0.0, corners.copy()).signed_area_mm2


def test_a_ring_becomes_one_loop_with_the_area_of_the_ring() -> None:
    (joined,) = to_keyholes([loop(0, 0, 10), loop(1, 2, 4)])
    assert area(joined) == pytest.approx(np.pi * (100 - 16))


def test_several_holes_side_by_side_are_joined_to_one_outer_loop() -> None:
    holes = [loop(x, y, 1.5) for x in (-5, 0, 5) for y in (-5, 0, 5)]
    (joined,) = to_keyholes([*holes, loop(0, 0, 12)])
    assert area(joined) == pytest.approx(np.pi * (144 - 9 * 1.5**2))


def test_an_island_in_a_hole_stays_a_loop_of_its_own_with_its_own_hole() -> None:
    loops = to_keyholes([loop(0, 0, radius) for radius in (3, 12, 6, 9)])
    assert sorted(area(one) for one in loops) == pytest.approx([np.pi * (36 - 9), np.pi * (144 - 81)])


def test_loops_side_by_side_stay_as_they_are_and_run_in_the_positive_direction() -> None:
    loops = to_keyholes([loop(0, 0, 5)[::-1], loop(20, 0, 3)])
    assert [area(one) for one in loops] == pytest.approx([np.pi * 25, np.pi * 9])


def test_nesting_is_told_for_loops_whose_boxes_overlap_without_containing() -> None:
    corner = np.array([(0.0, 0.0), (10, 0), (10, 1), (1, 1), (1, 10), (0, 10)])
    assert containment([corner, loop(5, 5, 2)]).any() is np.False_


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_keyholes_never_overlap_and_hold_the_area_of_the_even_odd_rule(seed: int) -> None:
    grid = VolumeGeometry((1, 14, 14), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    inside = (np.random.default_rng(seed).random((1, 14, 14)) > 0.35).astype(np.float32)
    loops = [c.xy_mm for c in trace(RoiPatch(1, (0, 0, 0), inside, grid), tolerance_mm=0)]
    wanted = shapely.Polygon()
    for one in loops:
        wanted = wanted.symmetric_difference(shapely.Polygon(one))
    joined = to_keyholes(loops)
    assert sum(area(one) for one in joined) == pytest.approx(wanted.area)
    assert not containment(joined).any()
    pieces = [shapely.Polygon(one).buffer(0) for one in joined]
    assert shapely.union_all(pieces).symmetric_difference(wanted).area == pytest.approx(0, abs=1e-6)
