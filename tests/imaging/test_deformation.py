from typing import Any, Literal

import numpy as np
import pytest

import imaging.deformation
from imaging.deformation import GRID_MM, choose_deformation, judged_grid, planned_box, unfolded
from imaging.displacement import jacobian_determinant, least_determinant, vectors_on
from imaging.geometry import VolumeGeometry
from imaging.judge import ComparedPair, judge_of
from imaging.masks import PackedMasks
from imaging.propagation import propagate
from imaging.refinement import refine
from imaging.transforms import AffineTransform, Deformation, DisplacementField
from imaging.volume import Volume
from tests.imaging.registration_cases import GRID, MadeUpCase, made_up_case, smooth_field

IDENTITY = AffineTransform.identity()


@pytest.fixture(scope="module")
def case() -> MadeUpCase:
    return made_up_case()


def overlap(case: MadeUpCase, deformation: Deformation) -> float:
    (patch,) = propagate(case.masks, deformation, GRID)
    mask = np.zeros(GRID.shape, bool)
    mask[tuple(slice(a, a + n) for a, n in zip(patch.lower, patch.inside.shape, strict=True))] = patch.inside >= 0.5
    return 2 * float((mask & case.daily_organ).sum()) / float(mask.sum() + case.daily_organ.sum())


def test_the_refinement_finds_a_known_motion_and_says_so(case: MadeUpCase) -> None:
    chosen = choose_deformation(daily=case.daily, planning=case.planning, affine=IDENTITY, network=None)
    before = overlap(case, Deformation(IDENTITY))
    assert 0.3 < before < 0.90
    assert overlap(case, chosen.deformation) > 0.95
    (patch,) = propagate(case.masks, chosen.deformation, GRID)
    assert chosen.carried_by(patch) == "refinement"


def test_the_search_is_judged_half_a_voxel_beside_the_points_where_it_made_the_images_alike(
    case: MadeUpCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched: list[VolumeGeometry] = []

    def watched(**given: Any) -> DisplacementField:
        searched.append(given["grid"])
        return refine(**given)

    monkeypatch.setattr(imaging.deformation, "pull_together", watched)
    chosen = choose_deformation(daily=case.daily, planning=case.planning, affine=IDENTITY, network=None)
    (grid,) = searched
    assert grid.shape == chosen.geometry.shape
    assert np.subtract(grid.origin_mm, chosen.geometry.origin_mm).tolist() == [2.0, 2.0, 2.0]


def test_an_organ_that_fills_with_contrast_is_not_ruined() -> None:
    filled = made_up_case(daily_organ_hu=350.0)
    chosen = choose_deformation(daily=filled.daily, planning=filled.planning, affine=IDENTITY, network=None)
    before = overlap(filled, Deformation(IDENTITY))
    assert overlap(filled, chosen.deformation) > max(before, 0.93)


def test_a_network_that_knows_the_motion_is_used(case: MadeUpCase) -> None:
    known = case.truth.fields[0]
    chosen = choose_deformation(
        daily=case.daily, planning=case.planning, affine=IDENTITY, network=known, refine="off", masks=case.masks
    )
    (patch,) = propagate(case.masks, chosen.deformation, GRID)
    assert chosen.carried_by(patch) == "network"
    assert overlap(case, chosen.deformation) > 0.95


def test_a_network_that_guesses_is_refused_and_the_affine_stands(case: MadeUpCase) -> None:
    guess = smooth_field(99, 9.0)
    offered = Deformation(IDENTITY, (guess,))
    chosen = choose_deformation(
        daily=case.daily, planning=case.planning, affine=IDENTITY, network=guess, refine="off", masks=case.masks
    )
    before = overlap(case, Deformation(IDENTITY))
    assert overlap(case, offered) < before
    assert overlap(case, chosen.deformation) >= before - 0.01
    refused = [f for f in chosen.findings if f.check == "network-not-used"]
    assert refused[0].value is not None
    assert refused[0].value > 50


def test_the_refinement_sees_as_far_as_a_bladder_may_fill_and_not_beyond_the_scan() -> None:
    daily = VolumeGeometry((100, 80, 80), (-158.0, -158.0, -150.0), (4.0, 4.0, 3.0))
    bits = np.zeros((40, 40, 40), np.uint64)
    bits[10:30, 10:30, 10:30] = 1
    masks = PackedMasks(bits, (1,), VolumeGeometry(bits.shape, (-20.0, -20.0, 70.0), (2.0, 2.0, 2.0)))
    planned = planned_box((masks,))
    assert planned is not None
    assert np.array_equal(planned, [(0, 0, 90), (38, 38, 128)])
    grid = judged_grid(daily, planned, IDENTITY)
    # The scan ends at 147 mm.
    assert grid.origin_mm == (-36.0, -36.0, 54.0)
    assert np.all(np.array(grid.last_mm) >= (74.0, 74.0, 147.0))
    assert np.all(np.array(grid.last_mm) < np.array((74.0, 74.0, 147.0)) + GRID_MM)


def test_a_plan_of_empty_rois_has_no_box() -> None:
    empty = PackedMasks(np.zeros((4, 4, 4), np.uint64), (1,), VolumeGeometry((4, 4, 4), (0, 0, 0), (2.0, 2.0, 2.0)))
    assert planned_box((empty,)) is None


def test_identical_scans_are_left_where_they_are(case: MadeUpCase) -> None:
    chosen = choose_deformation(daily=case.planning, planning=case.planning, affine=IDENTITY, network=None)
    patient = case.planning.hu > -300
    # A quarter of the 4 mm voxel that the images are compared on; noise in the air round the patient may do more.
    assert np.abs(vectors_on(chosen.deformation.fields, GRID)[:, patient]).max() < 1.0


def test_nothing_that_is_chosen_folds(case: MadeUpCase) -> None:
    chosen = choose_deformation(
        daily=case.daily, planning=case.planning, affine=IDENTITY, network=smooth_field(7, 30.0), masks=case.masks
    )
    total = vectors_on(chosen.deformation.fields, chosen.geometry)
    assert jacobian_determinant(DisplacementField(total, chosen.geometry)).min() > 0


@pytest.mark.parametrize("refine", ["off", "auto"])
def test_folds_between_the_points_of_the_judged_grid_are_removed_and_told(
    case: MadeUpCase, refine: Literal["off", "auto"]
) -> None:
    fine = VolumeGeometry((55, 119, 151), GRID.origin_mm, (2.0, 2.0, 2.0))
    vectors = vectors_on(case.truth.fields, fine)
    # Odd voxels lie between the points of 4 mm; pushed by 3 mm they fold over the next one, 2 mm on.
    vectors[0, 20:30, 50:70, 71:81:2] += 3.0
    network = DisplacementField(vectors, fine)
    assert least_determinant((network,), GRID).min() < 0
    assert jacobian_determinant(DisplacementField(vectors_on((network,), GRID), GRID)).min() > 0
    chosen = choose_deformation(
        daily=case.daily, planning=case.planning, affine=IDENTITY, network=network, refine=refine
    )
    told = [finding for finding in chosen.findings if finding.check == "folding-removed"]
    assert "network" in told[0].message
    assert chosen.determinant is not None
    assert chosen.determinant.min() > 0
    assert least_determinant(chosen.deformation.fields, chosen.geometry).min() > 0
    assert (chosen.step == 1).any() or refine == "auto"


def test_a_fold_is_smoothed_away_and_its_size_told() -> None:
    grid = GRID.cropped((0, 0, 0), (20, 20, 20))
    vectors = np.zeros((3, *grid.shape), np.float32)
    vectors[0, 10, 10, 10] = 20.0
    out, least, share = unfolded(vectors, grid)
    assert share > 0
    assert np.array_equal(least, jacobian_determinant(DisplacementField(out, grid)))
    assert least.min() > 0
    assert out[0].max() > 0


def test_the_same_scans_give_the_same_bytes_again(case: MadeUpCase) -> None:
    first, second = (
        choose_deformation(daily=case.daily, planning=case.planning, affine=IDENTITY, network=None) for _ in range(2)
    )
    assert first.deformation.fields[-1].vectors.tobytes() == second.deformation.fields[-1].vectors.tobytes()


def test_a_part_of_the_patient_that_was_not_planned_keeps_the_affine(case: MadeUpCase) -> None:
    chosen = choose_deformation(
        daily=case.daily, planning=case.planning, affine=IDENTITY, network=None, masks=case.masks
    )
    far = vectors_on(chosen.deformation.fields, GRID)[:, :, :, 0]
    assert not far.any()
    assert chosen.geometry.shape[2] < GRID.shape[2]


def test_gas_of_one_day_is_no_reason_for_or_against_a_field() -> None:
    grid = VolumeGeometry((24, 24, 24), (0.0, 0.0, 0.0), (GRID_MM,) * 3)
    planning = np.random.default_rng(0).normal(40, 30, grid.shape).astype(np.int16)
    daily = planning.copy()
    daily[10:13, 10:13, 10:13] = -900
    judge = judge_of(ComparedPair.of(Volume(daily, grid), Volume(planning, grid)), IDENTITY, grid)
    assert judge.distance(np.zeros((3, *grid.shape), np.float32)).max() == 0
