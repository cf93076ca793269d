from typing import Any

import pytest

from bench.final_report import (
    AFFINE,
    LABEL_MAP,
    ORGANS,
    OUR_PULL,
    RECOMMENDED,
    as_markdown,
    means,
    missing,
    worse_than_affine,
)


def case(
    affine: float, recommended: float | None, *, elastix: float | None = 1.0, told: tuple[str, ...] = ()
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


def test_an_organ_that_was_not_found_has_no_mean_and_misses_the_goal() -> None:
    cases = {"A1-1": case(3.0, None), "A2-1": case(3.0, 0.4)}
    assert "Bladder" not in means(cases)["A"][RECOMMENDED]
    assert f"- {RECOMMENDED} found no Bladder on A1-1" in missing(cases)
    report = as_markdown({"model": "m 1", "in_plane": 320, "cases": cases})
    assert "not found everywhere of 0.800: MISSED" in report


def test_a_goal_without_anything_to_be_held_against_is_not_met() -> None:
    cases = {"A1-1": case(3.0, 0.4, elastix=None)}
    report = as_markdown({"model": "m 1", "in_plane": 320, "cases": cases})
    assert "| clinic A, 0.75 of the best of elastix and Hybrid with label maps | not measured | not measured" in report


def test_a_contour_half_a_millimetre_worse_than_the_affine_is_told_with_what_was_said() -> None:
    cases = {"A1-1": case(1.0, 1.6, told=("paths-dice",)), "A2-1": case(1.0, 1.4), "A3-1": case(1.0, None)}
    found = [(name, said) for name, organ, _, _, said in worse_than_affine(cases) if organ == "Bladder"]
    assert found == [("A1-1", ("paths-dice",)), ("A3-1", ())]


def test_the_goal_is_a_quarter_below_the_best_as_its_users_carry_contours() -> None:
    report = as_markdown({"model": "m 1", "in_plane": 320, "cases": {"A1-1": case(3.0, 0.76)}})
    assert "0.760 of 0.750: MISSED" in report
    report = as_markdown({"model": "m 1", "in_plane": 320, "cases": {"A1-1": case(3.0, 0.74)}})
    assert "0.740 of 0.750: met" in report


def test_beside_others_with_our_own_pull_the_share_is_told_too() -> None:
    one = case(3.0, 0.6)
    one["mm"]["Hybrid" + OUR_PULL] = dict.fromkeys(ORGANS, 0.8)
    report = as_markdown({"model": "m 1", "in_plane": 320, "cases": {"A1-1": one}})
    assert "| clinic A, they with label maps, as their users carry contours | 0.60 | 0.60 | 0.60 | 0.60 |" in report
    assert "| clinic A, they with our own pull | 0.75 | 0.75 | 0.75 | 0.75 |" in report


def test_each_trained_network_must_be_beaten_and_easy_cases_are_told() -> None:
    easy = case(2.0, 0.5)
    easy["mm"]["Registration, propagated"] = dict.fromkeys(ORGANS, 0.4)
    report = as_markdown({"model": "m 1", "in_plane": 320, "cases": {"B1-1": easy}})
    assert "| clinic B, 1 of the best of the trained networks | 0.500 of 0.400: MISSED" in report
    assert "| clinic B, affine at least | 2.000 of 6.000: MISSED | - | - | 2.000 of 2.500: MISSED |" in report
