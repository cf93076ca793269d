"""The exponent of a growth, and what is told of an axis."""

import pytest

from bench.growth_fit import exponents, fitted_exponent
from bench.growth_report import as_markdown, goals_of

SIZES = [50, 100, 150, 200]


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 3.0])
def test_a_power_of_the_size_has_its_exponent(exponent: float) -> None:
    assert fitted_exponent(SIZES, [0.007 * size**exponent for size in SIZES]) == pytest.approx(exponent)


def test_the_fit_is_by_least_squares_of_logarithms() -> None:
    # Times 1, 4, 4 at sizes 1, 2, 4: in units of log 2 the points (0, 0), (1, 2), (2, 2), whose slope is 2 / 2.
    assert fitted_exponent([1, 2, 4], [1.0, 4.0, 4.0]) == pytest.approx(1.0)


def test_one_size_has_no_growth() -> None:
    with pytest.raises(ValueError, match="two different sizes"):
        fitted_exponent([5, 5], [1.0, 2.0])


def test_times_below_two_milliseconds_are_left_out_of_the_fit() -> None:
    linear = [0.0001, 0.02, 0.03, 0.04]
    found = exponents(SIZES, {"queue": [0.0001, 0.0002, 0.0001, 0.0019], "receive": linear})
    assert found["queue"] is None
    assert found["receive"] == pytest.approx(1.0)


def content(few_ms: float, many_ms: float) -> dict[str, object]:
    runs = [[{"propagate": ms / 1000, "total": 0.5}] for ms in (few_ms, 11.0, many_ms)]
    return {"kind": "growth", "machine": {}, "axes": {"rois": {"sizes": [5, 20, 60], "runs": runs}}}


def test_the_pull_may_take_a_third_longer_with_twelve_times_the_rois() -> None:
    assert [goal.verdict for goal in goals_of(content(10.0, 12.9))] == ["met"]
    assert [goal.verdict for goal in goals_of(content(10.0, 13.1))] == ["MISSED"]


def test_the_table_has_the_medians_in_milliseconds_and_the_exponent() -> None:
    assert "| `propagate` | 10.0 | 11.0 | 12.0 | 0.07 |" in as_markdown(content(10.0, 12.0))


def test_an_axis_that_was_not_run_is_said() -> None:
    assert [goal.verdict for goal in goals_of({"machine": {}, "axes": {}})] == ["not measured"]
