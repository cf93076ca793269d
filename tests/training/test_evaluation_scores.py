import math
from dataclasses import replace

import numpy as np
import pytest

from imaging.transforms import DisplacementField
from training.evaluation.measures import FieldMeasures
from training.evaluation.outlines import read_outlines, write_outlines
from training.evaluation.scores import CaseScore, filled, planned_box_mm, read_score, score_case, write_score
from training.evaluation.system import Contoured

from .evaluated import BLADDER, GRID, ORGANS, RECTUM, held_out, patch, scan

SHIFTED = (BLADDER[0], BLADDER[1], slice(5, 9))


def measured(contoured: Contoured, case=None) -> CaseScore:
    return score_case(case or held_out(), contoured, system="s", identity="i", organs=ORGANS, components={"Rectum": 2})


def answer(*patches) -> Contoured:
    return Contoured({"segmentation": patches}, None, 2.0)


def test_the_truth_itself_has_no_distance():
    score = measured(answer(patch(1, BLADDER), patch(2, RECTUM)))
    assert [(row.organ, row.path) for row in score.organs] == [("Bladder", "segmentation"), ("Rectum", "segmentation")]
    assert all((row.msd_mm, row.hd95_mm, row.dice, row.added_pixels) == (0, 0, 1, 0) for row in score.organs)
    assert (score.case, score.patient, score.seconds) == ("0000000a-1", "0000000a", 2.0)


def test_a_cube_one_voxel_off_by_hand():
    """4^3 voxels of 1 x 1 x 2 mm, 1 mm along x: 48 of 64 are common, and each surface has 64 - 8 = 56.

    Of the truth's surface its near side (16) and the inner 4 of its far side, which lie inside the answer, are 1 mm
    off; the other 36 are surface of both. The answer mirrors that.
    """
    score = measured(answer(patch(1, SHIFTED), patch(2, RECTUM)))
    row = score.organs[0]
    assert row.dice == pytest.approx(2 * 48 / 128)
    assert row.msd_mm == pytest.approx(20 / 56)
    assert row.hd95_mm == pytest.approx(1.0)
    # In each of 4 planes 6 of 12 contour pixels are there already, see the squares of the added path length.
    assert (row.added_pixels, row.added_mm) == (24, 24.0)


def test_an_organ_that_was_not_found_is_infinitely_far_and_has_its_whole_outline_to_add():
    row = measured(answer(patch(1, BLADDER))).organs[1]
    assert row.missing
    assert (row.msd_mm, row.hd95_mm, row.dice, row.added_pixels) == (math.inf, math.inf, 0.0, 4 * 12)


def test_an_organ_that_nobody_drew_is_not_scored():
    case = held_out(daily=scan(rectum=None))
    assert [row.organ for row in measured(answer(patch(1, BLADDER)), case).organs] == ["Bladder"]


def test_the_oracle_stands_beside_the_result():
    """The answer kept a false island; among all islands the truth would have chosen the right one."""
    false = (slice(0, 2), slice(0, 2), slice(0, 2))
    contoured = replace(answer(patch(1, false)), islands=(patch(1, false), patch(1, BLADDER)))
    row = measured(contoured).organs[0]
    assert row.dice == 0.0
    assert (row.oracle_dice, row.oracle_msd_mm) == (1.0, 0.0)


def test_a_field_is_measured_within_the_planned_organs_and_their_margin():
    vectors = np.zeros((3, *GRID.shape), dtype=np.float32)
    vectors[0] = 0.1 * np.arange(GRID.shape[2])
    score = measured(Contoured({"registration": (patch(1, BLADDER),)}, DisplacementField(vectors, GRID), 1.0))
    lower, upper = planned_box_mm(held_out())
    # Voxels 4..15 along x at -10 + i, 4..13 along y at -8 + j, 4..7 along z at -6 + 2k; 15 mm round them.
    assert lower == pytest.approx((-6 - 15, -4 - 15, 2 - 15))
    assert upper == pytest.approx((5 + 15, 5 + 15, 8 + 15))
    assert score.field is not None
    assert (score.field.folded, score.field.voxels) == (0.0, 12 * 16 * 20)
    assert score.field.sd_jacobian == pytest.approx(0.0, abs=1e-6)


def test_scores_are_the_same_after_the_file(tmp_path):
    score = replace(measured(answer(patch(1, SHIFTED))), field=FieldMeasures(0.01, 0.2, math.nan, 7))
    write_score(score, tmp_path / "score.json")
    found = read_score(tmp_path / "score.json")
    assert found is not None
    assert found.organs == score.organs
    assert found.field is not None
    assert math.isnan(found.field.sd_log_jacobian)
    assert replace(found, field=None) == replace(score, field=None)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 0}', '{"format": 1}'])
def test_a_damaged_score_is_measured_anew(tmp_path, content):
    (tmp_path / "score.json").write_text(content)
    assert read_score(tmp_path / "score.json") is None
    assert read_score(tmp_path / "none.json") is None


def test_outlines_are_the_same_after_the_file(tmp_path):
    contoured = answer(patch(1, SHIFTED), patch(2, RECTUM))
    write_outlines(contoured, held_out(), tmp_path / "folder" / "outlines.npz")
    found = read_outlines(tmp_path / "folder" / "outlines.npz")
    assert list(found) == ["segmentation"]
    for label in (1, 2):
        assert np.array_equal(found["segmentation"][label], filled(contoured.paths["segmentation"], label, GRID.shape))
