import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from imaging import marching
from imaging.geometry import VolumeGeometry
from imaging.masks import RoiPatch
from imaging.rasterize import mask_of, rasterize
from imaging.structures import Contour, Roi, StructureSet
from imaging.trace import THIN_PIXELS, trace

GRID = VolumeGeometry((3, 80, 90), (-40.0, -50.0, 10.0), (1.0, 1.25, 2.5))


def patch_of(inside: np.ndarray, lower: tuple[int, int, int] = (0, 0, 0), grid: VolumeGeometry = GRID) -> RoiPatch:
    return RoiPatch(4, lower, inside.astype(np.float32), grid)


def soft_disc(x: float, y: float, radius: float) -> np.ndarray:
    """0.5 on the circle, falling linearly across it over 4 mm."""
    j, i = np.mgrid[:80, :90]
    distance = np.hypot(-40.0 + i - x, -50.0 + 1.25 * j - y)
    return np.clip(0.5 + (radius - distance) / 4, 0, 1)


def even_odd_area(contours: tuple[Contour, ...]) -> float:
    area = shapely.Polygon()
    for contour in contours:
        area = area.symmetric_difference(shapely.Polygon(contour.xy_mm))
    return float(area.area)


@settings(max_examples=15, deadline=None)
@given(st.floats(-10, 10), st.floats(-10, 10), st.floats(8, 30))
def test_a_soft_disc_is_drawn_where_it_lies_to_a_fraction_of_a_voxel(x: float, y: float, radius: float) -> None:
    (contour,) = trace(patch_of(soft_disc(x, y, radius)[None]), tolerance_mm=0)
    distance = np.hypot(*(contour.xy_mm - (x, y)).T)
    assert np.abs(distance - radius).max() < 0.1
    # A polygon with corners 1.6 mm apart, the diagonal of a pixel, lies s**2 / (6 r**2) inside its circle of 8 mm.
    assert abs(contour.signed_area_mm2) == pytest.approx(np.pi * radius**2, rel=1.6**2 / (6 * 8**2))


@settings(max_examples=15, deadline=None)
@given(st.floats(-10, 10), st.floats(-10, 10), st.floats(3, 30))
def test_thinning_keeps_the_area_and_stays_within_its_tolerance(x: float, y: float, radius: float) -> None:
    inside = soft_disc(x, y, radius) > 0.5
    (every,), (thinned,) = trace(patch_of(inside[None]), tolerance_mm=0), trace(patch_of(inside[None]))
    assert len(thinned.xy_mm) < len(every.xy_mm)
    wanted = inside.sum() * 1.25 if inside.sum() < THIN_PIXELS else abs(every.signed_area_mm2)
    assert abs(thinned.signed_area_mm2) == pytest.approx(wanted, rel=0.002)
    # 0.1 mm of thinning, and at most as much again, with 0.05 pixels, to hold the area.
    assert shapely.LinearRing(thinned.xy_mm).hausdorff_distance(shapely.LinearRing(every.xy_mm)) < 0.25


def test_planes_lie_at_the_heights_of_the_patch() -> None:
    box = np.zeros((2, 9, 9))
    box[:, 2:7, 2:7] = 1
    contours = trace(patch_of(box, lower=(1, 30, 20)), tolerance_mm=0)
    assert [c.z_mm for c in contours] == [12.5, 15.0]
    # Columns 22 to 26 and rows 32 to 36, half a voxel wider each.
    assert contours[0].xy_mm.min(axis=0).tolist() == pytest.approx([-40 + 21.5, -50 + 1.25 * 31.5])
    assert contours[0].xy_mm.max(axis=0).tolist() == pytest.approx([-40 + 26.5, -50 + 1.25 * 36.5])


def test_a_block_of_voxels_loses_half_a_pixel_to_its_four_corners() -> None:
    box = np.zeros((1, 9, 9))
    box[:, 2:7, 2:7] = 1
    (contour,) = trace(patch_of(box), tolerance_mm=0)
    assert abs(contour.signed_area_mm2) == pytest.approx((25 - 0.5) * 1.25)


def test_a_thin_cord_keeps_its_area() -> None:
    """The corners of pixel stairs would cost a cord of three by three pixels 5 % of its volume."""
    values = np.zeros((2, 30, 30))
    values[:, 10:13, 10:13] = 1
    for contour in trace(patch_of(values)):
        assert even_odd_area((contour,)) == pytest.approx(9 * 1.25, rel=0.01)


def test_the_hole_of_a_ring_gives_back_what_its_outer_line_loses_on_the_corners() -> None:
    values = np.zeros((1, 30, 30))
    values[0, 5:25, 5:25] = 1
    values[0, 12:16, 12:16] = 0
    ring = trace(patch_of(values))
    assert even_odd_area(ring) == pytest.approx((400 - 0.5 - (16 - 0.5)) * 1.25, rel=0.002)


def test_a_shape_at_the_border_of_its_patch_is_closed() -> None:
    (contour,) = trace(patch_of(np.ones((1, 4, 6))), tolerance_mm=0)
    assert abs(contour.signed_area_mm2) == pytest.approx((24 - 0.5) * 1.25)


def test_a_hole_and_an_island_in_it_come_as_three_loops() -> None:
    rings = soft_disc(0, 0, 30) - soft_disc(0, 0, 20) + soft_disc(0, 0, 8)
    contours = trace(patch_of(rings[None]))
    assert len(contours) == 3
    assert even_odd_area(contours) == pytest.approx(np.pi * (900 - 400 + 64), rel=0.004)


def test_a_single_voxel_is_kept_and_a_faint_one_dropped() -> None:
    single = np.zeros((1, 5, 5))
    single[0, 2, 2] = 1.0
    assert 0.5 * 1.25 < abs(trace(patch_of(single))[0].signed_area_mm2) < 1.25
    single[0, 2, 2] = 0.7
    assert trace(patch_of(single)) == ()


def test_lines_are_followed_by_code_compiled_once_for_all_patches() -> None:
    inside = np.zeros((3, 20, 20))
    inside[1, 5:15, 5:15] = 1
    faint = inside.copy()
    faint[:, 2:18, 2:18] += 0.2
    # The whole of the last one reaches the level, so that nothing is cut off.
    for patch in (inside, faint, faint[:, :, 3:], np.ones((3, 20, 20))):
        trace(patch_of(patch))
    assert len(marching._march.signatures) == 1


def test_nothing_inside_gives_no_contour() -> None:
    assert trace(patch_of(np.full((3, 5, 5), 0.5))) == ()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_loops_are_simple_and_never_cross_or_touch(seed: int, soft: bool) -> None:
    values = np.random.default_rng(seed).random((1, 12, 12))
    inside = np.round(values * 4) / 4 if soft else values > 0.4
    rings = [shapely.LinearRing(c.xy_mm) for c in trace(patch_of(inside))]
    assert all(ring.is_simple for ring in rings)
    assert not any(a.intersects(b) for n, a in enumerate(rings) for b in rings[:n])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_mask_to_contour_to_mask_gives_the_mask_back(seed: int) -> None:
    inside = np.zeros((3, 80, 90), np.bool_)
    inside[:, 20:40, 30:55] = np.random.default_rng(seed).random((3, 20, 25)) > 0.5
    contours = trace(patch_of(inside[:, 15:45, 25:60], lower=(0, 15, 25)), tolerance_mm=0)
    again = mask_of(rasterize(StructureSet((Roi(4, "ROI", contours=contours),)), GRID), 4)
    assert np.array_equal(again, inside)
