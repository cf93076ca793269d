import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imaging.geometry import VolumeGeometry
from imaging.masks import PackedMasks

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
