from typing import Any

import pytest

from bench.final_report import AFFINE, LABEL_MAP, ORGANS, RECOMMENDED, as_markdown, means, missing, worse_than_affine


def case(
    affine: float, recommended: float | None, *, elastix: float = 1.0, told: tuple[str, ...] = ()
) -> dict[str, Any]:
    rows = {AFFINE: affine, RECOMMENDED: recommended, "elastix" + LABEL_MAP: elastix}
    return {
        "mm": {row: dict.fromkeys(ORGANS, value) for row, value in rows.items()},
        "told": {"Bladder": list(told)},
    }


def test_each_clinic_has_its_own_mean() -> None:
    found = means({"A1-1": case(3.0, 0.2), "A2-1": case(5.0, 0.4), "B1-1": case(9.0, 1.0)})
    assert found["A"][AFFINE]["Rectum"] == pytest.approx(4.0)
    assert found["A"][RECOMMENDED]["Rectum"] == pytest.approx(0.3)
    assert found["B"][RECOMMENDED]["Rectum"] == pytest.approx(1.0)


def test_an_organ_that_was_not_found_is_counted_and_not_averaged() -> None:
    cases = {"A1-1": case(3.0, None), "A2-1": case(3.0, 0.4)}
    assert means(cases)["A"][RECOMMENDED]["Bladder"] == pytest.approx(0.4)
    assert f"- {RECOMMENDED} found no Bladder on A1-1" in missing(cases)


def test_a_contour_half_a_millimetre_worse_than_the_affine_is_told_with_what_was_said() -> None:
    cases = {"A1-1": case(1.0, 1.6, told=("paths-dice",)), "A2-1": case(1.0, 1.4), "A3-1": case(1.0, None)}
    found = [(name, said) for name, organ, _, _, said in worse_than_affine(cases) if organ == "Bladder"]
    assert found == [("A1-1", ("paths-dice",)), ("A3-1", ())]


def test_the_goal_is_a_quarter_below_the_best_as_its_users_carry_contours() -> None:
    report = as_markdown({"model": "m 1", "in_plane": 320, "cases": {"A1-1": case(3.0, 0.76)}})
    assert "0.76 of 0.75: MISSED" in report
    report = as_markdown({"model": "m 1", "in_plane": 320, "cases": {"A1-1": case(3.0, 0.74)}})
    assert "0.74 of 0.75: met" in report


def test_each_trained_network_must_be_beaten_and_easy_cases_are_told() -> None:
    easy = case(2.0, 0.5)
    easy["mm"]["Registration, propagated"] = dict.fromkeys(ORGANS, 0.4)
    report = as_markdown({"model": "m 1", "in_plane": 320, "cases": {"B1-1": easy}})
    assert "| clinic B, 1 of the best of the trained networks | 0.50 of 0.40: MISSED" in report
    assert "| clinic B, affine at least | 2.00 of 6.00: MISSED | - | - | 2.00 of 2.50: MISSED |" in report
