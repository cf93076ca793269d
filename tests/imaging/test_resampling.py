import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imaging.geometry import VolumeGeometry
from imaging.resampling import resample, resample_deformed, resample_reaching
from imaging.transforms import AffineTransform, DisplacementField
from imaging.volume import AIR_HU, Volume

RAMP = VolumeGeometry((6, 8, 10), (-10.0, 20.0, 100.0), (2.0, 3.0, 4.0))


def ramp_volume() -> Volume:
    """HU = 10 i + 100 j + 7 k, linear in the index."""
    k, j, i = np.indices(RAMP.shape)
    return Volume((10 * i + 100 * j + 7 * k).astype(np.int16), RAMP)


def test_the_own_grid_gives_the_own_values() -> None:
    volume = ramp_volume()
    assert np.array_equal(resample(volume, RAMP), volume.hu)


@settings(max_examples=20, deadline=None)
@given(st.floats(-10, 8), st.floats(20, 41), st.floats(100, 120))
def test_a_linear_ramp_is_read_exactly_between_voxel_centres(x: float, y: float, z: float) -> None:
    value = resample(ramp_volume(), VolumeGeometry((1, 1, 1), (x, y, z), (1.0, 1.0, 1.0)))[0, 0, 0]
    assert value == pytest.approx(10 * (x + 10) / 2 + 100 * (y - 20) / 3 + 7 * (z - 100) / 4, abs=0.01)


@settings(max_examples=50, deadline=None)
@given(
    st.tuples(*[st.floats(-0.3, 0.3)] * 3), st.tuples(*[st.floats(0.3, 4.0)] * 3), st.tuples(*[st.integers(1, 12)] * 3)
)
def test_a_grid_on_the_same_axes_is_read_as_through_the_identity(
    offset: tuple[float, float, float], spacing: tuple[float, float, float], shape: tuple[int, int, int]
) -> None:
    first = RAMP.to_lps(np.array(offset) * RAMP.shape[::-1])
    grid = VolumeGeometry(shape, (first[0], first[1], first[2]), spacing)
    noise = np.random.default_rng(1).integers(-1000, 2000, RAMP.shape).astype(np.int16)
    through = resample(Volume(noise, RAMP), grid, to_source=AffineTransform.identity())
    # Where a place lies on the very end of the scan, rounding may count it in or out.
    ends = np.abs(np.stack(np.meshgrid(*(on_the_end(grid, axis) for axis in "zyx"), indexing="ij"))).min(axis=0) < 1e-9
    assert resample(Volume(noise, RAMP), grid)[~ends] == pytest.approx(through[~ends], abs=0.01)


def on_the_end(grid: VolumeGeometry, axis: str) -> np.ndarray:
    """Voxels from the nearer end of the scan, half a voxel beyond its outermost centre."""
    index = (grid.axis_mm(axis) - RAMP.axis_mm(axis)[0]) / RAMP.spacing_mm["xyz".index(axis)]
    return np.minimum(np.abs(index + 0.5), np.abs(index - len(RAMP.axis_mm(axis)) + 0.5))


def test_half_a_voxel_beyond_the_last_centre_keeps_its_value_and_farther_out_is_air() -> None:
    line = VolumeGeometry((1, 1, 3), (7.9, 20.0, 100.0), (1.05, 1.0, 1.0))
    assert resample(ramp_volume(), line)[0, 0].tolist() == pytest.approx([89.5, 90.0, AIR_HU], abs=1e-3)


def test_a_grid_beyond_the_scan_repeats_its_outermost_voxels_as_for_a_field_that_moves_nothing() -> None:
    wider = RAMP.cropped((-2, -1, -3), (8, 9, 12))
    still = DisplacementField(np.zeros((3, *wider.shape), np.float32), wider)
    expected, _ = resample_deformed(ramp_volume(), still, affine=AffineTransform.identity())
    found = resample_reaching(ramp_volume(), wider)
    assert found[0, 0].tolist() == [0, 0, 0, *range(0, 100, 10), 90, 90]
    assert found == pytest.approx(expected, abs=1e-3)


def test_the_affine_carries_wanted_points_to_the_source() -> None:
    matrix = np.array([[0.0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    at = VolumeGeometry((1, 1, 1), (23.0, 4.0, 108.0), (1.0, 1.0, 1.0))
    # (23, 4, 108) goes to (-4, 23, 108): index i=3, j=1, k=2.
    assert resample(ramp_volume(), at, to_source=AffineTransform(matrix))[0, 0, 0] == pytest.approx(144.0)


def test_coarsening_averages_whole_blocks_and_puts_them_at_the_block_centre() -> None:
    coarse = ramp_volume().coarsened((4.5, 6.0, 4.0))
    assert coarse.geometry == VolumeGeometry((6, 4, 5), (-9.0, 21.5, 100.0), (4.0, 6.0, 4.0))
    assert coarse.hu[0, 0, 0] == 55
    assert coarse.hu[2, 1, 3] == 10 * 6.5 + 100 * 2.5 + 14


def test_a_coarser_grid_with_averaging_does_not_pick_single_noisy_voxels() -> None:
    noise = np.random.default_rng(3).normal(0, 50, (16, 32, 32)).astype(np.int16)
    volume = Volume(noise, VolumeGeometry(noise.shape, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)))
    grid = VolumeGeometry((4, 8, 8), (1.5, 1.5, 1.5), (4.0, 4.0, 4.0))
    assert resample(volume, grid, antialias=True).std() < 50 / 8 * 1.5
    assert resample(volume, grid).std() > 15


def test_a_single_slice_can_be_read() -> None:
    volume = Volume(np.full((1, 3, 3), 40, np.int16), VolumeGeometry((1, 3, 3), (0.0, 0.0, 5.0), (1.0, 1.0, 2.0)))
    assert resample(volume, VolumeGeometry((1, 1, 1), (1.0, 1.0, 5.5), (1.0, 1.0, 1.0)))[0, 0, 0] == 40
