"""Two CTs of one texture in closed form: where they come from one another, the fit must say by how much."""

import numpy as np
import pytest
from numpy.typing import NDArray

from imaging import local_fit
from imaging.arrays import FloatVoxels
from imaging.geometry import VolumeGeometry
from imaging.local_fit import LEVELS, fit_locally, still_far
from imaging.transforms import AffineTransform, DisplacementField
from imaging.volume import Volume

GRID = VolumeGeometry((50, 60, 60), (-59.0, -59.0, -49.0), (2.0, 2.0, 2.0))
REGION = VolumeGeometry((25, 30, 30), (-58.0, -58.0, -48.0), (4.0, 4.0, 4.0))
INNER = (slice(None), slice(5, -5), slice(5, -5), slice(5, -5))
IDENTITY = AffineTransform.identity()


def tissue(xyz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Waves of 24 to 40 mm, 40 HU high: as soft organs look on a CT."""
    x, y, z = xyz
    return 40.0 * (np.sin(x / 4.0) + np.sin(y / 5.0 + 1.0) + np.sin(z / 6.0 + 2.0)) / 1.5


def scan(shift_mm: tuple[float, float, float], noise_hu: float = 0.0, seed: int = 0) -> FloatVoxels:
    z, y, x = np.meshgrid(*(GRID.axis_mm(axis) for axis in "zyx"), indexing="ij")
    hu = tissue(np.stack([x + shift_mm[0], y + shift_mm[1], z + shift_mm[2]]))
    return (hu + np.random.default_rng(seed).normal(0, noise_hu, GRID.shape)).astype(np.float32)


def fitted(
    fixed: FloatVoxels, moving: FloatVoxels, start_mm: float = 0.0, *, grid: VolumeGeometry = GRID
) -> FloatVoxels:
    start = DisplacementField(np.full((3, *REGION.shape), start_mm, np.float32), REGION)
    volumes = [Volume(hu.astype(np.int16), grid) for hu in (fixed, moving)]
    return fit_locally(fixed=volumes[0], moving=volumes[1], affine=IDENTITY, field=start).vectors


@pytest.mark.parametrize("start_mm", [0.0, 1.0])
def test_a_shift_is_found_to_a_tenth_of_a_millimetre_from_wherever_it_begins(start_mm: float) -> None:
    # The daily CT shows at p what the planning CT shows at p + shift.
    shift = (2.5, -1.5, 1.0)
    found = fitted(scan(shift, noise_hu=10.0, seed=1), scan((0, 0, 0), noise_hu=10.0, seed=2), start_mm)
    assert np.abs(found[INNER].mean(axis=(1, 2, 3)) - shift).max() < 0.1


def test_noise_alone_moves_by_less_than_half_a_voxel() -> None:
    noise = [np.random.default_rng(seed).normal(0, 20, GRID.shape).astype(np.float32) for seed in (1, 2)]
    assert np.abs(fitted(*noise)[INNER]).mean() < LEVELS[-1].spacing_mm / 2


def test_gas_that_only_the_day_has_moves_its_surroundings_little() -> None:
    still = scan((0, 0, 0))
    gassy = still.copy()
    z, y, x = np.meshgrid(*(GRID.axis_mm(axis) for axis in "zyx"), indexing="ij")
    gassy[x**2 + y**2 + z**2 < 10.0**2] = -900.0
    found = fitted(gassy, still)
    distance = np.sqrt(sum(a**2 for a in np.meshgrid(*(REGION.axis_mm(axis) for axis in "zyx"), indexing="ij")))
    assert np.abs(found[:, (distance > 14) & (distance < 40)]).mean() < 0.05


def test_the_same_scans_stay_where_they_are() -> None:
    assert np.abs(fitted(scan((0, 0, 0)), scan((0, 0, 0)))).max() < 1e-3


def test_what_lies_far_from_the_plan_keeps_its_start() -> None:
    shift = (2.5, -1.5, 1.0)
    scans = [Volume(scan(mm).astype(np.int16), GRID) for mm in (shift, (0.0, 0.0, 0.0))]
    start = DisplacementField(np.zeros((3, *REGION.shape), np.float32), REGION)
    planned = np.array([-58.0, -20.0, -20.0]), np.array([-30.0, 20.0, 20.0])
    found = fit_locally(fixed=scans[0], moving=scans[1], affine=IDENTITY, field=start, planned=planned).vectors
    x, y, z = (REGION.axis_mm(axis) for axis in "xyz")
    # The coarsest level reaches 20 mm beyond the plan.
    assert not found[:, :, :, x > -10.0].any()
    inner = found[:, abs(z) < 15][:, :, abs(y) < 15][..., (x > -50.0) & (x < -32.0)]
    assert np.abs(inner.mean(axis=(1, 2, 3)) - shift).max() < 0.2


@pytest.mark.parametrize(("length_mm", "taken"), [(0.0, 0.0), (0.2, 1 / 82), (0.6, 0.5), (1.8, 81 / 82)])
def test_of_the_further_steps_only_long_ones_are_taken(length_mm: float, taken: float) -> None:
    step = np.zeros((3, 1, 1, 1), np.float32)
    step[1] = length_mm
    assert still_far(step)[0, 0, 0] == pytest.approx(taken, abs=1e-6)


def test_a_region_beyond_the_planning_scan_keeps_its_start() -> None:
    start = DisplacementField(np.full((3, *REGION.shape), 500.0, np.float32), REGION)
    volume = Volume(scan((0, 0, 0)).astype(np.int16), GRID)
    assert np.allclose(fit_locally(fixed=volume, moving=volume, affine=IDENTITY, field=start).vectors, 500.0)


def test_a_region_too_large_for_finer_voxels_is_fitted_on_one_level(monkeypatch: pytest.MonkeyPatch) -> None:
    fixed, moving = scan((2.5, -1.5, 1.0), noise_hu=10.0, seed=1), scan((0, 0, 0), noise_hu=10.0, seed=2)
    both = fitted(fixed, moving)
    # 116 x 116 x 96 mm in 40 000 voxels: 3.2 mm, more than either level asks for.
    monkeypatch.setattr(local_fit, "MOST_VOXELS", 40_000)
    large = fitted(fixed, moving)
    monkeypatch.setattr(local_fit, "LEVELS", LEVELS[:1])
    assert np.array_equal(large, fitted(fixed, moving))
    assert not np.array_equal(large, both)


def test_cts_of_three_millimetre_voxels_are_fitted_on_one_level_with_fewer_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    coarse = VolumeGeometry((33, 40, 40), (-58.5, -58.5, -48.0), (3.0, 3.0, 3.0))
    z, y, x = np.meshgrid(*(coarse.axis_mm(axis) for axis in "zyx"), indexing="ij")
    scans = [tissue(np.stack([x + shift, y, z])).astype(np.float32) for shift in (2.5, 0.0)]
    both = fitted(scans[0], scans[1], grid=coarse)
    monkeypatch.setattr(local_fit, "LEVELS", (LEVELS[0]._replace(steps=1),))
    assert np.array_equal(both, fitted(scans[0], scans[1], grid=coarse))
    monkeypatch.setattr(local_fit, "STEPS_ALONE", LEVELS[0].steps)
    assert not np.array_equal(both, fitted(scans[0], scans[1], grid=coarse))


@pytest.mark.parametrize(("own_mm", "window_mm"), [(1.0, 4.0), (1.5, 4.2), (2.5, 7.0), (4.0, 11.2)])
def test_a_window_holds_enough_of_the_cts_own_voxels(own_mm: float, window_mm: float) -> None:
    level = LEVELS[1].on(REGION, own_mm)
    assert level.window_mm == pytest.approx(window_mm)
    assert level.spacing_mm == pytest.approx(max(1.8, own_mm))
