import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imaging.geometry import VolumeGeometry
from imaging.masks import EMPTY, FULL, PackedMasks

GRID = VolumeGeometry((4, 5, 6), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 5)), min_size=1, max_size=4))
def test_the_box_ends_with_the_outermost_voxels_of_all_rois(voxels: list[tuple[int, int, int]]) -> None:
    bits = np.zeros(GRID.shape, np.uint64)
    for n, voxel in enumerate(voxels):
        bits[voxel] |= np.uint64(1 << n)
    lower, upper = (tuple(end(axis) for axis in zip(*voxels, strict=True)) for end in (min, max))
    assert PackedMasks(bits, tuple(range(len(voxels))), GRID).box == (lower, upper)


def test_empty_rois_have_no_box() -> None:
    assert PackedMasks(np.zeros(GRID.shape, np.uint64), (1,), GRID).box is None


def test_bits_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        PackedMasks(np.zeros((1, 1, 1), np.uint64), (1,), GRID)
    with pytest.raises(ValueError, match="do not fit"):
        PackedMasks(np.zeros(GRID.shape, np.uint64), (1,), GRID, np.zeros((4, 5, 5, 2), np.uint64))


def test_without_more_points_the_centre_stands_for_the_voxel() -> None:
    bits = np.arange(120, dtype=np.uint64).reshape(GRID.shape)
    assert np.array_equal(PackedMasks(bits, (1,), GRID).samples[..., 0], bits)


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("rarity", [1, 6])
def test_a_survey_says_where_all_points_agree_and_what_each_block_holds(count: int, rarity: int) -> None:
    rng = np.random.default_rng(rarity)
    grid = VolumeGeometry((7, 9, 11), (0.0, 0.0, 0.0), (1.3, 2.0, 5.0))
    samples = (rng.integers(0, rarity, (*grid.shape, count)) == rarity - 1).astype(np.uint64)
    samples[2:6, 3:8, 4:9] = 2
    survey = PackedMasks(samples[..., 0].copy(), (1, 2), grid, samples).survey
    for k, j, i in np.ndindex(6, 8, 10):
        words = np.unique(samples[k : k + 2, j : j + 2, i : i + 2])
        expected = 0 if words.size > 1 else EMPTY if words[0] == 0 else FULL
        assert survey.alike[k, j, i] == expected
    # Blocks of 4 mm: one plane, two rows, three columns.
    assert survey.block.tolist() == [1, 2, 3]
    for k, j, i in np.ndindex(survey.held.shape):
        assert survey.held[k, j, i] == np.bitwise_or.reduce(samples[k, 2 * j : 2 * j + 2, 3 * i : 3 * i + 3], axis=None)
