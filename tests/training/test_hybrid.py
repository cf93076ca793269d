from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("itk", reason="the Hybrid method needs the extra 'baselines'")

from imaging.geometry import VolumeGeometry
from imaging.volume import Volume
from training.baselines.elastix import ElastixSettings
from training.baselines.hybrid import SETTINGS, HybridSettings, HybridSystem, bladder_channel, focus, signed_distance
from training.baselines.region import pair_of
from training.evaluation.system import HeldOutCase, identity_of
from training.pairs import packed_organs

from .registered_blobs import BlobCase, Scan, blob_case, shift_field

QUICK = HybridSettings(
    joint=ElastixSettings("joint", grid_mm=24.0, resolutions=2, iterations=60, samples=1500, spacing_mm=3.0),
    focused=ElastixSettings("focused", grid_mm=18.0, resolutions=1, iterations=20, samples=1500, spacing_mm=3.0),
)


def true_bladder(case: HeldOutCase) -> np.ndarray:
    return case.daily.labels == 1


def overlap(system: HybridSystem, case: BlobCase, label: int) -> float:
    (patch,) = (one for one in system.contour(case).paths["registration"] if one.roi_number == label)
    mask = np.zeros(case.daily.labels.shape, np.bool_)
    mask[tuple(slice(a, a + n) for a, n in zip(patch.lower, patch.inside.shape, strict=True))] = patch.inside >= 0.5
    truth = case.daily.labels == label
    return 2.0 * float((mask & truth).sum()) / float(mask.sum() + truth.sum())


def blank(scan: Scan) -> Scan:
    return replace(scan, volume=Volume(np.full(scan.volume.hu.shape, 30, np.int16), scan.volume.geometry))


def test_the_distance_is_zero_between_the_last_voxel_inside_and_the_first_outside():
    mask = np.zeros((1, 1, 9), np.bool_)
    mask[0, 0, :4] = True
    grid = VolumeGeometry(mask.shape, (0.0, 0.0, 0.0), (2.0, 2.0, 2.0))
    # Centres at 1, 3, 5, ... mm from the boundary, over a reach of 4 mm.
    assert signed_distance(mask, grid, reach_mm=4.0)[0, 0].tolist() == [-1, -1, -0.75, -0.25, 0.25, 0.75, 1, 1, 1]


def test_the_organs_of_a_case_come_back_where_they_went():
    case = blob_case(shift_field((6.0, -3.0, 3.0)))
    system = HybridSystem(bladder=true_bladder, settings=QUICK)
    assert min(overlap(system, case, label) for label in (1, 3)) > 0.85


def test_the_bladder_speaks_where_the_images_say_nothing():
    case = blob_case(shift_field((6.0, 0.0, 0.0)))
    silent = replace(case, planning=blank(case.planning), daily=blank(case.daily))
    channels = bladder_channel(true_bladder(silent), silent, pair_of(silent, 3.0), QUICK)
    assert [(one.metric, one.weight) for one in channels] == [("mean-squares", 1.0)]
    # The same distances, two voxels apart along x: the daily bladder lies where the planned one is two voxels farther.
    fixed, moving = channels[0].fixed, channels[0].moving
    np.testing.assert_allclose(fixed[10:-10, 10:-10, 10:-12], moving[17:-17, 17:-17, 19:-17], atol=1e-6)


def test_without_a_bladder_the_images_have_to_do():
    case = blob_case(shift_field((0.0, 0.0, 0.0)))
    none = np.zeros(case.daily.labels.shape, np.bool_)
    assert bladder_channel(none, case, pair_of(case, 3.0), QUICK) == ()


def test_the_focus_is_round_rectum_and_seminal_vesicles_and_nowhere_else():
    case = blob_case(shift_field((0.0, 0.0, 0.0)))
    pair = pair_of(case, 3.0)
    still = np.zeros((3, *pair.fixed.shape), np.float32)
    near = focus(packed_organs(case.planning, 4), pair, still, 3.0)
    k, j, i = np.nonzero(near)
    at = pair.fixed_grid.to_lps(np.array([[i.min(), j.min(), k.min()], [i.max(), j.max(), k.max()]]))
    inside = np.rint(case.daily.volume.geometry.to_index(at))[:, ::-1].astype(int)
    # Labels 2 and 3 fill [16, 28) x [18, 32) x [20, 32); 3 mm are one voxel more on each side.
    assert inside.tolist() == [[15, 17, 19], [28, 32, 32]]


def test_another_bladder_network_or_setting_is_another_system():
    plain = HybridSystem(bladder=true_bladder)
    named = replace(plain, bladder_identity="abc")
    quick = replace(plain, settings=QUICK)
    assert len({identity_of(system) for system in (plain, named, quick)}) == 3
    assert plain.name == "Hybrid"


def test_the_comparison_tries_at_least_three_settings_and_can_tell_them_apart():
    systems = [HybridSystem(bladder=true_bladder, settings=settings) for settings in SETTINGS]
    assert len({system.name for system in systems}) == len({identity_of(system) for system in systems}) >= 3
