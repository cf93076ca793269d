"""From probabilities to organs: the winner takes the voxel, islands go, the boundary lies between voxels."""

import numpy as np
import pytest

from imaging.findings import Verdict
from imaging.geometry import VolumeGeometry
from imaging.model import Prediction
from imaging.organs import largest_components, organ_patches, segmented_organs, truncations, unplanned
from imaging.transforms import DisplacementField
from tests.manifests import manifest_with

GRID = VolumeGeometry((10, 10, 20), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def prediction(bladder: np.ndarray) -> Prediction:
    """Two organs; the bladder has the given probability, the rectum none, the background the rest."""
    probabilities = np.stack([1 - bladder, bladder, np.zeros_like(bladder)]).astype(np.float32)
    return Prediction(probabilities, DisplacementField(np.zeros((3, *GRID.shape), np.float32), GRID), GRID)


def test_where_two_organs_are_equally_likely_the_first_of_the_manifest_takes_the_voxel() -> None:
    likely = np.zeros((3, *GRID.shape), np.float32)
    likely[0], likely[1:, 3:7, 3:7, 2:6] = 0.1, 0.45
    found = Prediction(likely, DisplacementField(np.zeros((3, *GRID.shape), np.float32), GRID), GRID)
    assert [organ.name for organ in segmented_organs(found, manifest_with(), {1: 11, 2: 12}, GRID)] == ["Bladder"]


def test_only_the_largest_island_of_a_bladder_is_kept() -> None:
    bladder = np.zeros(GRID.shape)
    bladder[3:7, 3:7, 2:6] = 1.0
    bladder[5, 5, 15] = 1.0
    (patch,) = organ_patches(prediction(bladder), manifest_with(), {1: 11, 2: 12}, GRID)
    assert patch.roi_number == 11
    assert (patch.inside >= 0.5).sum() == 4 * 4 * 4


def test_an_organ_that_the_network_does_not_see_has_no_patch() -> None:
    assert organ_patches(prediction(np.zeros(GRID.shape)), manifest_with(), {1: 1, 2: 2}, GRID) == ()


def test_the_boundary_lies_where_organ_and_background_are_equally_likely() -> None:
    """Probability falls from 0.8 at x = 5 to 0.2 at x = 6: both are equal at x = 5.5, and the patch is 0.5 there."""
    bladder = np.zeros(GRID.shape)
    bladder[3:7, 3:7, 2:6] = 0.8
    bladder[3:7, 3:7, 6] = 0.2
    daily = VolumeGeometry((10, 10, 41), (0.0, 0.0, 0.0), (0.5, 1.0, 1.0))
    (patch,) = organ_patches(prediction(bladder), manifest_with(), {1: 1, 2: 2}, daily)
    row = patch.inside[4 - patch.lower[0], 4 - patch.lower[1]]
    np.testing.assert_allclose(row[11 - patch.lower[2]], 0.5, atol=1e-6)


def test_an_organ_outside_the_daily_scan_has_no_patch() -> None:
    bladder = np.zeros(GRID.shape)
    bladder[3:7, 3:7, 2:6] = 1.0
    elsewhere = VolumeGeometry((5, 5, 5), (100.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    assert organ_patches(prediction(bladder), manifest_with(), {1: 1, 2: 2}, elsewhere) == ()


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("end", ["first", "last"])
def test_a_bladder_cut_by_the_networks_region_is_failed_where_the_scan_goes_on(axis: int, end: str) -> None:
    bladder = np.zeros(GRID.shape)
    bladder[3:7, 3:7, 3:7] = 1.0
    inner = np.moveaxis(bladder, axis, 0)
    reach = slice(0, 7) if end == "first" else slice(3, None)
    inner[reach, 3:7, 3:7] = 1.0
    wider = GRID.cropped((-5, -5, -5), (15, 15, 25))
    (finding,) = truncations(segmented_organs(prediction(bladder), manifest_with(), {1: 11, 2: 12}, wider))
    assert (finding.check, finding.verdict, finding.roi_number) == ("segmented-truncated", Verdict.FAIL, 11)
    assert finding.value == 4 * 4
    assert "Bladder" in finding.message


def test_a_bladder_that_ends_with_the_scan_is_not_cut_by_the_network() -> None:
    bladder = np.zeros(GRID.shape)
    bladder[:7, 3:7, 2:6] = 1.0
    assert truncations(segmented_organs(prediction(bladder), manifest_with(), {1: 1, 2: 2}, GRID)) == ()


def test_a_bladder_wholly_inside_and_an_island_at_the_border_are_not_cut() -> None:
    bladder = np.zeros(GRID.shape)
    bladder[3:7, 3:7, 2:6] = 1.0
    bladder[0, 0, 15] = 1.0
    wider = GRID.cropped((-5, -5, -5), (15, 15, 25))
    assert truncations(segmented_organs(prediction(bladder), manifest_with(), {1: 1, 2: 2}, wider)) == ()


def test_an_organ_that_the_plan_lacks_is_for_review_because_nothing_can_check_it() -> None:
    bladder = np.zeros(GRID.shape)
    bladder[3:7, 3:7, 2:6] = 1.0
    found = segmented_organs(prediction(bladder), manifest_with(), {1: 11, 2: 12}, GRID)
    (finding,) = unplanned(found, {12})
    assert (finding.check, finding.verdict, finding.roi_number) == ("segmented-not-planned", Verdict.REVIEW, 11)
    assert "Bladder" in finding.message
    assert unplanned(found, {11, 12}) == ()


def test_seminal_vesicles_may_keep_two_components() -> None:
    mask = np.zeros((1, 1, 9), dtype=bool)
    mask[0, 0, [0, 1, 2, 4, 5, 8]] = True
    assert largest_components(mask, 2).sum() == 5
