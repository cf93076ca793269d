"""Means of a part of a CT are the means of the whole CT there: a smaller look may not move a contour."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from imaging.geometry import VolumeGeometry
from imaging.resampling import resample
from imaging.volume import Volume

GRID = VolumeGeometry((14, 23, 26), (-10.0, 5.0, 40.0), (1.0, 1.0, 2.0))
CT = Volume(np.random.default_rng(0).integers(-1000, 2000, GRID.shape).astype(np.int16), GRID)
COARSE = (3.0, 3.0, 4.0)


def test_a_block_is_the_mean_of_its_voxels_to_one_hounsfield_unit() -> None:
    means = CT.coarsened(COARSE)
    assert means.geometry == VolumeGeometry((7, 7, 8), (-9.0, 6.0, 41.0), (3.0, 3.0, 4.0))
    assert means.hu[2, 3, 1] == np.floor(CT.hu[4:6, 9:12, 3:6].mean() + 0.5)


@settings(max_examples=50, deadline=None)
@given(st.tuples(*[st.floats(-20.0, 80.0)] * 3), st.tuples(*[st.floats(0.0, 40.0)] * 3))
def test_a_look_into_a_box_sees_the_same_with_and_without_what_lies_outside(
    corner: tuple[float, float, float], size: tuple[float, float, float]
) -> None:
    whole = CT.coarsened(COARSE)
    part = CT.coarsened(COARSE, (np.array(corner), np.add(corner, size)))
    inside = VolumeGeometry((4, 4, 4), corner, (size[0] / 3 + 1e-9, size[1] / 3 + 1e-9, size[2] / 3 + 1e-9))
    held = [
        (low - 1.5 * s <= c) and (c + length <= high + 1.5 * s)
        for low, high, s, c, length in zip(
            whole.geometry.origin_mm, whole.geometry.last_mm, (1.0, 1.0, 1.0), corner, size, strict=True
        )
    ]
    if all(held):
        np.testing.assert_allclose(resample(part, inside), resample(whole, inside), atol=1e-2)
    assert part.hu.size <= whole.hu.size
    assert part.hu.size >= 1


def test_a_box_beside_the_ct_leaves_its_nearest_block() -> None:
    far = CT.coarsened(COARSE, (np.array([500.0, 500.0, 500.0]), np.array([510.0, 510.0, 510.0])))
    assert far.hu.shape == (1, 1, 1)
    assert far.hu[0, 0, 0] == CT.coarsened(COARSE).hu[-1, -1, -1]
