import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from imaging.geometry import VolumeGeometry
from imaging.masks import PackedMasks, RoiPatch
from imaging.measures import measure, measure_packed

GRID = VolumeGeometry((10, 30, 40), (100.0, -50.0, 7.0), (2.0, 1.0, 5.0))
"""One voxel is 0.01 cc."""


def packed(*masks: np.ndarray) -> PackedMasks:
    bits = np.zeros(GRID.shape, dtype=np.uint64)
    for bit, mask in enumerate(masks):
        bits |= mask.astype(np.uint64) << np.uint64(bit)
    return PackedMasks(bits, tuple(range(11, 11 + len(masks))), GRID)


def box(z: slice, y: slice, x: slice) -> np.ndarray:
    mask = np.zeros(GRID.shape, dtype=bool)
    mask[z, y, x] = True
    return mask


def test_a_box_is_measured_as_by_hand() -> None:
    found = measure_packed(packed(box(slice(2, 6), slice(10, 20), slice(5, 10))))[11]
    assert found.volume_cc == pytest.approx(4 * 10 * 5 * 0.01)
    # Index centroid (7, 14.5, 3.5): 100 + 14, -50 + 14.5, 7 + 17.5.
    assert found.centroid_mm == pytest.approx((114, -35.5, 24.5))
    assert found.lower_mm == pytest.approx((109, -40.5, 14.5))
    assert found.upper_mm == pytest.approx((119, -30.5, 34.5))
    assert found.slice_cc == pytest.approx([0.5] * 4)
    assert found.slice_centroids_mm[:, 2] == pytest.approx([17, 22, 27, 32])
    assert (found.gaps, found.components) == (0, 1)


def test_rois_that_share_voxels_are_measured_each_for_itself() -> None:
    outer, inner = box(slice(0, 10), slice(0, 30), slice(0, 40)), box(slice(3, 5), slice(3, 8), slice(4, 8))
    found = measure_packed(packed(outer, inner))
    assert found[11].volume_cc == pytest.approx(12000 * 0.01)
    assert found[12].volume_cc == pytest.approx(40 * 0.01)
    assert found[11].components == found[12].components == 1


def test_a_patch_and_the_same_roi_in_packed_bits_measure_alike() -> None:
    mask = box(slice(2, 6), slice(10, 20), slice(5, 10)) | box(slice(4, 8), slice(15, 25), slice(8, 20))
    inside = mask[1:9, 8:28, 3:25].astype(np.float32) * 0.6
    one, other = measure(RoiPatch(11, (1, 8, 3), inside, GRID)), measure_packed(packed(mask))[11]
    assert one.volume_cc == pytest.approx(other.volume_cc)
    assert one.centroid_mm == pytest.approx(other.centroid_mm)
    assert one.lower_mm == pytest.approx(other.lower_mm)
    assert one.upper_mm == pytest.approx(other.upper_mm)


def test_an_empty_roi_has_no_place() -> None:
    found = measure(RoiPatch(1, (0, 0, 0), np.full((2, 3, 4), 0.49, dtype=np.float32), GRID))
    assert found.volume_cc == 0
    assert found.centroid_mm is None
    assert found.components == 0


def test_a_missing_slice_inside_an_roi_is_counted_as_a_gap() -> None:
    mask = box(slice(1, 8), slice(5, 15), slice(5, 15))
    mask[4] = False
    found = measure_packed(packed(mask))[11]
    assert (found.gaps, found.components) == (1, 2)


def test_a_speck_is_no_island_but_a_piece_of_fifty_cubic_millimetres_is() -> None:
    body = box(slice(1, 4), slice(1, 10), slice(1, 10))
    assert measure_packed(packed(body | box(slice(8, 9), slice(20, 22), slice(20, 22))))[11].components == 1
    assert measure_packed(packed(body | box(slice(8, 9), slice(20, 21), slice(20, 25))))[11].components == 2


def test_parts_that_touch_at_an_edge_only_are_two_parts() -> None:
    mask = box(slice(1, 4), slice(1, 5), slice(1, 5)) | box(slice(1, 4), slice(5, 9), slice(5, 9))
    assert measure_packed(packed(mask))[11].components == 2


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.2, 0.7))
def test_components_are_those_of_an_independent_labelling(seed: int, share: float) -> None:
    grid = VolumeGeometry((6, 7, 8), (0, 0, 0), (10, 10, 10))
    mask = np.random.default_rng(seed).random(grid.shape) < share
    _, expected = ndimage.label(mask)  # type: ignore[misc]
    assert measure(RoiPatch(1, (0, 0, 0), mask.astype(np.float32), grid)).components == expected
