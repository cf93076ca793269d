from typing import Any

from bench.calibration_report import as_markdown, beyond, groups, limit_of

CHECK = "paths-surface-distance"


def contour(mm: float | None, apart: float | None = None, *, named: tuple[str, ...] = ()) -> dict[str, Any]:
    values = {} if apart is None else {CHECK: apart}
    return {"kind": "clinic B", "way": "affine", "organ": "Bladder", "mm": mm, "named": named, "values": values}


def test_a_contour_that_is_not_there_counts_as_far_off() -> None:
    far, between, near = groups([contour(None), contour(3.1), contour(3.0), contour(1.0)])
    assert [len(group) for group in (far, between, near)] == [2, 1, 1]


def test_the_limit_names_19_of_20_contours_that_are_far_off() -> None:
    far = [contour(4.0, float(apart)) for apart in range(1, 21)]
    limit = limit_of(CHECK, 1, far)
    assert limit == 2.0
    assert sum(beyond(one, CHECK, 1, limit) for one in far) == 19


def test_where_little_is_suspicious_the_limit_is_approached_from_above() -> None:
    far = [contour(4.0, apart / 20) for apart in range(1, 21)]
    assert limit_of(CHECK, -1, far) == 0.95


def test_a_check_without_a_value_names_nothing() -> None:
    far = [contour(4.0, 5.0), contour(4.0)]
    assert limit_of(CHECK, 1, far) == 5.0
    assert limit_of(CHECK, 1, far[1:]) is None
    assert not beyond(far[1], CHECK, 1, 0.0)


def test_silent_contours_are_listed_one_by_one() -> None:
    contours = [contour(4.0, 1.0), contour(5.0, 6.0, named=(CHECK,)), contour(0.2, 0.3)]
    report = as_markdown({"model": "1.0.0", "patients": 1, "contours": contours})
    assert "- silent: clinic B, affine, Bladder, 4.00 mm" in report
    assert report.count("silent:") == 1
    assert "1 of 2 (50 %)" in report
