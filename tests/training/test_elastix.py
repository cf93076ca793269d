from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("itk", reason="elastix needs the extra 'baselines'")

from imaging.transforms import DisplacementField
from training.baselines.elastix import (
    SETTINGS,
    Channel,
    Effort,
    ElastixSettings,
    ElastixSystem,
    bspline,
    elastix_systems,
    parameter_map,
    registered,
)
from training.baselines.region import ScanPair, pair_of
from training.evaluation.system import identity_of

from .registered_blobs import GRID, blob_case, shift_field, smooth_field

QUICK = ElastixSettings("quick", grid_mm=24.0, resolutions=2, iterations=60, samples=1500, spacing_mm=3.0)


def wrong_mm(found: np.ndarray, pair: ScanPair, truth: DisplacementField) -> np.ndarray:
    """Length of the error away from the end of the region."""
    lower = np.rint(GRID.to_index(np.array([pair.fixed_grid.origin_mm])))[0, ::-1].astype(int)
    box = tuple(slice(a, a + n) for a, n in zip(lower, pair.fixed_grid.shape, strict=True))
    return np.linalg.norm(found - truth.vectors[(slice(None), *box)], axis=0)[6:-6, 6:-6, 6:-6]


@pytest.mark.parametrize("field", [shift_field((4.0, -2.0, 6.0)), smooth_field(5.0)], ids=["shift", "smooth"])
def test_elastix_finds_a_known_displacement(field):
    pair = pair_of(blob_case(field), 3.0)
    assert wrong_mm(registered(pair, QUICK, threads=1), pair, field).mean() < 0.7


def test_two_runs_of_one_seed_are_the_same():
    pair = pair_of(blob_case(smooth_field(5.0)), 3.0)
    first, second = (registered(pair, QUICK, threads=2) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_elastix_says_nothing_and_leaves_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    registered(pair_of(blob_case(shift_field((0.0, 0.0, 3.0))), 3.0), QUICK, threads=1)
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_a_second_run_goes_on_from_the_first():
    truth = shift_field((4.0, -2.0, 6.0))
    pair = pair_of(blob_case(truth), 3.0)
    channel, grids = [Channel(pair.fixed, pair.moving)], (pair.fixed_grid, pair.moving_grid)
    first, start = bspline(channel, grids, QUICK, threads=1)
    few = ElastixSettings("few", grid_mm=24.0, resolutions=1, iterations=2, samples=1500, step_mm=0.1)
    mask = np.zeros(pair.fixed.shape, np.bool_)
    mask[8:-8, 8:-8, 8:-8] = True
    second, _ = bspline(channel, grids, few, threads=1, mask=mask, start=start)
    alone, _ = bspline(channel, grids, few, threads=1, mask=mask)
    assert wrong_mm(second, pair, truth).mean() < 1.0 < wrong_mm(alone, pair, truth).mean()
    assert wrong_mm(first, pair, truth).mean() < 0.7


def test_the_organs_of_a_case_come_back_where_they_went():
    case = blob_case(shift_field((6.0, -3.0, 9.0)))
    answer = ElastixSystem(QUICK).contour(case)
    for label, patch in enumerate(answer.paths["registration"], start=1):
        mask = np.zeros(case.daily.labels.shape, np.bool_)
        mask[tuple(slice(a, a + n) for a, n in zip(patch.lower, patch.inside.shape, strict=True))] = patch.inside >= 0.5
        truth = case.daily.labels == label
        assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.9


def test_every_metric_of_the_map_has_its_weight_pyramid_and_sampler():
    voxels = np.zeros((4, 4, 4), np.float32)
    channels = [Channel(voxels, voxels), Channel(voxels, voxels, "mean-squares", 0.5)]
    found = parameter_map(channels, ElastixSettings("bent", resolutions=3, bending_weight=2.0))
    assert found["Metric"] == [
        "AdvancedMattesMutualInformation",
        "AdvancedMeanSquares",
        "TransformBendingEnergyPenalty",
    ]
    assert [found[f"Metric{n}Weight"] for n in range(3)] == [["1.0"], ["0.5"], ["2.0"]]
    assert [len(found[key]) for key in ("FixedImagePyramid", "MovingImagePyramid", "ImageSampler")] == [3, 3, 3]
    assert found["ImagePyramidSchedule"] == ["4", "4", "4", "2", "2", "2", "1", "1", "1"]
    assert found["GridSpacingSchedule"] == ["4", "2", "1"]


def test_the_comparison_tries_at_least_three_settings_and_can_tell_them_apart():
    systems = elastix_systems(2)
    assert len({system.name for system in systems}) == len(SETTINGS) >= 3
    assert len({identity_of(system) for system in systems}) == len(SETTINGS)
    assert "threads=2" in identity_of(systems[0])


def test_one_setting_has_the_published_numbers():
    """Par0035 of the elastix model zoo: 3 resolutions, 500 iterations, 5,000 samples, 32 bins, 10 mm."""
    (published,) = (one for one in SETTINGS if "Par0035" in one.name)
    found = parameter_map([], published)
    numbers = [
        found[key][0]
        for key in (
            "NumberOfResolutions",
            "MaximumNumberOfIterations",
            "NumberOfSpatialSamples",
            "NumberOfHistogramBins",
            "FinalGridSpacingInPhysicalUnits",
        )
    ]
    assert numbers == ["3", "500", "5000", "32", "10.0"]


def test_a_quick_experiment_tries_the_first_settings_with_few_iterations():
    quick = elastix_systems(effort=Effort(settings=2, iterations=7))
    assert [system.name for system in quick] == [settings.name for settings in SETTINGS[:2]]
    assert [system.settings.iterations for system in quick] == [7, 7]
