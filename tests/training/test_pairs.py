import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs the extra 'training'")

from imaging.geometry import VolumeGeometry
from imaging.preprocessing import sample_labels, windowed
from imaging.transforms import AffineTransform
from imaging.volume import Volume
from training.held_out import packed_organs
from training.pairs import LabelledScan, aligned_pair, cohort_hash, nearest_labels, read_pairs, to_network, write_pair

from .tiny import tiny_pair


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
    np.testing.assert_array_equal(nearest_labels(labels, geometry, grid, affine), expected)
    assert expected.any()


def test_training_and_service_window_alike(recipe):
    hu = np.array([[-2000, -160, 0, 57, 240, 3000]], dtype=np.int16)
    np.testing.assert_array_equal(to_network(hu, recipe), windowed(hu.astype(np.float32), recipe.hu_window))


def test_a_stored_pair_comes_back_with_centres_in_its_groups(cohort):
    pairs = read_pairs(cohort / "training")
    assert [pair.name for pair in pairs] == ["A-00000-1", "A-00001-1"]
    labels = pairs[0].labels[0]
    targets, others, rest = (labels[tuple(group.T.astype(int))] for group in pairs[0].centres)
    assert set(targets) == {3, 4}
    assert set(others) == {1, 2}
    assert set(rest) == {0}
    np.testing.assert_array_equal(pairs[0].images, tiny_pair(0).images)


def test_the_cohort_hash_changes_with_one_voxel_and_not_with_the_order(tmp_path):
    pair = tiny_pair(0)
    write_pair(pair, tmp_path / "a", name="A-00000-1", targets=(3, 4), seed=0)
    changed = tiny_pair(0)
    changed.images[0, 0, 0, 0] += 1
    write_pair(changed, tmp_path / "b", name="A-00000-1", targets=(3, 4), seed=0)
    write_pair(tiny_pair(1), tmp_path / "a", name="A-00001-1", targets=(3, 4), seed=1)
    one, both = read_pairs(tmp_path / "b"), read_pairs(tmp_path / "a")
    assert cohort_hash(one) != cohort_hash(both[:1])
    assert cohort_hash(both) == cohort_hash(both[::-1])


def test_an_empty_cohort_says_what_to_run_first(tmp_path):
    with pytest.raises(FileNotFoundError, match="training prepare"):
        read_pairs(tmp_path)


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
