import os
from types import SimpleNamespace

import numpy as np
import pytest

from imaging.geometry import VolumeGeometry
from imaging.manifest import HuWindow
from imaging.preprocessing import sample_labels, windowed
from imaging.transforms import AffineTransform
from imaging.volume import Volume
from training.dataset import cohort_hash
from training.pairs import (
    AlignedPair,
    LabelledScan,
    aligned_pair,
    labels_on,
    packed_organs,
    read_pair,
    to_network,
    write_pair,
)


def test_training_and_service_put_the_same_label_on_every_voxel():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, size=(9, 10, 11)).astype(np.uint8)
    geometry = VolumeGeometry(labels.shape, (-3.0, 4.0, 1.0), (0.9, 0.8, 2.0))
    grid = VolumeGeometry((7, 8, 9), (-3.5, 3.0, 0.0), (1.3, 1.3, 1.3))
    angle = np.deg2rad(7)
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine = AffineTransform(matrix)
    organs = packed_organs(LabelledScan(Volume(np.zeros(labels.shape, np.int16), geometry), labels), 4)
    expected = sample_labels(organs, {n: n for n in (1, 2, 3, 4)}, affine=affine, region=grid)
    np.testing.assert_array_equal(
        labels_on(LabelledScan(Volume(np.zeros(labels.shape, np.int16), geometry), labels), grid, affine), expected
    )
    assert expected.any()


def test_training_and_service_window_alike():
    window = HuWindow(lower=-160, upper=240, divisor=200)
    recipe = SimpleNamespace(hu_window=window)
    hu = np.array([[-2000, -160, 0, 57, 240, 3000]], dtype=np.int16)
    np.testing.assert_array_equal(to_network(hu, recipe), windowed(hu.astype(np.float32), window))


def test_a_scan_without_organs_has_no_box():
    nothing = np.zeros((2, 3, 4), dtype=np.uint8)
    scan = LabelledScan(Volume(nothing.astype(np.int16), VolumeGeometry((2, 3, 4), (0.0,) * 3, (1.0,) * 3)), nothing)
    with pytest.raises(ValueError, match="no organ"):
        packed_organs(scan, 4)


def noise_pair(seed: int) -> AlignedPair:
    """Two boxes of organs and one of soft tissue beside them, in air."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((2, 10, 12, 14), dtype=np.uint8)
    labels[:, 2:5, 3:6, 2:6], labels[:, 2:5, 3:6, 6:9] = 4, 1
    images = np.full(labels.shape, -1000, dtype=np.int16)
    images[:, 1:9, 1:11, 1:13] = rng.integers(-100, 100, size=(2, 8, 10, 12))
    grid = VolumeGeometry(labels.shape[1:], (0.0, 0.0, 0.0), (2.0, 2.0, 2.0))
    return AlignedPair(images, labels, grid, AffineTransform.identity())


def test_a_stored_pair_comes_back_with_centres_in_its_groups(tmp_path):
    pair = noise_pair(0)
    write_pair(pair, tmp_path, name="00c0ffee-01", targets=(3, 4), seed=0)
    found = read_pair(tmp_path / "00c0ffee-01")
    assert (found.name, found.patient) == ("00c0ffee-01", "00c0ffee")
    np.testing.assert_array_equal(found.images, pair.images)
    np.testing.assert_array_equal(found.labels, pair.labels)
    targets, others, rest = (tuple(group.T.astype(int)) for group in found.centres)
    assert set(pair.labels[0][targets]) == {4}
    assert set(pair.labels[0][others]) == {1}
    assert set(pair.labels[0][rest]) == {0}
    assert pair.images[0][rest].min() > -300


def test_the_cohort_hash_changes_with_one_voxel_and_not_with_the_order(tmp_path):
    changed = noise_pair(0)
    changed.images[0, 0, 0, 0] += 1
    for folder, name, pair in (("a", "1-01", noise_pair(0)), ("a", "2-01", noise_pair(1)), ("b", "1-01", changed)):
        write_pair(pair, tmp_path / folder, name=name, targets=(3, 4), seed=0)
    first, second = (read_pair(tmp_path / "a" / name) for name in ("1-01", "2-01"))
    other = read_pair(tmp_path / "b" / "1-01")
    assert cohort_hash([first]) != cohort_hash([other])
    assert cohort_hash([first, second]) == cohort_hash([second, first]) != cohort_hash([first])


def test_a_pair_takes_the_place_of_an_older_one(tmp_path):
    for seed in (0, 1):
        write_pair(noise_pair(seed), tmp_path, name="1-01", targets=(3, 4), seed=0)
    np.testing.assert_array_equal(read_pair(tmp_path / "1-01").images, noise_pair(1).images)
    assert [folder.name for folder in tmp_path.iterdir()] == ["1-01"]


def test_a_pair_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    """After a power cut a folder of that name is whole: no content may still be on its way."""
    waited = []
    fsync = os.fsync

    def noted(opened: int) -> None:
        waited.append((os.path.basename(os.readlink(f"/proc/self/fd/{opened}")), (tmp_path / "1-01").exists()))
        fsync(opened)

    monkeypatch.setattr("os.fsync", noted)
    write_pair(noise_pair(0), tmp_path, name="1-01", targets=(3, 4), seed=0)
    contents = ["images.npy", "labels.npy", "centres.npy", "pair.json", ".1-01.part"]
    assert sorted(waited) == sorted([(name, False) for name in contents] + [(tmp_path.name, True)])


def test_the_box_ends_where_both_scans_end():
    """Organs 2 to 7 of 0 to 11 mm: a margin of 9 mm would reach beyond both scans on every side."""
    labels = np.zeros((12, 12, 12), dtype=np.uint8)
    labels[2:8, 2:8, 2:8] = 1
    grid = VolumeGeometry(labels.shape, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    scan = LabelledScan(Volume(np.zeros(labels.shape, np.int16), grid), labels)
    shift = np.eye(4)
    shift[0, 3] = 2.0
    pair = aligned_pair(daily=scan, planning=scan, spacing_mm=1.0, margin_voxels=9, affine=AffineTransform(shift))
    # The planning scan lies 2 mm farther to the right on the daily patient.
    assert pair.geometry.origin_mm == (-2.0, 0.0, 0.0)
    assert pair.labels.shape == (2, 12, 12, 14)


def test_both_sides_lie_on_one_grid_of_the_daily_patient_with_room_round_the_organs(monkeypatch):
    """The plan is drawn 6 mm farther left in its own coordinates; the affine says so, and the organs coincide."""
    affine = np.eye(4)
    affine[0, 3] = 6.0
    monkeypatch.setattr("training.pairs.align", lambda **_: AffineTransform(affine))
    labels = np.zeros((12, 12, 12), dtype=np.uint8)
    labels[4:8, 5:8, 4:9] = 4
    hu = np.where(labels > 0, 40, -100).astype(np.int16)
    daily, planning = (
        LabelledScan(Volume(hu.copy(), VolumeGeometry(hu.shape, (x, 0.0, 0.0), (2.0, 2.0, 2.0))), labels)
        for x in (0.0, 6.0)
    )
    pair = aligned_pair(daily=daily, planning=planning, spacing_mm=2.0, margin_voxels=3)
    assert pair.labels.shape == (2, 4 + 6, 3 + 6, 5 + 6)
    assert pair.geometry.origin_mm == (8 - 6, 10 - 6, 8 - 6)
    for side in (0, 1):
        np.testing.assert_array_equal(pair.labels[side, 3:-3, 3:-3, 3:-3], 4)
        assert np.count_nonzero(pair.labels[side]) == 4 * 3 * 5
        np.testing.assert_array_equal(pair.images[side] == 40, pair.labels[side] == 4)
