"""Every damaged or unusual input gets its stated answer, and none of them gives the patient away."""

import logging
import traceback
from pathlib import Path

import pytest

from imaging.errors import RecontouringError
from tests.dicom_catalogue import CATALOGUE, Input, as_markdown, read_upload
from tests.dicom_factory import PLANTED, good_upload

NAMES = [case.name for case in CATALOGUE]


def assert_no_patient_in(text: str) -> None:
    found = [planted for planted in PLANTED if planted in text.casefold()]
    assert not found, f"{found} in: {text}"


@pytest.mark.parametrize("case", CATALOGUE, ids=NAMES)
def test_a_damaged_input_gets_its_stated_answer_without_a_word_of_the_patient(
    case: Input, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    upload = case.make()
    caplog.clear()
    caplog.set_level(logging.DEBUG)
    refusal = None
    try:
        read = read_upload(upload, case.limits)
    except RecontouringError as raised:
        refusal = raised
    if refusal is not None:
        assert type(refusal) is case.refusal, refusal.message
        assert len(refusal.message) > 20
        assert_no_patient_in(refusal.message + repr(refusal.facts) + "".join(traceback.format_exception_only(refusal)))
    else:
        assert case.refusal is None, f"accepted with {[finding.check for finding in read.findings]}"
        assert tuple(dict.fromkeys(finding.check for finding in read.findings)) == case.notices
        assert_no_patient_in(repr(read.findings))
        assert_no_patient_in(repr((read.planning, read.daily)))
    captured = capfd.readouterr()
    assert_no_patient_in(captured.out + captured.err)
    assert_no_patient_in("\n".join(record.getMessage() for record in caplog.records))


def test_the_good_case_is_read_without_a_notice() -> None:
    assert read_upload(good_upload()).findings == ()


def test_the_names_of_the_catalogue_are_unique() -> None:
    assert len(set(NAMES)) == len(NAMES)


def test_the_page_of_inputs_is_up_to_date() -> None:
    page = Path(__file__).resolve().parents[3] / "docs" / "inputs.md"
    assert page.read_text(encoding="utf-8") == as_markdown()
