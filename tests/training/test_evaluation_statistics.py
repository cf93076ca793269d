import math

import pytest

from training.evaluation.paper import printed_rows
from training.evaluation.statistics import by_case, choose_paths, compare, paths_in, summarise, systems_in

from .evaluated import case_score, organ_score, scores_of

DARWIN = (6, 8, 14, 16, 23, 24, 28, 29, 41, -48, 49, 56, 60, -67, 75)
"""Differences of heights in eighths of an inch, the example of scipy's documentation: sum of ranks 24, p 0.04126."""


def cases(values) -> dict[str, float]:
    return {f"case {n}": float(value) for n, value in enumerate(values)}


def test_means_leave_out_what_is_missing_and_count_it():
    summary = summarise([1.0, math.inf, 3.0, 5.0, 7.0])
    assert (summary.cases, summary.missing, summary.mean, summary.median) == (5, 1, 4.0, 4.0)
    assert summary.sd == pytest.approx(math.sqrt(20 / 3))
    # Ranks 0.75 and 2.25 of 1 3 5 7.
    assert (summary.lower_quartile, summary.upper_quartile) == (2.5, 5.5)


def test_one_value_has_no_spread_and_none_has_no_mean():
    assert math.isnan(summarise([2.0]).sd)
    nothing = summarise([math.inf, math.inf])
    assert (nothing.cases, nothing.missing) == (2, 2)
    assert math.isnan(nothing.mean)


def test_the_textbook_example_of_the_signed_rank_test():
    comparison = compare(cases(DARWIN), cases([0] * 15))
    assert comparison.p == pytest.approx(0.041259765625)
    assert comparison.significant


def test_six_differences_of_one_sign_are_significant_and_five_are_not():
    """Of 2^n signs the two with all alike are at least as extreme: 2/64 and 2/32."""
    assert compare(cases([1, 2, 3, 4, 5, 6]), cases([0] * 6)).p == pytest.approx(2 / 64)
    five = compare(cases([1, 2, 3, 4, 5]), cases([0] * 5))
    assert five.p == pytest.approx(2 / 32)
    assert not five.significant


def test_the_smallest_of_six_differences_turned_round_doubles_p():
    """Negative ranks may sum to 0 or 1: 2 of 64 signs, and as many the other way round."""
    assert compare(cases([-1, 2, 3, 4, 5, 6]), cases([0] * 6)).p == pytest.approx(4 / 64)


def test_cases_without_a_difference_are_left_out_of_the_test():
    comparison = compare(cases([1, 2, 3, 4, 5, 6, 9]), cases([0, 0, 0, 0, 0, 0, 9]))
    assert comparison.p == pytest.approx(2 / 64)
    assert comparison.cases == 7


def test_the_test_is_paired_by_case_over_those_that_both_found():
    ours = {"a": 1.0, "b": 2.0, "c": math.inf, "d": 4.0}
    theirs = {"d": 0.0, "b": 0.0, "a": 0.5, "c": 0.0, "e": 0.0}
    comparison = compare(ours, theirs)
    assert (comparison.cases, comparison.p) == (3, pytest.approx(2 / 8))


def test_a_system_does_not_differ_from_itself():
    assert compare(cases([1, 2, 3]), cases([1, 2, 3])).p == 1.0


def test_nothing_in_common_is_no_test():
    comparison = compare({"a": 1.0}, {"b": 1.0})
    assert comparison.cases == 0
    assert not comparison.significant


def two_paths(segmentation: tuple[float, ...], registration: tuple[float, ...], organ: str = "Rectum"):
    return [
        case_score("s", f"{n}-1", organ_score(organ, "segmentation", a), organ_score(organ, "registration", b))
        for n, (a, b) in enumerate(zip(segmentation, registration, strict=True))
    ]


def test_the_path_with_the_smaller_mean_distance_is_chosen():
    assert choose_paths(two_paths((1.0, 3.0), (1.5, 1.5)), system="s") == {"Rectum": "registration"}
    assert choose_paths(two_paths((1.0, 1.9), (1.5, 1.5)), system="s") == {"Rectum": "segmentation"}


def test_a_path_that_missed_an_organ_loses_however_near_it_is_elsewhere():
    scores = two_paths((0.1, math.inf), (5.0, 5.0))
    assert choose_paths(scores, system="s") == {"Rectum": "registration"}


def test_only_paths_that_the_system_has_are_chosen():
    assert choose_paths(scores_of("s", "Rectum", "registration", 2.0), system="s") == {"Rectum": "registration"}


def test_scores_are_found_by_system_path_and_organ():
    scores = [*two_paths((1.0, 2.0), (3.0, 4.0)), *scores_of("other", "Rectum", "service", 9.0)]
    assert by_case(scores, system="s", path="registration", organ="Rectum", metric="msd_mm") == {"0-1": 3.0, "1-1": 4.0}
    assert by_case(scores, system="s", path="service", organ="Rectum", metric="msd_mm") == {}
    assert by_case(scores, system="s", path="segmentation", organ="Rectum", metric="oracle_msd_mm") == {}
    assert systems_in(scores) == ("s", "other")
    assert paths_in(scores, "s") == ("segmentation", "registration")


def test_the_printed_numbers_are_those_of_the_paper():
    """Its abstract quotes 1.06, 1.27, 1.76 and 0.91 mm for validation, and bladder 2.45 mm for the independent test."""
    best = {(row.system, row.path): row for row in printed_rows("msd_mm", "HMC")}["Cross-stitch", "segmentation"]
    assert [value.mean for value in best.values] == [1.06, 1.27, 1.76, 0.91]
    assert best.values[3].text == "0.91 ± 0.4 (0.82)"
    test = {(row.system, row.path): row for row in printed_rows("msd_mm", "EMC")}["Cross-stitch", "segmentation"]
    assert test.values[3].mean == 2.45
    assert [len(printed_rows(metric, "HMC")) for metric in ("msd_mm", "hd95_mm", "dice")] == [10, 10, 10]
    assert [len(printed_rows(metric, "EMC")) for metric in ("msd_mm", "hd95_mm", "dice")] == [9, 9, 9]
