import math

import numpy as np
import pytest

from imaging.arrays import MaskVoxels
from imaging.metrics import bounding_box, dice, surface, surface_distances


def box(
    lower: tuple[int, int, int], upper: tuple[int, int, int], shape: tuple[int, int, int] = (20, 20, 20)
) -> MaskVoxels:
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(a, b) for a, b in zip(lower, upper, strict=True))] = True
    return mask


def ball(radius_mm: float, *, spacing_mm: tuple[float, float, float], size: int = 61) -> MaskVoxels:
    z, y, x = (np.arange(size) - size // 2 for _ in range(3))
    sx, sy, sz = spacing_mm
    squared = (z[:, None, None] * sz) ** 2 + (y[None, :, None] * sy) ** 2 + (x[None, None, :] * sx) ** 2
    return squared <= radius_mm**2


def test_a_cube_shifted_by_a_quarter_of_its_side_has_dice_three_quarters() -> None:
    assert dice(box((4, 4, 4), (12, 12, 12)), box((4, 4, 6), (12, 12, 14))) == 0.75


def test_a_mask_agrees_fully_with_itself() -> None:
    mask = ball(10, spacing_mm=(1, 1, 1))
    assert dice(mask, mask) == 1.0
    found = surface_distances(mask, mask, spacing_mm=(1, 1, 2))
    assert (found.mean_mm, found.hd95_mm) == (0.0, 0.0)


def test_disjoint_masks_have_no_overlap() -> None:
    assert dice(box((0, 0, 0), (2, 2, 2)), box((4, 4, 4), (6, 6, 6))) == 0.0


def test_two_single_voxels_are_as_far_apart_as_their_centres_in_millimetres() -> None:
    # 3 columns of 2 mm and 2 slices of 4 mm: sqrt(36 + 64) = 10.
    found = surface_distances(box((1, 1, 1), (2, 2, 2)), box((3, 1, 4), (4, 2, 5)), spacing_mm=(2, 1, 4))
    assert found.mean_mm == pytest.approx(10)
    assert found.hd95_mm == pytest.approx(10)


def test_parallel_plates_are_their_gap_apart_along_each_axis() -> None:
    for axis, gap_mm in ((0, 3 * 2.5), (1, 3 * 1.5), (2, 3 * 0.5)):
        lower_a, upper_a, lower_b, upper_b = [0, 0, 0], [20, 20, 20], [0, 0, 0], [20, 20, 20]
        lower_a[axis], upper_a[axis], lower_b[axis], upper_b[axis] = 4, 5, 7, 8
        found = surface_distances(
            box((*lower_a,), (*upper_a,)), box((*lower_b,), (*upper_b,)), spacing_mm=(0.5, 1.5, 2.5)
        )
        assert found.mean_mm == pytest.approx(gap_mm)
        assert found.hd95_mm == pytest.approx(gap_mm)


def test_the_mean_pools_both_directions_instead_of_averaging_two_means() -> None:
    # One voxel against a row of two, 4 and 5 mm away. There: {4}; back: {4, 5}. Pooled 13/3, mean of means 4.25.
    found = surface_distances(box((0, 0, 0), (1, 1, 1)), box((0, 0, 4), (1, 1, 6)), spacing_mm=(1, 1, 1))
    assert found.mean_mm == pytest.approx(13 / 3)


def test_the_hausdorff_distance_is_the_worse_of_the_two_directions() -> None:
    # There {4}; back {4, 5}: the 95th percentile of two numbers lies 95 % of the way from 4 to 5.
    found = surface_distances(box((0, 0, 0), (1, 1, 1)), box((0, 0, 4), (1, 1, 6)), spacing_mm=(1, 1, 1))
    assert found.hd95_mm == pytest.approx(4.95)


def test_concentric_balls_are_the_difference_of_their_radii_apart() -> None:
    spacing = (0.5, 0.5, 0.5)
    found = surface_distances(ball(12, spacing_mm=spacing), ball(9, spacing_mm=spacing), spacing_mm=spacing)
    # Within half a voxel: surface voxels lie on a lattice, not on the sphere.
    assert found.mean_mm == pytest.approx(3, abs=0.25)
    assert found.hd95_mm == pytest.approx(3, abs=0.25)


def test_distances_do_not_depend_on_which_mask_comes_first() -> None:
    a, b = ball(8, spacing_mm=(1, 1, 2)), ball(11, spacing_mm=(1, 1.5, 2))
    assert surface_distances(a, b, spacing_mm=(1, 1, 2)) == surface_distances(b, a, spacing_mm=(1, 1, 2))


def test_the_surface_of_a_cube_is_its_outer_shell() -> None:
    assert np.count_nonzero(surface(box((2, 2, 2), (7, 7, 7)))) == 5**3 - 3**3


def test_a_mask_at_the_edge_of_the_scan_has_its_surface_there() -> None:
    assert np.count_nonzero(surface(np.ones((5, 5, 5), dtype=bool))) == 5**3 - 3**3


def test_two_empty_masks_have_no_number_and_one_empty_mask_is_infinitely_far() -> None:
    empty, full = np.zeros((4, 4, 4), dtype=bool), np.ones((4, 4, 4), dtype=bool)
    assert math.isnan(dice(empty, empty))
    assert dice(empty, full) == 0.0
    both = surface_distances(empty, empty, spacing_mm=(1, 1, 1))
    assert math.isnan(both.mean_mm)
    assert math.isnan(both.hd95_mm)
    for a, b in ((empty, full), (full, empty)):
        one = surface_distances(a, b, spacing_mm=(1, 1, 1))
        assert math.isinf(one.mean_mm)
        assert math.isinf(one.hd95_mm)


def test_masks_of_different_grids_and_masks_of_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="one grid"):
        dice(np.zeros((2, 2, 2), dtype=bool), np.zeros((2, 2, 3), dtype=bool))
    with pytest.raises(ValueError, match="boolean"):
        dice(np.zeros((2, 2, 2), dtype=np.uint8), np.zeros((2, 2, 2), dtype=np.uint8))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="z, y, x"):
        surface_distances(np.zeros((2, 2), dtype=bool), np.zeros((2, 2), dtype=bool), spacing_mm=(1, 1, 1))


def test_the_bounding_box_is_tight() -> None:
    assert bounding_box(box((3, 4, 5), (6, 9, 7))) == (slice(3, 6), slice(4, 9), slice(5, 7))
    assert bounding_box(np.zeros((3, 3, 3), dtype=bool)) is None
