import numpy as np

from imaging import smoothing
from imaging.matching import search, sub_voxel_step
from imaging.similarity import BITS, describe, local_distance
from imaging.smoothing import smooth
from tests.imaging.registration_cases import made_up_case


def textured(seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 1, (1, 20, 24, 28)).astype(np.float32)
    return 600 * smooth(noise, 1.5)[0]


def distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(local_distance(describe(a), describe(b), np.ones(a.shape, bool), sigma_voxels=2.0).mean())


def test_an_image_is_at_no_distance_from_itself() -> None:
    assert distance(textured(), textured()) == 0


def test_another_offset_and_contrast_of_the_scanner_change_little() -> None:
    assert distance(textured(), 1.3 * textured() + 40) < 0.25 * distance(textured(), textured(1))


def test_uniform_tissue_with_noise_looks_uniform() -> None:
    flat = np.full((12, 12, 12), 40.0, np.float32)
    noise = np.random.default_rng(1).normal(0, 3, flat.shape).astype(np.float32)
    assert distance(flat, flat + noise) < 0.02


def test_changed_contents_cost_no_more_than_the_bits_there_are() -> None:
    gas = textured()
    gas[5:15, 5:15, 5:15] = -1000
    shares = local_distance(describe(textured()), describe(gas), np.ones(gas.shape, bool), sigma_voxels=1.0)
    assert shares.min() >= 0
    assert shares.max() <= 1
    assert shares[10, 20, 24] < 0.01
    assert BITS == 60


def test_where_nothing_was_scanned_the_neighbours_decide() -> None:
    other = textured()
    other[:, :, 14:] = textured(1)[:, :, 14:]
    seen = np.ones(other.shape, bool)
    seen[:, :, 12:] = False
    shares = local_distance(describe(textured()), describe(other), seen, sigma_voxels=2.0)
    assert shares[:, :, :16].max() < 0.05


def test_the_search_finds_a_shift_by_whole_voxels() -> None:
    case = made_up_case(size_mm=0.01)
    hu = case.planning.hu.astype(np.float32)
    moving = np.roll(hu, (1, -2, 3), axis=(0, 1, 2))
    found = search(describe(hu), describe(moving), reach=3)
    assert np.median(found[:, 8:20, 18:42, 22:54], axis=(1, 2, 3)).round().tolist() == [3, -2, 1]


def test_air_stays_where_it_is() -> None:
    air = np.full((8, 8, 8), -1000.0, np.float32)
    assert not search(describe(air), describe(air), reach=2).any()


def test_a_step_of_half_a_voxel_goes_the_right_way() -> None:
    # Block means of a finely drawn image, displaced by one fine voxel of two.
    fine = 900 * smooth(np.random.default_rng(3).normal(0, 1, (1, 40, 48, 58)).astype(np.float32), 3.5)[0]
    coarse = [fine[:, :, s : s + 56].reshape(20, 2, 24, 2, 28, 2).mean(axis=(1, 3, 5)) for s in (0, 1)]
    here, there = (describe(image) for image in coarse)
    step, weight = sub_voxel_step(here, there, np.ones(coarse[0].shape, bool), window=1.0)
    along = float((step[0] * weight[0]).sum() / weight.sum())
    across = float((step[1] * weight[0]).sum() / weight.sum())
    # `there` shows at i what `here` shows at i + 1/2, so the place of `here` lies half a voxel lower in `there`.
    assert -0.8 < along < -0.2
    assert abs(across) < 0.1


def test_a_read_only_field_is_smoothed_by_the_kernel_that_was_compiled_for_all_others():
    stack = np.random.default_rng(0).normal(0, 1, (3, 6, 7, 8)).astype(np.float32)
    known = smooth(stack, 1.0)
    kernels = len(smoothing._smooth_planes.signatures)
    stack.flags.writeable = False
    assert np.array_equal(smooth(stack, 1.0), known)
    assert len(smoothing._smooth_planes.signatures) == kernels
