from time import perf_counter

import numpy as np
import pytest

from imaging.displacement import to_planning, vectors_at
from imaging.geometry import VolumeGeometry
from imaging.transforms import AffineTransform, Deformation
from training.baselines.references import DemonsSettings, demons_of, reference_systems, rigid_part
from training.baselines.region import MARGIN_MM, ScanPair, carried, deformation_of, end_weight, pair_of, region_round
from training.evaluation.system import identity_of

from .registered_blobs import blob_case, shift_field, smooth_field


def test_the_region_is_the_organs_with_their_margin_and_ends_with_the_scan():
    daily = VolumeGeometry((100, 100, 100), (0.0, 0.0, 0.0), (2.0, 2.0, 2.0))
    grid = region_round(np.array([[100.0, 100.0, 10.0], [120.0, 110.0, 30.0]]), daily, 2.0)
    assert grid.origin_mm == (100 - MARGIN_MM, 100 - MARGIN_MM, 0.0)
    assert grid.last_mm == (120 + MARGIN_MM, 110 + MARGIN_MM, 30 + MARGIN_MM)


def test_the_moving_scan_reaches_farther_than_the_fixed_one_on_the_same_voxels():
    pair = pair_of(blob_case(shift_field((0, 0, 0))), 3.0)
    beyond = tuple((n - m) // 2 for n, m in zip(pair.moving.shape, pair.fixed.shape, strict=True))
    within = tuple(slice(b, b + n) for b, n in zip(beyond, pair.fixed.shape, strict=True))
    assert min(beyond) == 7
    np.testing.assert_array_equal(pair.moving[within], pair.fixed)


def test_a_field_falls_to_zero_where_the_patient_goes_on_and_not_where_the_scan_ends():
    daily = VolumeGeometry((40, 60, 60), (0.0, 0.0, 0.0), (2.0, 2.0, 2.0))
    grid = daily.cropped((0, 10, 10), (40, 50, 50))
    weight = end_weight(grid, daily)
    # 10 mm are five voxels; half-way a cosine is one half at 5 mm, between the voxels of 4 and 6 mm.
    np.testing.assert_allclose(weight[:, 20, 20], 1.0)
    along_y = weight[0, :, 20]
    assert along_y[0] == along_y[-1] == 0.0
    assert along_y[2] + along_y[3] == pytest.approx(1.0, abs=1e-6)
    assert along_y[5] == along_y[-6] == 1.0


def test_the_last_planes_of_a_scan_move_with_their_neighbours():
    daily = VolumeGeometry((40, 60, 60), (0.0, 0.0, 0.0), (2.0, 2.0, 1.9))
    grid = VolumeGeometry((38, 40, 40), (20.0, 20.0, 0.0), (2.0, 2.0, 2.0))
    nothing = np.zeros(grid.shape, np.float32)
    pair = ScanPair(nothing, nothing, grid, grid, AffineTransform.identity(), daily)
    deformation = deformation_of(pair, np.full((3, *grid.shape), 5.0, np.float32))
    ends = np.array([[60.0, 60.0, 0.0], [60.0, 60.0, daily.last_mm[2]], [19.0, 60.0, 20.0]])
    moved = to_planning(deformation, ends) - ends
    np.testing.assert_allclose(moved[:2], 5.0, rtol=1e-5)
    assert np.abs(moved[2]).max() < 1.0


def test_the_rigid_part_of_a_stretched_rotation_is_the_rotation():
    angle = np.radians(10.0)
    rotation = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3] = rotation @ np.diag([1.1, 1.0, 0.9])
    matrix[:3, 3] = [5.0, -3.0, 8.0]
    centre = np.array([20.0, 30.0, 40.0])
    affine = AffineTransform(matrix)
    found = rigid_part(affine, centre_mm=centre)
    np.testing.assert_allclose(found.matrix[:3, :3], rotation, atol=1e-12)
    np.testing.assert_allclose(found.to_moving(centre[None]), affine.to_moving(centre[None]), atol=1e-12)


def test_without_alignment_the_plan_stays_where_it_is():
    case = blob_case(shift_field((6.0, 0.0, 0.0)))
    (still,) = (system for system in reference_systems() if system.name == "no alignment")
    patches = still.contour(case).paths["registration"]
    assert [patch.roi_number for patch in patches] == [1, 2, 3, 4]
    assert [int((patch.inside >= 0.5).sum()) for patch in patches] == [12 * 14 * 6] * 4
    assert patches[0].lower == (16, 18, 14)


def test_contours_are_carried_by_the_propagation_of_the_service():
    shift = shift_field((6.0, -3.0, 9.0))
    answer = carried(blob_case(shift), Deformation(AffineTransform.identity(), (shift,)), since=perf_counter())
    # What lies at p + shift in the plan lies at p today: two voxels less in x, one more in y, three less in z.
    assert answer.paths["registration"][0].lower == (16 - 3, 18 + 1, 14 - 2)
    assert answer.dvf is shift
    assert answer.seconds >= 0


def test_the_references_are_in_the_order_of_what_they_allow():
    assert [system.name for system in reference_systems()] == [
        "no alignment",
        "rigid",
        "affine",
        "affine + demons",
        "affine + refinement",
    ]


@pytest.mark.parametrize("field", [shift_field((4.0, -2.0, 3.0)), smooth_field(4.0)], ids=["shift", "smooth"])
def test_demons_find_a_known_displacement(field):
    pair = pair_of(blob_case(field), 3.0)
    found = demons_of([(pair, 60)], DemonsSettings()).fields[0]
    points = pair.fixed_grid.to_lps(np.argwhere(np.ones(pair.fixed_grid.shape))[:, ::-1])
    inner = np.abs(points - pair.fixed_grid.centre_mm).max(axis=1) < 24
    wrong = vectors_at((found,), points[inner]) - vectors_at((field,), points[inner])
    assert np.linalg.norm(wrong, axis=1).mean() < 0.7


def test_demons_need_a_level():
    with pytest.raises(ValueError, match="at least one level"):
        demons_of([], DemonsSettings())


def test_an_identity_holds_the_settings():
    """Scores that were stored with other numbers must not be taken for those of today."""
    identities = {system.name: identity_of(system) for system in reference_systems()}
    assert repr(DemonsSettings()) in identities["affine + demons"]
    assert identities["affine + refinement"] != "affine + refinement"
    assert len(set(identities.values())) == 5
