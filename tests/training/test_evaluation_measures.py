import math

import numpy as np
import pytest

from imaging.geometry import VolumeGeometry
from imaging.transforms import DisplacementField
from training.evaluation.measures import (
    added_path_length,
    central_determinant,
    cut_to_box,
    field_measures,
    plane_contours,
)
from training.evaluation.oracle import best_islands

SPACING = (2.0, 2.0, 3.0)


def masks(*boxes: tuple[slice, slice, slice], shape: tuple[int, int, int] = (3, 8, 8)) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    for box in boxes:
        mask[box] = True
    return mask


def square(plane: int, x: int) -> tuple[slice, slice, slice]:
    """4 by 4 pixels of one plane."""
    return slice(plane, plane + 1), slice(2, 6), slice(x, x + 4)


def field(vectors_x: np.ndarray, spacing: float = 1.0) -> DisplacementField:
    """A displacement along x that is the same in every row."""
    shape = (3, 4, len(vectors_x))
    vectors = np.zeros((3, *shape), dtype=np.float32)
    vectors[0] = vectors_x
    return DisplacementField(vectors, VolumeGeometry(shape, (0.0, 0.0, 0.0), (spacing, 1.0, 1.0)))


def test_the_contour_of_a_square_of_four_pixels_has_twelve():
    assert np.count_nonzero(plane_contours(masks(square(1, 2)))) == 12


def test_nothing_is_added_to_an_answer_that_is_the_truth():
    length = added_path_length(masks(square(1, 2)), masks(square(1, 2)), spacing_mm=SPACING)
    assert (length.pixels, length.mm) == (0, 0.0)


def test_a_square_one_pixel_off_has_two_sides_less_their_shared_pixels_to_add():
    """Of 12 contour pixels of the truth the 3 + 3 of upper and lower side are there already."""
    length = added_path_length(masks(square(1, 3)), masks(square(1, 2)), spacing_mm=SPACING)
    assert (length.pixels, length.mm) == (6, 12.0)


def test_what_lies_within_the_tolerance_is_not_added():
    answer, truth = masks(square(1, 3)), masks(square(1, 2))
    assert added_path_length(answer, truth, spacing_mm=SPACING, tolerance_mm=1.9).pixels == 6
    assert added_path_length(answer, truth, spacing_mm=SPACING, tolerance_mm=2.0).pixels == 0


def test_a_plane_without_an_answer_is_drawn_whole_and_one_without_truth_costs_nothing():
    length = added_path_length(masks(square(0, 2), square(2, 2)), masks(square(1, 2), square(2, 2)), spacing_mm=SPACING)
    assert (length.pixels, length.mm) == (12, 24.0)


def test_masks_on_two_grids_are_refused():
    with pytest.raises(ValueError, match="not on one grid"):
        added_path_length(masks(), masks(shape=(3, 8, 9)), spacing_mm=SPACING)


def test_an_even_stretch_changes_volume_evenly():
    """u = 0.1 x makes 1.1 of every length along x."""
    found = field_measures(field(0.1 * np.arange(6) * 2.0, spacing=2.0))
    assert found.folded == 0.0
    assert found.sd_jacobian == pytest.approx(0.0, abs=1e-6)
    assert found.voxels == 3 * 4 * 6


def test_the_spread_of_a_quadratic_stretch():
    """u = 0.1 x^2 on x = 0..4: differences .1 .2 .4 .6 .7, mean .4, variance .052."""
    stretched = field(0.1 * np.arange(5.0) ** 2)
    assert central_determinant(stretched)[0, 0] == pytest.approx([1.1, 1.2, 1.4, 1.6, 1.7])
    found = field_measures(stretched)
    assert found.sd_jacobian == pytest.approx(math.sqrt(0.052))
    assert found.sd_log_jacobian == pytest.approx(np.log([1.1, 1.2, 1.4, 1.6, 1.7]).std(), rel=1e-5)


def test_a_mirror_folds_everywhere_and_has_no_logarithm():
    found = field_measures(field(-2.0 * np.arange(5)))
    assert found.folded == 1.0
    assert math.isnan(found.sd_log_jacobian)


def test_a_fold_of_one_cell_is_seen():
    """Between the third and the fourth point x runs backwards; central differences alone would look over it."""
    tight = field(np.array([0.0, 0.0, 0.75, -0.75, 0.0, 0.0]))
    assert central_determinant(tight).min() > 0
    assert field_measures(tight).folded == pytest.approx(2 / 6)


def test_a_field_is_cut_to_the_voxels_with_centres_in_the_box():
    part = cut_to_box(field(np.arange(6.0), spacing=2.0), (1.9, 0.0, 0.0), (6.0, 9.0, 1.5))
    assert part is not None
    assert part.geometry == VolumeGeometry((2, 4, 3), (2.0, 0.0, 0.0), (2.0, 1.0, 1.0))
    assert part.vectors[0, 0, 0] == pytest.approx([1.0, 2.0, 3.0])


def test_a_field_elsewhere_leaves_nothing():
    assert cut_to_box(field(np.arange(6.0)), (20.0, 0.0, 0.0), (30.0, 9.0, 9.0)) is None


def test_the_oracle_takes_the_island_that_the_truth_chooses_and_not_the_largest():
    small, large = (slice(0, 1), slice(0, 2), slice(0, 2)), (slice(0, 1), slice(4, 8), slice(4, 8))
    kept = best_islands(masks(small, large), masks(small), 1)
    assert np.array_equal(kept, masks(small))


def test_the_oracle_joins_two_islands_where_two_are_allowed_and_better():
    left, right = (slice(0, 1), slice(0, 2), slice(0, 2)), (slice(0, 1), slice(4, 7), slice(4, 7))
    mask = masks(left, right)
    assert np.array_equal(best_islands(mask, mask, 2), mask)
    assert np.array_equal(best_islands(mask, mask, 1), masks(right))


def test_the_oracle_finds_nothing_in_nothing():
    assert not best_islands(masks(), masks(square(1, 2)), 2).any()
