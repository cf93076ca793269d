"""Wrong inputs over HTTP: each is refused with the status, the problem type and the message of docs/inputs.md."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.dicom_catalogue import CATALOGUE, Input
from tests.dicom_factory import PLANTED, SMALL, Upload
from tests.in_process import service_in_process

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = DOCS / "inputs.md"
MUST_BE_REFUSED = {
    "another Patient ID": (422, "patient-mismatch"),
    "an RTSTRUCT in another frame of reference": (422, "structure-reference-mismatch"),
    "a missing slice": (422, "missing-slices"),
    "one UID with two contents": (422, "duplicate-conflict"),
    "two images in one place": (422, "duplicate-position"),
    "unequal slice distances": (422, "nonuniform-spacing"),
    "slices of two series": (422, "mixed-series"),
    "no Rescale Slope": (422, "rescale-missing"),
    "a file cut in its pixels": (422, "truncated"),
    "text that is called .dcm": (415, "not-dicom"),
    "oblique slices": (422, "orientation-unsupported"),
    "a gantry tilt of 12 degrees": (422, "gantry-tilt"),
}
REFUSED = [case for case in CATALOGUE if case.refusal is not None and case.limits == SMALL]
"""Limits of their own are for the readers' tests; the service under test has one set."""


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with (
        service_in_process(min_slices=SMALL.min_slices) as url,
        httpx.Client(base_url=url, timeout=60, trust_env=False) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def stated() -> dict[str, tuple[str, str, str]]:
    """Status, problem and message of every row of the page."""
    rows = [line.strip("| ").split(" | ") for line in PAGE.read_text(encoding="utf-8").splitlines()]
    return {row[0]: (row[1], row[2], row[3]) for row in rows if len(row) == 4}


def sent(http: httpx.Client, upload: Upload) -> httpx.Response:
    roles = {"planning_ct": upload.planning, "planning_structures": upload.structures, "daily_ct": upload.daily}
    return http.post(
        "/recontour",
        files=[
            (role, (f"{role}-{position}.dcm", content, "application/dicom"))
            for role, contents in roles.items()
            for position, content in enumerate(contents)
        ],
    )


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_a_wrong_input_is_refused_over_http_as_the_page_says(
    case: Input, http: httpx.Client, stated: dict[str, tuple[str, str, str]]
) -> None:
    answer = sent(http, case.make())
    problem = answer.json()
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert (str(answer.status_code), problem["code"], problem["detail"]) == stated[case.name]
    assert problem["type"] == f"/problems/{problem['code']}"
    assert problem["advice"]
    assert not [planted for planted in PLANTED if planted in answer.text.casefold()]


def test_the_inputs_that_must_be_refused_are_on_the_page(stated: dict[str, tuple[str, str, str]]) -> None:
    assert {name: (int(stated[name][0]), stated[name][1]) for name in MUST_BE_REFUSED} == MUST_BE_REFUSED
    assert set(MUST_BE_REFUSED) <= {case.name for case in REFUSED}


def test_the_page_of_acceptance_shows_them_as_they_are(stated: dict[str, tuple[str, str, str]]) -> None:
    shown = (DOCS / "acceptance.md").read_text(encoding="utf-8").splitlines()
    assert [name for name in MUST_BE_REFUSED if f"| {' | '.join((name, *stated[name]))} |" not in shown] == []
