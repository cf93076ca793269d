import numpy as np
import pytest

from imaging.geometry import VolumeGeometry
from imaging.transforms import AffineTransform
from imaging.volume import Volume
from training.baselines.gas import GasSettings, body_on, gas_in, harmonic_fill, mask_on, noise_sd, without_gas

PLAIN = GasSettings(skin_voxels=0, closing_voxels=0, rim_voxels=0)


def ramp(shape: tuple[int, int, int] = (9, 10, 11)) -> np.ndarray:
    k, j, i = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in shape), indexing="ij")
    return (10 * k - 5 * j + 2 * i).astype(np.float32)


def test_a_ramp_is_filled_by_itself():
    hole = np.zeros((9, 10, 11), np.bool_)
    hole[2:6, 3:8, 4:7] = True
    broken = ramp()
    broken[hole] = -1000
    np.testing.assert_allclose(harmonic_fill(broken, hole), ramp(), atol=0.05)


def test_one_voxel_becomes_the_mean_of_its_faces():
    hu = np.zeros((3, 3, 3), np.float32)
    hole = np.zeros((3, 3, 3), np.bool_)
    hole[1, 1, 1] = True
    hu[0, 1, 1], hu[2, 1, 1], hu[1, 0, 1] = 60.0, 30.0, -30.0
    assert harmonic_fill(hu, hole)[1, 1, 1] == pytest.approx(60 / 6)


def test_a_hole_at_the_end_of_the_array_is_filled_from_the_sides_that_are_there():
    hu = np.full((4, 4, 4), 35.0, np.float32)
    hole = np.zeros((4, 4, 4), np.bool_)
    hole[0, 0, :2] = True
    hu[hole] = -900
    np.testing.assert_allclose(harmonic_fill(hu, hole), 35.0, atol=1e-3)


def test_a_hole_without_surroundings_cannot_be_filled():
    with pytest.raises(ValueError, match="nothing surrounds"):
        harmonic_fill(np.zeros((2, 2, 2), np.float32), np.ones((2, 2, 2), np.bool_))


def test_gas_is_dark_and_inside_the_body():
    hu = np.full((5, 7, 7), 40.0, np.float32)
    hu[2, 3, 3], hu[2, 0, 0], hu[2, 3, 5] = -800.0, -900.0, -100.0
    body = np.zeros(hu.shape, np.bool_)
    body[:, 1:-1, 1:-1] = True
    assert np.argwhere(gas_in(hu, body, PLAIN)).tolist() == [[2, 3, 3]]


def test_beneath_the_skin_nothing_counts_as_gas():
    hu = np.full((9, 9, 9), -500.0, np.float32)
    body = np.zeros(hu.shape, np.bool_)
    body[:, 1:8, 1:8] = True
    gas = gas_in(hu, body, GasSettings(skin_voxels=2, closing_voxels=0, rim_voxels=0))
    # The patient goes on beyond the first and the last plane, so nothing is lost there.
    assert gas.sum() == 9 * 3 * 3
    assert gas[:, 3:6, 3:6].all()


def test_two_bubbles_beside_each_other_are_one_pocket():
    hu = np.full((5, 5, 7), 0.0, np.float32)
    hu[:, :, 2] = hu[:, :, 4] = -700.0
    gas = gas_in(hu, np.ones(hu.shape, np.bool_), GasSettings(skin_voxels=0, closing_voxels=1, rim_voxels=0))
    assert gas[:, :, 2:5].all()
    assert not gas[:, :, :2].any()
    assert not gas[:, :, 5:].any()


def test_the_rim_is_painted_too():
    hu = np.zeros((5, 5, 5), np.float32)
    hu[2, 2, 2] = -800.0
    gas = gas_in(hu, np.ones(hu.shape, np.bool_), GasSettings(skin_voxels=0, closing_voxels=0, rim_voxels=1))
    assert gas.sum() == 7


def test_noise_is_measured_from_the_differences_of_neighbours():
    hu = np.random.default_rng(1).normal(0, 12, (20, 20, 20)).astype(np.float32)
    assert noise_sd(hu, np.ones(hu.shape, np.bool_)) == pytest.approx(12, rel=0.05)
    assert noise_sd(hu, np.zeros(hu.shape, np.bool_)) == 0.0


def test_painted_gas_has_the_value_and_the_noise_of_its_surroundings():
    rng = np.random.default_rng(2)
    hu = (40 + rng.normal(0, 10, (24, 24, 24))).astype(np.float32)
    hu[6:18, 6:18, 6:18] = -950
    before = hu.copy()
    painted = without_gas(hu, np.ones(hu.shape, np.bool_), PLAIN)
    inner = painted[6:18, 6:18, 6:18]
    assert inner.mean() == pytest.approx(40, abs=2)
    assert inner.std() == pytest.approx(10, rel=0.2)
    np.testing.assert_array_equal(hu, before)
    np.testing.assert_array_equal(painted[:6], hu[:6])
    np.testing.assert_array_equal(painted, without_gas(hu, np.ones(hu.shape, np.bool_), PLAIN))


def test_a_scan_without_gas_stays_as_it_is():
    hu = np.full((4, 4, 4), 20.0, np.float32)
    assert without_gas(hu, np.ones(hu.shape, np.bool_), PLAIN) is hu


def test_a_mask_travels_to_another_grid_through_the_affine():
    source = VolumeGeometry((6, 6, 6), (0.0, 0.0, 0.0), (2.0, 2.0, 2.0))
    mask = np.zeros(source.shape, np.bool_)
    mask[2:4, 2:4, 2:4] = True
    shifted = np.eye(4)
    shifted[:3, 3] = [2.0, 0.0, -2.0]
    found = mask_on(mask, source, source, to_source=AffineTransform(shifted))
    assert np.argwhere(found).min(axis=0).tolist() == [3, 2, 1]
    assert found.sum() == 8


def test_the_body_holds_its_gas_and_not_the_air_around_it():
    hu = np.full((10, 60, 60), -1000, np.int16)
    hu[:, 10:50, 10:50] = 30
    hu[:, 25:35, 25:35] = -900
    grid = VolumeGeometry(hu.shape, (0.0, 0.0, 0.0), (2.5, 2.5, 2.5))
    body = body_on(Volume(hu, grid), grid)
    assert body[5, 12:48, 12:48].all()
    assert not body[5, :9].any()
    assert not body_on(Volume(np.full((4, 20, 20), -1000, np.int16), grid.cropped((0, 0, 0), (4, 20, 20))), grid).any()
