"""Every patient position, three spacings, rows and columns swapped: safety demands that none of it moves a contour."""

import pytest

from tests.dicom_factory import ORIENTATIONS
from tests.geometry_cases import CASES, GeometryCase, pass_through_error_mm, referee_percent, through_mask, written
from tests.referees import dciodvfy_errors, needs_dciodvfy, needs_dcmrtstruct2nii, needs_plastimatch

ONE_PER_POSITION = [CASES[6 * n + n % 6] for n in range(len(ORIENTATIONS))]
"""Every patient position, and every spacing at least once."""


@pytest.fixture(scope="module", params=CASES, ids=str)
def case(request: pytest.FixtureRequest) -> GeometryCase:
    """One of the 48; pytest runs all tests of one case before the next, so each is read once."""
    chosen: GeometryCase = request.param
    return chosen


def test_contours_read_written_and_read_again_stay_within_a_hundredth_of_a_millimetre(case: GeometryCase) -> None:
    assert pass_through_error_mm(case) <= 0.01


def test_contour_to_mask_to_contour_stays_within_half_a_voxel_and_one_per_cent(case: GeometryCase) -> None:
    for error in through_mask(case):
        assert error.voxels <= 0.5, error
        assert error.cut <= 0.55, error
        assert abs(error.percent) <= 1.0, error


@pytest.mark.parametrize("one", ONE_PER_POSITION, ids=str)
def test_holes_as_exclusive_or_come_back_as_exactly(one: GeometryCase) -> None:
    assert pass_through_error_mm(one, "xor") <= 0.01


@needs_plastimatch
@pytest.mark.parametrize("one", ONE_PER_POSITION, ids=str)
def test_plastimatch_finds_the_volumes_of_the_formula(one: GeometryCase) -> None:
    for name, percent in referee_percent(one, "plastimatch").items():
        assert abs(percent) <= 1.0, name


@needs_dcmrtstruct2nii
@pytest.mark.parametrize("one", ONE_PER_POSITION[::3], ids=str)
def test_dcmrtstruct2nii_finds_the_volumes_of_the_formula(one: GeometryCase) -> None:
    for name, percent in referee_percent(one, "dcmrtstruct2nii").items():
        assert abs(percent) <= 1.0, name


def test_the_referees_see_every_patient_position() -> None:
    assert {one.position for one in ONE_PER_POSITION} == set(ORIENTATIONS)
    assert len({one.spacing_mm for one in ONE_PER_POSITION}) == 6


@needs_dciodvfy
@pytest.mark.parametrize("one", ONE_PER_POSITION, ids=str)
def test_dciodvfy_finds_no_error_in_any_position(one: GeometryCase) -> None:
    assert dciodvfy_errors(written(one)) == []
