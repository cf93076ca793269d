import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imaging.geometry import VolumeGeometry
from imaging.masks import RoiPatch
from imaging.rasterize import gapped_rois, interpolated_rois, mask_of, rasterize
from imaging.structures import Contour, Roi, StructureSet
from imaging.trace import trace
from tests.closed_form import circle, heights, rectangle, sphere, tube

GRID = VolumeGeometry((5, 20, 30), (-10.0, 5.0, 100.0), (1.0, 2.0, 3.0))


def mask(*contours: Contour, grid: VolumeGeometry = GRID) -> np.ndarray:
    return mask_of(rasterize(StructureSet((Roi(7, "ROI", contours=contours),)), grid), 7)


def test_a_rectangle_holds_the_voxels_whose_centres_it_encloses() -> None:
    # x from -8.5 to -3.5 holds the centres -8 to -4 (columns 2 to 6), y from 8 to 14 holds 9, 11, 13 (rows 2 to 4).
    inside = np.argwhere(mask(rectangle(103.0, -8.5, 8.0, -3.5, 14.0)))
    assert {tuple(map(int, index)) for index in inside} == {(1, j, i) for j in (2, 3, 4) for i in range(2, 7)}


def test_the_direction_in_which_a_contour_runs_does_not_matter() -> None:
    there = circle(103.0, (3.3, 21.7), 9.0)
    back = Contour(103.0, there.xy_mm[::-1].copy())
    assert np.array_equal(mask(there), mask(back))


def test_a_loop_inside_a_loop_is_a_hole_and_one_inside_the_hole_an_island() -> None:
    loops = rectangle(100, -9.5, 6, 18.5, 42), rectangle(100, -5.5, 10, 14.5, 38), rectangle(100, -1.5, 18, 6.5, 30)
    # columns x rows: 28 x 18, less 20 x 14, plus 8 x 6
    assert mask(*loops).sum() == 28 * 18 - 20 * 14 + 8 * 6


def test_a_keyhole_with_a_corridor_of_no_width_leaves_hole_and_material() -> None:
    keyhole = [(-9.5, 6), (18.5, 6), (18.5, 24), (14.5, 24), (14.5, 10), (-5.5, 10), (-5.5, 38), (14.5, 38), (14.5, 24)]
    keyhole += [(18.5, 24), (18.5, 42), (-9.5, 42)]
    assert mask(Contour(100.0, np.array(keyhole, np.float64))).sum() == 28 * 18 - 20 * 14


def test_a_slanted_corridor_cancels_itself() -> None:
    outer, hole = circle(100.0, (4.1, 24.3), 12.0).xy_mm, circle(100.0, (3.3, 22.9), 5.0).xy_mm[::-1]
    joined = np.concatenate([outer[:31], hole[50:], hole[:51], outer[30:]])
    assert np.array_equal(mask(Contour(100.0, joined)), mask(Contour(100.0, outer), Contour(100.0, hole)))


@settings(max_examples=25, deadline=None)
@given(st.floats(-6, 15), st.floats(8, 38), st.floats(-3, 3))
def test_a_cut_through_a_shape_gives_every_voxel_to_exactly_one_half(x: float, y: float, slant: float) -> None:
    left = Contour(100.0, np.array([(-9.7, 5.5), (x, 5.5), (x + slant, y), (x, 42.5), (-9.7, 42.5)]))
    right = Contour(100.0, np.array([(x, 5.5), (18.7, 5.5), (18.7, 42.5), (x, 42.5), (x + slant, y)]))
    whole = rectangle(100.0, -9.7, 5.5, 18.7, 42.5)
    both = np.stack([mask(left), mask(right)])
    assert np.array_equal(both.sum(axis=0), mask(whole))


def test_contours_belong_to_the_plane_within_half_a_slice_and_else_to_none() -> None:
    shape = (-8.5, 8.0, -3.5, 14.0)
    assert mask(rectangle(104.4, *shape)).any(axis=(1, 2)).tolist() == [False, True, False, False, False]
    assert mask(rectangle(104.6, *shape)).any(axis=(1, 2)).tolist() == [False, False, True, False, False]
    assert not mask(rectangle(98.4, *shape)).any()
    assert not mask(rectangle(113.6, *shape)).any()


def test_of_two_heights_that_claim_one_plane_the_nearer_one_is_taken() -> None:
    near, far = rectangle(103.2, -8.5, 8.0, -3.5, 14.0), rectangle(102.0, -9.5, 6.0, 18.5, 42.0)
    assert np.array_equal(mask(near, far), mask(near))


def test_what_lies_outside_the_grid_is_cut_off() -> None:
    assert mask(rectangle(100.0, -1000, -1000, 1000, 1000)).sum() == 20 * 30
    assert mask(rectangle(100.0, -1000, 8, -3.5, 14)).sum() == 7 * 3
    assert mask(rectangle(100.0, 15.5, 40, 1000, 1000)).sum() == 4 * 2
    assert not mask(rectangle(100.0, 100, 8, 200, 14)).any()


def test_more_than_64_rois_come_in_groups_and_an_roi_without_contours_stays_empty() -> None:
    rois = [Roi(n, f"R{n}", contours=(rectangle(103.0, -8.5, 8.0, -3.5, 14.0 + n),)) for n in range(1, 71)]
    groups = rasterize(StructureSet((*rois, Roi(99, "empty"))), GRID)
    assert [len(group.roi_numbers) for group in groups] == [64, 7]
    assert mask_of(groups, 70).sum() == 5 * len([y for y in range(9, 44, 2) if y < 84])
    assert mask_of(groups, 1).sum() == 5 * 3
    assert not mask_of(groups, 99).any()
    with pytest.raises(KeyError):
        mask_of(groups, 100)


def test_planes_left_out_between_drawn_ones_are_filled_in_and_named() -> None:
    grid = VolumeGeometry((21, 60, 60), (-30.0, -30.0, -20.0), (1.0, 1.0, 2.0))
    every = sphere(1, "ball", (0.0, 0.0, 0.0), 18.0, grid)
    second = StructureSet((every.with_contours(every.contours[::2]), Roi(2, "whole", contours=every.contours)))
    masks = rasterize(second, grid)
    assert interpolated_rois(second, grid) == (1,)
    assert gapped_rois(second, grid) == ()
    filled, whole = mask_of(masks, 1), mask_of(masks, 2)
    assert filled.any(axis=(1, 2)).tolist() == whole.any(axis=(1, 2)).tolist()
    assert 2 * (filled & whole).sum() / (filled.sum() + whole.sum()) > 0.98


def test_a_long_gap_and_a_gap_between_shapes_side_by_side_stay_empty() -> None:
    grid = VolumeGeometry((21, 60, 60), (-30.0, -30.0, -20.0), (1.0, 1.0, 2.0))
    far = tube(1, "two parts", (0.0, 0.0), (10.0,), [-20.0, -8.0])
    aside = Roi(2, "aside", contours=(circle(-20.0, (-15.0, 0.0), 10.0), circle(-14.0, (15.0, 0.0), 10.0)))
    structures = StructureSet((far, aside))
    assert interpolated_rois(structures, grid) == ()
    assert gapped_rois(structures, grid) == (1, 2)
    masks = rasterize(structures, grid)
    assert np.flatnonzero(mask_of(masks, 1).any(axis=(1, 2))).tolist() == [0, 6]
    assert np.flatnonzero(mask_of(masks, 2).any(axis=(1, 2))).tolist() == [0, 3]


def test_a_gap_in_an_roi_that_was_else_drawn_on_every_plane_is_left_and_named() -> None:
    grid = VolumeGeometry((21, 60, 60), (-30.0, -30.0, -20.0), (1.0, 1.0, 2.0))
    drawn = tube(1, "CTV", (0.0, 0.0), (10.0,), [z for z in heights(grid, -12, 12) if z not in (4.0, 6.0)])
    structures = StructureSet((drawn,))
    assert interpolated_rois(structures, grid) == ()
    assert gapped_rois(structures, grid) == (1,)
    assert not mask_of(rasterize(structures, grid), 1)[[12, 13]].any()


@pytest.mark.parametrize("quarters", range(5))
def test_the_points_of_a_pixel_tell_an_edge_by_quarters_along_either_axis(quarters: int) -> None:
    # The pixels' left ends lie at x = -10.5 + i, their upper ends at y = 4 + 2 j.
    upright = rectangle(100.0, -11.1, 3.7, -2.5 + quarters / 4, 44.3)
    level = rectangle(100.0, -11.1, 3.7, 19.9, 14.0 + 2 * quarters / 4)
    rois = Roi(1, "upright", contours=(upright,)), Roi(2, "level", contours=(level,))
    (masks,) = rasterize(StructureSet(rois), GRID, within=True)
    assert masks.samples.shape == (*GRID.shape, 4)
    shares = np.stack([((masks.samples[0] >> np.uint64(bit)) & np.uint64(1)).mean(axis=-1) for bit in (0, 1)])
    assert shares[0, 7].tolist() == [1] * 8 + [quarters / 4] + [0] * 21
    assert shares[1, :, 7].tolist() == [1] * 5 + [quarters / 4] + [0] * 14


def test_an_outline_of_pixels_tells_which_pixels_and_no_more() -> None:
    drawn = circle(100.0, (3.3, 21.7), 9.0)
    disc = mask(drawn)[0]
    traced = trace(RoiPatch(1, (0, 0, 0), disc[None].astype(np.float32), GRID), tolerance_mm=0)
    rois = Roi(1, "traced from a mask", contours=traced), Roi(2, "drawn by hand", contours=(drawn,))
    (masks,) = rasterize(StructureSet(rois), GRID, within=True)
    shares = np.stack([((masks.samples[0] >> np.uint64(bit)) & np.uint64(1)).mean(axis=-1) for bit in (0, 1)])
    assert np.array_equal(shares[0], disc)
    assert set(np.unique(shares[1])) == {0, 0.25, 0.5, 0.75, 1}


def test_a_line_from_pixel_centre_to_pixel_centre_is_no_outline_of_pixels() -> None:
    drawn = Roi(1, "box", contours=(rectangle(100.0, -8.0, 9.0, 3.0, 31.0),))
    (masks,) = rasterize(StructureSet((drawn,)), GRID, within=True)
    # Its border halves the pixels of its four sides and quarters those of its corners: 10 by 10 pixels and their rims.
    assert (masks.samples & np.uint64(1)).mean(axis=-1).sum() == pytest.approx(11 * 11)


def test_an_roi_thinner_than_a_pixel_holds_the_pixels_that_it_touches() -> None:
    # From 0.2 to 0.4 pixels right of the centres of column 4, over rows 2 to 6.
    thin = Roi(1, "wire", contours=(rectangle(100.0, -5.8, 8.1, -5.6, 18.1),))
    wide = Roi(2, "box", contours=(rectangle(100.0, -8.3, 8.1, 3.3, 18.1),))
    (masks,) = rasterize(StructureSet((thin, wide)), GRID, within=True)
    assert np.argwhere((masks.bits & np.uint64(1)) != 0)[:, 2].tolist() == [4] * 5
    assert np.array_equal((masks.bits & np.uint64(2)) != 0, mask(*wide.contours))


def test_the_centres_are_the_same_whether_or_not_more_points_are_looked_at() -> None:
    roi = StructureSet((Roi(1, "disc", contours=(circle(100.0, (3.3, 21.7), 9.0),)),))
    assert np.array_equal(rasterize(roi, GRID)[0].bits, rasterize(roi, GRID, within=True)[0].bits)


@settings(max_examples=10, deadline=None)
@given(st.floats(-5, 5), st.floats(-5, 5), st.floats(10, 24))
def test_a_disc_has_its_area_within_the_pixels_on_its_rim(x: float, y: float, radius: float) -> None:
    grid = VolumeGeometry((1, 80, 80), (-40.0, -40.0, 0.0), (1.0, 1.0, 2.0))
    area = mask(circle(0.0, (x, y), radius), grid=grid).sum()
    # The error of counting lattice points in a disc stays far below the length of its rim.
    assert area == pytest.approx(np.pi * radius**2, abs=0.25 * 2 * np.pi * radius)
