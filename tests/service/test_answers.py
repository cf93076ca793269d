"""Which form an answer takes."""

import pytest

from service.answers import choose_form, render
from service.contract import example_report
from service.core import Answer
from service.problems import Refusal

ANSWER = Answer({"RECOMMENDED": b"r", "PROPAGATED": b"p"}, example_report())


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("*/*", "application/dicom"),
        ("", "application/dicom"),
        ("application/*", "application/dicom"),
        ("application/json", "application/json"),
        ("APPLICATION/ZIP", "application/zip"),
        ('multipart/related; type="application/dicom"', "multipart/related"),
        ("application/dicom;q=0.1, application/zip;q=0.9", "application/zip"),
        ("application/*;q=0.2, application/json;q=0.8", "application/json"),
        ("*/*, application/dicom;q=0", "multipart/related"),
        ("application/dicom; transfer-syntax=1.2.840.10008.1.2", "application/dicom"),
        ("application/dicom; transfer-syntax=1.2.840.10008.1.2.1, application/json;q=0.1", "application/json"),
        ("text/html, application/zip;q=0.5", "application/zip"),
    ],
)
def test_the_best_acceptable_form_is_chosen(accept: str, form: str):
    assert choose_form(accept) == form


@pytest.mark.parametrize(
    "accept",
    ["text/html", "application/json;q=0", "application/json;q=nan", "application/json;q=x",
     "application/dicom; transfer-syntax=1.2.840.10008.1.2.1", 'multipart/related; type="image/png"'],
)  # fmt: skip
def test_where_no_form_is_acceptable_the_request_is_refused(accept: str):
    with pytest.raises(Refusal) as caught:
        choose_form(accept)
    assert caught.value.code == "not-acceptable"


@pytest.mark.parametrize("form", ["application/dicom", "multipart/related", "application/zip", "application/json"])
def test_equal_answers_are_equal_bytes(form: str):
    assert render(ANSWER, form) == render(ANSWER, form)


def test_a_case_without_a_segmented_organ_has_no_segmented_object():
    assert b"SEGMENTED" not in render(ANSWER, "multipart/related").body
