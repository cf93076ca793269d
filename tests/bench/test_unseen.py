import numpy as np
import pytest

from bench.unseen import OrganResult, as_table, told_of
from bench.unseen_material import CONE_BEAM_LENGTH_MM, cone_beam, contrast_in_bladder, ordinary, turned_round
from imaging.findings import Finding, Verdict
from imaging.rasterize import mask_of, rasterize
from phantom.case import PhantomCase


def bladder_hu(case: PhantomCase) -> float:
    (number,) = (roi.number for roi in case.daily_structures.rois if roi.name == "Bladder")
    inside = mask_of(rasterize(case.daily_structures, case.daily.geometry), number)
    return float(np.median(case.daily.hu[inside]))


@pytest.fixture(scope="module")
def plain() -> PhantomCase:
    return ordinary(6100, 64)


def test_contrast_medium_fills_the_bladder_of_the_day_and_nothing_of_the_plan(plain: PhantomCase) -> None:
    filled = contrast_in_bladder(6100, 64)
    assert bladder_hu(filled) > bladder_hu(plain) + 250
    assert np.array_equal(filled.planning.hu, plain.planning.hu)


def test_the_truth_turns_with_the_patient(plain: PhantomCase) -> None:
    assert bladder_hu(turned_round(6100, 64)) == pytest.approx(bladder_hu(plain), abs=2)


def test_the_truth_ends_with_a_cone_beam_scan() -> None:
    case = cone_beam(6100, 64)
    first, last = case.daily.geometry.axis_mm("z")[[0, -1]]
    assert last - first <= CONE_BEAM_LENGTH_MM
    heights = [contour.z_mm for roi in case.daily_structures.rois for contour in roi.contours]
    assert first - 0.1 <= min(heights)
    assert max(heights) <= last + 0.1


@pytest.mark.parametrize(
    ("affine_mm", "found_mm", "told", "silent"),
    [
        (2.0, 0.3, (), False),
        (6.0, 3.1, (), True),
        (6.0, 3.1, ("paths-dice",), False),
        (1.0, 1.6, (), True),
        (1.0, 1.4, (), False),
        (None, 3.1, (), True),
        (2.0, None, (), True),
        (2.0, None, ("propagated-empty",), False),
        (None, None, (), False),
    ],
)
def test_a_contour_far_off_fails_silently_unless_a_finding_names_it(
    affine_mm: float | None, found_mm: float | None, told: tuple[str, ...], silent: bool
) -> None:
    assert OrganResult("kind", "Bladder", affine_mm, found_mm, told).silent is silent


def test_what_is_said_of_another_roi_or_of_the_whole_case_does_not_count() -> None:
    findings = [
        Finding("folding-removed", Verdict.REVIEW, ""),
        Finding("paths-dice", Verdict.REVIEW, "", roi_number=2),
        Finding("volume-ratio", Verdict.PASS, "", roi_number=1),
        Finding("jacobian-minimum", Verdict.FAIL, "", roi_number=1),
    ]
    assert told_of(findings, 1) == ("jacobian-minimum",)
    assert told_of(findings, None) == ()


def test_the_table_counts_what_was_named_and_what_was_not() -> None:
    results = [OrganResult("prone", "Bladder", 2.0, 1.0, ()), OrganResult("prone", "Bladder", 4.0, 5.0, ())]
    assert "| prone | 3.00 / 3.00 | 0 of 2 | - | 1 |" in as_table(results, ["Bladder"], 2)
