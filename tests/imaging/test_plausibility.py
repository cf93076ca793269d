from pathlib import Path

import numpy as np
import pytest

from imaging.findings import Finding, Verdict
from imaging.geometry import VolumeGeometry
from imaging.masks import RoiPatch
from imaging.measures import measure, measured
from imaging.plausibility import assess
from imaging.plausibility_limits import PlausibilityLimits
from imaging.transforms import AffineTransform

GRID = VolumeGeometry((40, 60, 80), (-80.0, -60.0, 0.0), (2.0, 2.0, 2.5))
"""x from -80 to 78, y from -60 to 58, z from 0 to 97.5 mm; one voxel is 0.01 cc."""

Corner = tuple[int, int, int]


def patch(lower: Corner, size: Corner, *, number: int = 1, grid: VolumeGeometry = GRID) -> RoiPatch:
    """A box of ones with a rim of zeros where the grid has room for one."""
    inside = np.zeros(grid.shape, dtype=np.float32)
    inside[tuple(slice(a, a + n) for a, n in zip(lower, size, strict=True))] = 1
    start = [max(a - 1, 0) for a in lower]
    stop = [min(a + n + 1, whole) for a, n, whole in zip(lower, size, grid.shape, strict=True)]
    part = inside[start[0] : stop[0], start[1] : stop[1], start[2] : stop[2]]
    return RoiPatch(number, (start[0], start[1], start[2]), part, grid)


def translation(x: float = 0, y: float = 0, z: float = 0) -> AffineTransform:
    matrix = np.eye(4)
    matrix[:3, 3] = x, y, z
    return AffineTransform(matrix)


def findings(
    planned: RoiPatch,
    propagated: RoiPatch | None,
    segmented: RoiPatch | None = None,
    *,
    name: str = "Bladder",
    affine: AffineTransform | None = None,
    body: RoiPatch | None = None,
    jacobian: np.ndarray | None = None,
    limits: PlausibilityLimits | None = None,
    known: bool = False,
) -> dict[str, Finding]:
    plan = {1: measure(planned)} | ({9: measure(body)} if body else {})
    now = ({1: measured(propagated)} if propagated else {}) | ({9: measured(body)} if body else {})
    found = assess(
        plan,
        now,
        segmented={1: measured(segmented)} if segmented else {},
        names={1: name, 9: "BODY"},
        daily=GRID,
        affine=affine or AffineTransform.identity(),
        jacobian=None if jacobian is None else (jacobian.astype(np.float32), GRID),
        external=(9,),
        known_to_model=(1,) if known else (),
        limits=limits,
    )
    return {finding.check: finding for finding in found if finding.roi_number == 1}


def test_an_unchanged_organ_passes_every_check() -> None:
    organ = patch((10, 20, 30), (10, 10, 10))
    found = findings(organ, organ, organ, jacobian=np.ones(GRID.shape))
    assert {finding.verdict for finding in found.values()} == {Verdict.PASS}
    assert set(found) == {
        "field-of-view",
        *(f"{path}-{check}" for path in ("propagated", "segmented")
          for check in ("empty", "volume-ratio", "centroid-shift", "islands", "slice-gaps")),
        *("paths-dice", "paths-surface-distance", "paths-hausdorff-95", "jacobian-minimum", "jacobian-folded"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("slices_now", "verdict", "limit"),
    [(6, Verdict.PASS, 0.5), (4, Verdict.REVIEW, 0.5), (3, Verdict.FAIL, 0.33),
     (20, Verdict.PASS, 2.0), (22, Verdict.REVIEW, 2.0), (31, Verdict.FAIL, 3.0)],
)  # fmt: skip
def test_volume_is_held_against_the_plan(slices_now: int, verdict: Verdict, limit: float) -> None:
    ratio = findings(patch((4, 20, 30), (10, 10, 10)), patch((4, 20, 30), (slices_now, 10, 10)))[
        "propagated-volume-ratio"
    ]
    assert ratio.value == pytest.approx(slices_now / 10)
    assert (ratio.verdict, ratio.limit) == (verdict, limit)


@pytest.mark.parametrize(
    ("columns", "verdict", "limit"), [(10, Verdict.PASS, 20), (11, Verdict.REVIEW, 20), (21, Verdict.FAIL, 40)]
)
def test_a_centroid_is_held_against_the_planned_one(columns: int, verdict: Verdict, limit: float) -> None:
    shift = findings(patch((10, 20, 30), (10, 10, 10)), patch((10, 20, 30 + columns), (10, 10, 10)))[
        "propagated-centroid-shift"
    ]
    assert shift.value == pytest.approx(2 * columns)
    assert (shift.verdict, shift.limit, shift.unit) == (verdict, limit, "mm")


def test_a_patient_who_lies_elsewhere_on_the_couch_shifts_no_centroid() -> None:
    # planning = daily + (30, 0, 0): the daily organ lies 15 columns of 2 mm to the right of the planned one.
    shift = findings(patch((10, 20, 40), (10, 10, 10)), patch((10, 20, 25), (10, 10, 10)), affine=translation(x=30))[
        "propagated-centroid-shift"
    ]
    assert shift.value == pytest.approx(0, abs=1e-9)
    assert shift.verdict is Verdict.PASS


def test_an_organ_that_vanished_fails() -> None:
    organ = patch((10, 20, 30), (10, 10, 10))
    found = findings(organ, None, known=True)
    assert found["propagated-empty"].verdict is Verdict.FAIL
    assert found["segmented-empty"].verdict is Verdict.FAIL
    assert "propagated-volume-ratio" not in found


def test_an_roi_without_contours_in_the_plan_may_stay_empty() -> None:
    nothing = RoiPatch(1, (0, 0, 0), np.zeros((1, 1, 1), dtype=np.float32), GRID)
    assert {finding.verdict for finding in findings(nothing, None).values()} == {Verdict.PASS}


def test_a_scan_that_ends_inside_the_organ_is_marked_and_volume_is_compared_within_the_scan() -> None:
    # planning = daily + 50 mm in z: the planned slices 15 to 24 are the daily slices -5 to 4.
    planned, now = patch((15, 20, 30), (10, 10, 10)), patch((0, 20, 30), (5, 10, 10))
    found = findings(planned, now, affine=translation(z=50))
    assert found["field-of-view"].value == pytest.approx(50)
    assert found["field-of-view"].verdict is Verdict.REVIEW
    assert "first slice" in found["field-of-view"].message
    assert found["propagated-volume-ratio"].value == pytest.approx(1)
    assert found["propagated-centroid-shift"].value == pytest.approx(0, abs=1e-9)


def test_an_organ_mostly_beyond_the_scan_fails() -> None:
    found = findings(patch((15, 20, 30), (10, 10, 10)), patch((0, 20, 30), (4, 10, 10)), affine=translation(z=52.5))
    assert found["field-of-view"].value == pytest.approx(60)
    assert (found["field-of-view"].verdict, found["field-of-view"].limit) == (Verdict.FAIL, 50)


@pytest.mark.parametrize(
    ("lower", "edge"),
    [((0, 20, 30), "first slice"), ((30, 20, 30), "last slice"), ((10, 0, 30), "front edge"),
     ((10, 50, 30), "back edge"), ((10, 20, 0), "right edge"), ((10, 20, 70), "left edge")],
)  # fmt: skip
def test_an_organ_that_touches_an_edge_of_the_scan_is_for_review(lower: Corner, edge: str) -> None:
    organ = patch(lower, (10, 10, 10))
    found = findings(organ, organ)["field-of-view"]
    assert found.verdict is Verdict.REVIEW
    assert edge in found.message


def test_the_body_outline_may_end_with_the_scan_but_not_at_its_sides() -> None:
    for first_column, verdict in ((5, Verdict.PASS), (0, Verdict.REVIEW)):
        body = patch((0, 5, first_column), (40, 50, 70), number=9)
        found = assess(
            {9: measure(body)},
            {9: measured(body)},
            segmented={},
            names={9: "BODY"},
            daily=GRID,
            affine=AffineTransform.identity(),
            external=(9,),
        )
        assert {finding.check: finding.verdict for finding in found} == {
            "propagated-empty": Verdict.PASS,
            "field-of-view": verdict,
        }


def test_left_and_right_exchanged_fails() -> None:
    """A swapped side treats the wrong organ."""
    body = patch((0, 5, 5), (40, 50, 70), number=9)
    left, right = patch((10, 20, 55), (10, 10, 10)), patch((10, 20, 15), (10, 10, 10))
    found = findings(left, right, name="Kidney_L", body=body)["propagated-laterality"]
    # The midline is column 39.5, the centroid column 19.5: 20 columns of 2 mm beyond.
    assert found.value == pytest.approx(40)
    assert found.verdict is Verdict.FAIL
    assert findings(left, left, name="Kidney_L", body=body)["propagated-laterality"].verdict is Verdict.PASS


@pytest.mark.parametrize(("name", "is_outline"), [("Body", True), (" EXTERNAL ", True), ("Skin", False)])
def test_a_body_outline_that_is_not_marked_as_external_still_tells_the_midline(name: str, is_outline: bool) -> None:
    body = patch((0, 5, 5), (40, 50, 70), number=9)
    kidney = patch((10, 20, 55), (10, 10, 10))
    found = assess(
        {1: measure(kidney), 9: measure(body)},
        {1: measured(kidney), 9: measured(body)},
        segmented={},
        names={1: "Kidney_L", 9: name},
        daily=GRID,
        affine=AffineTransform.identity(),
    )
    # Column 59.5 of the centroid against 39.5 of the midline: 20 columns of 2 mm on its own side.
    side = next(f for f in found if f.check == "propagated-laterality")
    assert side.value == (pytest.approx(-40) if is_outline else None)


def test_a_sided_organ_just_beyond_the_midline_is_for_review() -> None:
    body = patch((0, 5, 5), (40, 50, 70), number=9)
    found = findings(
        patch((10, 20, 40), (10, 10, 10)), patch((10, 20, 34), (10, 10, 10)), name="femoral head left", body=body
    )["propagated-laterality"]
    # The centroid is column 38.5, one column of 2 mm to the right of the midline.
    assert found.value == pytest.approx(2)
    assert found.verdict is Verdict.REVIEW


@pytest.mark.parametrize(
    ("name", "beyond_mm", "verdict"),
    [("Femur_Head_L", -40, Verdict.PASS), ("Femur_Head_R", 40, Verdict.FAIL), ("femoral head right", 40, Verdict.FAIL)],
)
def test_two_rois_that_bear_each_others_names_fail(name: str, beyond_mm: float, verdict: Verdict) -> None:
    body = patch((0, 5, 5), (40, 50, 70), number=9)
    left = patch((10, 20, 55), (10, 10, 10))
    found = findings(left, left, name=name, body=body)["planned-laterality"]
    # Column 59.5 against 39.5 of the midline: 20 columns of 2 mm to the patient's left.
    assert found.value == pytest.approx(beyond_mm)
    assert found.verdict is verdict


def test_a_side_that_cannot_be_checked_is_said() -> None:
    organ = patch((10, 20, 55), (10, 10, 10))
    assert findings(organ, organ, name="Kidney_L")["propagated-laterality"].verdict is Verdict.REVIEW


@pytest.mark.parametrize("name", ["Bowel_Large", "Rectum", "PTV_70", "SpinalCord", "Prostate", "Liver"])
def test_organs_without_a_side_are_not_asked_for_one(name: str) -> None:
    organ = patch((10, 20, 55), (10, 10, 10))
    assert "propagated-laterality" not in findings(organ, organ, name=name)


def test_a_second_island_and_an_empty_slice_are_found() -> None:
    planned = patch((10, 20, 30), (11, 10, 10))
    inside = planned.inside.copy()
    inside[6] = 0
    found = findings(planned, RoiPatch(1, planned.lower, inside, GRID))
    assert (found["propagated-islands"].value, found["propagated-islands"].verdict) == (2, Verdict.REVIEW)
    assert (found["propagated-slice-gaps"].value, found["propagated-slice-gaps"].verdict) == (1, Verdict.FAIL)


def test_paths_that_disagree_are_found_with_the_numbers_of_shifted_cubes() -> None:
    # Ten slices against the same ten shifted by five: Dice 0.5, below 0.8 but not below 0.5.
    found = findings(
        patch((10, 20, 30), (10, 10, 10)), patch((10, 20, 30), (10, 10, 10)), patch((15, 20, 30), (10, 10, 10))
    )
    assert found["paths-dice"].value == pytest.approx(0.5)
    assert found["paths-dice"].verdict is Verdict.REVIEW
    assert found["paths-hausdorff-95"].value == pytest.approx(12.5)
    assert found["paths-hausdorff-95"].verdict is Verdict.REVIEW
    apart = findings(
        patch((2, 20, 30), (10, 10, 10)), patch((2, 20, 30), (10, 10, 10)), patch((25, 20, 30), (10, 10, 10))
    )
    assert {apart[f"paths-{check}"].verdict for check in ("dice", "surface-distance", "hausdorff-95")} == {Verdict.FAIL}


def test_fine_voxels_give_the_distances_of_coarse_ones_within_half_a_voxel() -> None:
    fine = VolumeGeometry((40, 120, 160), (-80.0, -60.0, 0.0), (0.9, 0.9, 2.0))
    one = patch((10, 40, 60), (12, 30, 30), grid=fine)
    other = patch((10, 40, 70), (12, 30, 30), grid=fine)
    found = assess(
        {1: measure(one)},
        {1: measured(one)},
        segmented={1: measured(other)},
        names={},
        daily=fine,
        affine=AffineTransform.identity(),
    )
    values = {finding.check: finding.value for finding in found}
    # The flat faces across the shift lie ten columns of 0.9 mm apart.
    assert values["paths-hausdorff-95"] == pytest.approx(9, abs=0.9)


def test_folding_is_reported_inside_the_organ_and_ignored_outside() -> None:
    organ = patch((10, 20, 30), (10, 10, 10))
    determinants = np.ones(GRID.shape)
    determinants[0] = -5
    determinants[10, 20, 30:35] = -0.5
    found = findings(organ, organ, jacobian=determinants)
    assert found["jacobian-minimum"].value == -0.5
    assert found["jacobian-minimum"].verdict is Verdict.REVIEW
    assert found["jacobian-folded"].value == pytest.approx(0.5)
    assert found["jacobian-folded"].verdict is Verdict.REVIEW
    determinants[10, 21:23, 30:40] = 0
    assert findings(organ, organ, jacobian=determinants)["jacobian-folded"].verdict is Verdict.FAIL


def test_the_field_may_live_on_a_coarser_grid_than_the_organ() -> None:
    organ = patch((10, 20, 30), (10, 10, 10))
    # z 25 to 47.5, y -20 to -2, x -20 to -2; grid points every 10 mm: z 30 40, y -20 -10, x -20 -10 lie inside.
    coarse = VolumeGeometry((10, 12, 16), (-80.0, -60.0, 0.0), (10.0, 10.0, 10.0))
    determinants = np.full(coarse.shape, -1, dtype=np.float32)
    determinants[3:5, 4:6, 6:8] = 0.9
    found = assess(
        {1: measure(organ)},
        {1: measured(organ)},
        segmented={},
        names={},
        daily=GRID,
        affine=AffineTransform.identity(),
        jacobian=(determinants, coarse),
    )
    assert next(f.value for f in found if f.check == "jacobian-minimum") == pytest.approx(0.9)


def test_limits_of_a_department_replace_ours(tmp_path: Path) -> None:
    file = tmp_path / "limits.json"
    file.write_text('{"centroid_shift_review_mm": 5.0}')
    limits = PlausibilityLimits.from_file(file)
    found = findings(patch((10, 20, 30), (10, 10, 10)), patch((10, 20, 33), (10, 10, 10)), limits=limits)
    assert found["propagated-centroid-shift"].verdict is Verdict.REVIEW
    assert limits.centroid_shift_fail_mm == 40


@pytest.mark.parametrize(
    "text",
    ['{"centroid_shift_mm": 5}', '{"centroid_shift_review_mm": 50}', '{"volume_ratio_review": [0.2, 2]}',
     '{"paths_dice_fail": 0.9}', '{"centroid_shift_review_mm": "NaN"}', "no json"],
)  # fmt: skip
def test_limits_that_make_no_sense_are_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "limits.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"plausibility file.*the keys are volume_ratio_review"):
        PlausibilityLimits.from_file(file)


def test_every_limit_says_where_it_comes_from() -> None:
    for name, field in PlausibilityLimits.model_fields.items():
        assert field.description, name
