"""When the benchmark in CI says that a stage is slower. Judged on made numbers, never on time."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from bench.regression import STORED, AtOnce, report
from bench.regression_rules import FLOOR, MOST_GROWTH, Judged, judge, ratios
from imaging import recontour

ONE = "arrays"


def slower(before: dict[str, float], now: dict[str, float]) -> list[str]:
    return [one.stage for one in judged(before, now) if one.slower]


def judged(before: dict[str, float], now: dict[str, float]) -> list[Judged]:
    return judge(*({stage: {ONE: ratio} for stage, ratio in found.items()} for found in (before, now)))


def in_units(stages_s: dict[str, list[float]], yardstick_s: list[float]) -> dict[str, float]:
    return {stage: by[ONE] for stage, by in ratios(stages_s, {ONE: yardstick_s}).items()}


def test_a_machine_that_only_runs_python_more_slowly_is_no_regression() -> None:
    stored = {"parse": {"arrays": 2.0, "interpreter": 3.0}}
    assert [one.slower for one in judge(stored, {"parse": {"arrays": 2.8, "interpreter": 3.1}})] == [False]
    assert [one.slower for one in judge(stored, {"parse": {"arrays": 2.8, "interpreter": 4.2}})] == [True]


def test_a_stage_that_grew_by_24_percent_passes_and_by_26_percent_fails() -> None:
    stored = {"affine": 2.0, "propagate": 1.0}
    assert slower(stored, {"affine": 2.48, "propagate": 1.24}) == []
    assert slower(stored, {"affine": 2.48, "propagate": 1.26}) == ["propagate"]


def test_a_stage_that_is_a_fraction_of_the_reference_may_double() -> None:
    """A stage of a millisecond flaps; its growth must exceed the floor as well."""
    assert slower({"queue": 0.04}, {"queue": 0.04 + 0.9 * FLOOR}) == []
    assert slower({"queue": 0.04}, {"queue": 0.04 + 1.1 * FLOOR}) == ["queue"]


def test_a_stage_that_is_artificially_slowed_down_by_half_fails_and_the_others_do_not() -> None:
    repeats = {"parse": [0.11, 0.10, 0.13], "contour": [0.05, 0.06, 0.05], "write": [0.04, 0.05, 0.04]}
    reference = [0.06, 0.05, 0.07]
    slowed = {**repeats, "contour": [1.5 * seconds for seconds in repeats["contour"]]}
    assert slower(in_units(repeats, reference), in_units(slowed, reference)) == ["contour"]


def test_a_machine_that_is_half_as_fast_is_no_regression() -> None:
    repeats, reference = {"parse": [0.11, 0.10], "write": [0.04, 0.05]}, [0.06, 0.05]
    half = {stage: [2 * seconds for seconds in found] for stage, found in repeats.items()}
    assert slower(in_units(repeats, reference), in_units(half, [2 * seconds for seconds in reference])) == []


def test_the_least_of_the_repeats_counts() -> None:
    assert in_units({"affine": [0.30, 0.20, 0.90]}, [0.40, 0.10]) == {"affine": pytest.approx(2.0)}


def test_a_new_stage_and_one_that_is_gone_are_told_but_fail_nothing() -> None:
    found = judged({"old": 1.0}, {"new": 9.0})
    assert [(one.stage, one.slower, one.growth) for one in found] == [("new", False, None), ("old", False, None)]


def test_the_message_names_the_stage_the_growth_and_what_to_do() -> None:
    text = report(judged({"write": 1.0, "parse": 1.0}, {"write": 1.5, "parse": 1.0}), MOST_GROWTH)
    assert "write needs 50 % more processor time than stored; at most 25 % is allowed" in text
    assert "make bench-regression" in text
    assert "parse needs" not in text


def test_what_is_stored_has_every_stage_of_a_request_without_network() -> None:
    stored = json.loads(STORED.read_text())
    stages = {"parse", "read_structures", "affine", "refinement", "rasterize", "propagate", "body", "contour"}
    assert stages | {"plausibility", "write", "total"} <= set(stored["ratios"])
    assert stored["processor"]


def test_the_work_beside_the_affine_goes_through_the_executor_that_is_replaced() -> None:
    """Else stages would run beside each other, and processor time would count both in each."""
    assert recontour.ThreadPoolExecutor is ThreadPoolExecutor


def test_an_executor_that_works_at_once_returns_what_was_done() -> None:
    with AtOnce(1) as executor:
        assert executor.submit(divmod, 7, 2).result() == (3, 1)
