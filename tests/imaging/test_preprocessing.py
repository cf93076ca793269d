"""The network sees the daily patient's box around the planned organs, at its own spacing and in its own window."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imaging.geometry import VolumeGeometry
from imaging.manifest import HuWindow, ModelManifest
from imaging.masks import PackedMasks
from imaging.preprocessing import network_region, output_geometry, sample_labels, windowed
from imaging.transforms import AffineTransform
from tests.manifests import manifest_with


def corners(lower: float, upper: float) -> np.ndarray:
    return np.array([[lower, lower, lower], [upper, upper, upper]])


def test_the_smallest_region_whose_output_holds_the_organs_is_taken() -> None:
    """60 mm of organs and 15 mm on both sides are 90 mm; sizes 96, 132 and 160 give 55, 91 and 119 mm of output."""
    manifest = manifest_with(region_sizes=((96, 96, 96), (132, 132, 132), (160, 160, 160)))
    region = network_region(corners(0.0, 60.0), manifest)
    assert region.geometry.shape == (132, 132, 132)
    assert region.holds_all


def test_the_region_is_centred_on_the_organs() -> None:
    region = network_region(corners(10.0, 50.0), manifest_with()).geometry
    assert region.centre_mm == pytest.approx((30.0, 30.0, 30.0))


def test_organs_larger_than_every_region_are_said_to_be_cut() -> None:
    region = network_region(corners(0.0, 500.0), manifest_with(region_sizes=((96, 96, 96),)))
    assert region.geometry.shape == (96, 96, 96)
    assert not region.holds_all


def test_the_output_is_the_region_without_its_margin() -> None:
    manifest: ModelManifest = manifest_with()
    region = VolumeGeometry((96, 100, 104), (1.0, 2.0, 3.0), (1.0, 1.0, 1.0))
    output = output_geometry(region, manifest)
    assert output.shape == (56, 60, 64)
    assert output.origin_mm == (21.0, 22.0, 23.0)


def test_hounsfield_units_are_clipped_then_scaled() -> None:
    values = windowed(np.float32([-2000, -500, 250, 3000]), HuWindow(lower=-1000, upper=1000, divisor=1000))
    assert values.tolist() == [-1.0, -0.5, 0.25, 1.0]


def test_planned_organs_are_carried_through_the_affine_and_overlaps_go_to_the_higher_label() -> None:
    """The planning voxel (2, 3, 4) lies 5 mm in x beyond the daily point; ROI 7 is label 1, ROI 9 label 2."""
    grid = VolumeGeometry((6, 6, 12), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    bits = np.zeros(grid.shape, dtype=np.uint64)
    bits[2, 3, 9] = 0b11
    bits[2, 3, 8] = 0b01
    matrix = np.eye(4)
    matrix[0, 3] = 5.0
    labels = sample_labels(PackedMasks(bits, (7, 9), grid), {7: 1, 9: 2}, affine=AffineTransform(matrix), region=grid)
    assert labels[2, 3, 4] == 2
    assert labels[2, 3, 3] == 1
    assert labels.sum() == 3


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_every_label_is_that_of_the_nearest_planning_voxel(seed: int) -> None:
    rng = np.random.default_rng(seed)
    grid = VolumeGeometry((5, 7, 9), (-4.0, 2.0, -3.0), (2.0, 1.5, 3.0))
    region = VolumeGeometry((8, 9, 10), (-9.0, -2.0, -6.0), (2.5, 2.0, 2.0))
    bits = rng.integers(0, 4, grid.shape).astype(np.uint64)
    matrix = np.eye(4)
    matrix[:3, :3] += rng.normal(0, 0.3, (3, 3)) * (rng.random((3, 3)) < 0.7)
    matrix[:3, 3] = rng.normal(0, 3, 3)
    k, j, i = np.indices(region.shape).reshape(3, -1)
    points = AffineTransform(matrix).to_moving(region.to_lps(np.stack([i, j, k], axis=1)))
    index = np.floor(grid.to_index(points) + 0.5).astype(int)[:, ::-1]
    inside = np.all((index >= 0) & (index < grid.shape), axis=1)
    expected = np.zeros(len(index), np.uint8)
    # ROI 7 is label 1, ROI 9 label 2, and the higher one wins.
    expected[inside] = np.array([0, 1, 2, 2], np.uint8)[bits[tuple(index[inside].T)].astype(int)]
    labels = sample_labels(PackedMasks(bits, (7, 9), grid), {7: 1, 9: 2}, affine=AffineTransform(matrix), region=region)
    assert np.array_equal(labels.ravel(), expected)


def test_an_roi_that_the_network_does_not_know_leaves_no_label() -> None:
    grid = VolumeGeometry((2, 2, 2), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    bits = np.ones(grid.shape, dtype=np.uint64)
    labels = sample_labels(PackedMasks(bits, (5,), grid), {}, affine=AffineTransform.identity(), region=grid)
    assert not labels.any()
