"""Which series is which, when the sender does not say."""

from dataclasses import replace

import pytest

from imaging.dicom.ct_series import read_ct_series
from imaging.dicom.parse import DicomObject, parse
from imaging.dicom.roles import check_other_scan, check_roles, sort_roles
from imaging.errors import MissingObject, MixedSeries, RecontouringError, SeriesRole
from imaging.findings import Verdict
from tests.dicom_factory import DAILY, PLANNING, SMALL, CtSpec, Upload, ct_bytes, good_upload, structure_bytes


def parsed(files: list[bytes]) -> list[DicomObject]:
    return [parse(data, limits=SMALL) for data in files]


def everything(upload: Upload) -> list[DicomObject]:
    return parsed([*upload.daily, *upload.structures, *upload.planning])


def without_series(dataset) -> None:  # type: ignore[no-untyped-def]
    del dataset.ReferencedFrameOfReferenceSequence


@pytest.mark.parametrize("edit", [None, without_series], ids=["by series", "by the images of the contours"])
def test_the_series_that_the_structure_set_references_is_the_planning_ct(edit) -> None:  # type: ignore[no-untyped-def]
    upload = replace(good_upload(), structures=[structure_bytes(PLANNING, edit=edit)])
    planning, structure, daily = sort_roles(everything(upload))
    assert {str(one.dataset.SeriesInstanceUID) for one in planning} == {PLANNING.series_uid}
    assert {str(one.dataset.SeriesInstanceUID) for one in daily} == {DAILY.series_uid}
    assert structure.is_structure_set


def test_sorted_and_stated_roles_agree() -> None:
    upload = good_upload()
    stated = check_roles(*(parsed(files) for files in (upload.planning, upload.structures, upload.daily)))
    by_reference = sort_roles(everything(upload))
    assert [one.sha256 for one in stated[0]] == [one.sha256 for one in by_reference[0]]
    assert [one.sha256 for one in stated[2]] == [one.sha256 for one in by_reference[2]]


OTHER = CtSpec(name="third")
UNSORTABLE = [
    ("no structure set", replace(good_upload(), structures=[]), MissingObject),
    ("no daily CT", replace(good_upload(), daily=[]), MissingObject),
    ("no CT", Upload(structures=good_upload().structures), MissingObject),
    ("a structure set of neither", replace(good_upload(), structures=[structure_bytes(OTHER)]), SeriesRole),
    ("a third series", replace(good_upload(), daily=[*good_upload().daily, *ct_bytes(OTHER)]), MixedSeries),
    (
        "two structure sets",
        replace(good_upload(), structures=[structure_bytes(PLANNING), structure_bytes(DAILY)]),
        SeriesRole,
    ),
]


@pytest.mark.parametrize(("upload", "refusal"), [row[1:] for row in UNSORTABLE], ids=[row[0] for row in UNSORTABLE])
def test_what_cannot_be_sorted_is_refused(upload: Upload, refusal: type[RecontouringError]) -> None:
    with pytest.raises(refusal):
        sort_roles(everything(upload))


def test_the_planning_scan_under_other_uids_is_no_scan_of_the_day() -> None:
    planning, same, daily = (
        read_ct_series(parsed(files), role="daily CT", limits=SMALL)
        for files in (good_upload().planning, ct_bytes(replace(PLANNING, name="sent again")), good_upload().daily)
    )
    (found,) = check_other_scan(planning, same)
    assert (found.check, found.verdict) == ("daily-equals-planning", Verdict.FAIL)
    assert check_other_scan(planning, daily) == ()
