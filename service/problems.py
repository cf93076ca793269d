"""Error code -> HTTP status and problem+json (RFC 9457). The one place where a refusal meets a status number.

`type` is the stable relative URI /problems/<code>; GET on it describes the problem. Texts hold numbers and the next
step, never a name, identifier, date, UID or path.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from imaging.errors import RecontouringError

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True)
class ProblemKind:
    """One row of the table: what a client may rely on."""

    status: int
    title: str
    advice: str


class Refusal(Exception):
    """The edge cannot serve a request; `code` is a key of `PROBLEMS`."""

    def __init__(self, code: str, detail: str, *, headers: Mapping[str, str] | None = None, **facts: object) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})
        self.facts = facts


def _table(rows: tuple[tuple[str, int, str, str], ...]) -> Mapping[str, ProblemKind]:
    return MappingProxyType({code: ProblemKind(status, title, advice) for code, status, title, advice in rows})


PROBLEMS: Mapping[str, ProblemKind] = _table(
    (
        # What HTTP itself got wrong.
        ("bad-request", 400, "The request is broken", "Send a complete and well-formed HTTP request."),
        (
            "multipart-invalid",
            400,
            "The multipart body cannot be used",
            "Check the names of the fields, the boundary, and that the upload was complete.",
        ),
        (
            "archive-invalid",
            400,
            "The zip file is broken or unsafe",
            "Send a plain zip of DICOM files, without nested archives, passwords or links.",
        ),
        ("unauthorized", 401, "A key is needed", "Send 'Authorization: Bearer <key>'."),
        ("not-found", 404, "There is nothing here", "See GET /openapi.json for the routes."),
        (
            "plan-not-found",
            404,
            "No such plan is staged",
            "Stage it with PUT /plans/{id}, or send the planning objects with the request.",
        ),
        (
            "job-not-found",
            404,
            "There is no such job",
            "A finished job is forgotten after its retention time; send the case again.",
        ),
        ("model-not-found", 404, "There is no such model", "GET /models lists what is loaded."),
        ("method-not-allowed", 405, "The method does not fit the route", "See the Allow header."),
        (
            "not-acceptable",
            406,
            "No answer of that media type",
            "Accept application/dicom, multipart/related, application/zip or application/json.",
        ),
        ("body-stalled", 408, "The upload came too slowly", "Send again over a faster connection."),
        ("plan-conflict", 409, "Another plan is staged under this id", "DELETE it first, or choose another id."),
        ("job-not-finished", 409, "The job has no result yet", "Ask again after Retry-After."),
        ("job-cancelled", 409, "The job was cancelled", "Send the case again."),
        ("too-large", 413, "Something exceeds a limit", "GET /limits shows every limit."),
        (
            "unsupported-media-type",
            415,
            "The body has a media type that is not read",
            "Send multipart/form-data, multipart/related, or application/zip.",
        ),
        (
            "content-encoding-unsupported",
            415,
            "Compressed bodies are refused",
            "Send the body without Content-Encoding; use application/zip.",
        ),
        (
            "plans-full",
            429,
            "No more plans can be staged",
            "DELETE a plan that is no longer needed, or wait until one expires.",
        ),
        ("queue-full", 429, "The service is busy", "Try again after Retry-After."),
        ("draining", 503, "The service is shutting down", "Try again after Retry-After; another instance will answer."),
        ("not-ready", 503, "The service is not ready", "GET /health/ready says why; try again after Retry-After."),
        ("switched-off", 404, "This part of the service is switched off", "Ask who runs the service to switch it on."),
        (
            "deadline-exceeded",
            504,
            "The answer took too long",
            "Nothing was contoured. Try again; report it if it happens twice.",
        ),
        ("internal-error", 500, "A fault in the service", "Report it with the request id; contour by hand meanwhile."),
        # What the core refuses or fails at: the codes of imaging.errors.
        ("recontouring-error", 422, "The case cannot be recontoured", "See the detail."),
        ("input-error", 422, "The objects cannot be used", "See the detail."),
        ("not-dicom", 415, "A part is not DICOM", "Send DICOM Part 10 files only."),
        ("truncated", 422, "A DICOM object is cut off", "Export the object again and send it whole."),
        (
            "unsupported-object",
            415,
            "An object of a kind that is not read",
            "Send single-frame CT images and one RT Structure Set.",
        ),
        (
            "lossy-pixel-data",
            415,
            "The pixels were compressed with loss",
            "Export the CT uncompressed or losslessly compressed.",
        ),
        ("value-invalid", 422, "An attribute is missing or not valid", "Export the object again from its source."),
        ("missing-object", 422, "A role has no object", "Send planning CT, planning RTSTRUCT and daily CT."),
        ("series-role", 422, "Planning and daily CT cannot be told apart", "Send each series in its own form field."),
        ("mixed-series", 422, "Slices of several series in one role", "Send exactly one series per role."),
        (
            "duplicate-conflict",
            422,
            "One instance was sent twice with unequal contents",
            "Find out which copy is right.",
        ),
        ("duplicate-position", 422, "Two images claim one position", "Send one reconstruction only."),
        ("missing-slices", 422, "Slices are missing", "Send the series whole."),
        ("nonuniform-spacing", 422, "Slices are not equally spaced", "Reconstruct the scan with one slice distance."),
        ("orientation-unsupported", 422, "The series is not axial", "Send the axial reconstruction."),
        ("gantry-tilt", 422, "The gantry was tilted", "Send a scan without tilt."),
        ("rescale-missing", 422, "Hounsfield units are unknown", "Export the CT with rescale slope and intercept."),
        ("hu-implausible", 422, "The values are not Hounsfield units of a patient", "Check the scan and its export."),
        ("patient-mismatch", 422, "The objects are not of one patient", "Check whose scans were chosen."),
        ("patient-position-mismatch", 422, "Patient positions disagree", "Check the position on the scanner console."),
        (
            "structure-reference-mismatch",
            422,
            "The structures were drawn on another CT",
            "Send the CT that the RTSTRUCT references.",
        ),
        ("roi-ambiguous", 422, "Two ROIs claim the same organ", "Rename or remove one of them in the plan."),
        ("roi-unmapped", 422, "An ROI that was asked for is not in the plan", "Check the spelling in 'rois'."),
        ("options-invalid", 422, "The options cannot be read", "See GET /openapi.json, schema RequestOptions."),
        (
            "registration-rejected",
            422,
            "The two scans could not be aligned",
            "Compare the scans; contour by hand. Nothing was contoured.",
        ),
        ("model-error", 503, "The model is not usable", "GET /health/ready says why; tell who runs the service."),
        (
            "provider-unavailable",
            503,
            "The accelerator is not usable",
            "GET /health/ready says why; tell who runs the service.",
        ),
    )
)

RETRYABLE = frozenset({"model-error", "provider-unavailable", "not-ready", "draining", "queue-full", "plans-full"})
"""Codes that always carry Retry-After: 429 where the client asks for too much, 503 where the service cannot serve."""


@dataclass(frozen=True)
class Problem:
    """A refusal ready to be sent."""

    code: str
    detail: str
    headers: Mapping[str, str]
    facts: Mapping[str, object]

    @property
    def status(self) -> int:
        """The HTTP status of the table."""
        return PROBLEMS[self.code].status

    def body(self, request_id: str) -> dict[str, object]:
        """The members of RFC 9457, with `code` and the numbers in `facts`."""
        kind = PROBLEMS[self.code]
        members: dict[str, object] = {
            "type": f"/problems/{self.code}",
            "title": kind.title,
            "status": kind.status,
            "detail": self.detail,
            "instance": f"urn:uuid:{uuid.UUID(request_id)}",
            "code": self.code,
            "advice": kind.advice,
        }
        if self.facts:
            members["facts"] = {name: _plain(value) for name, value in self.facts.items()}
        return members


class ProblemRaised(Exception):
    """A problem that was made earlier (a failed job's) is the answer now."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.code)
        self.problem = problem


def problem_of(error: BaseException) -> Problem:
    """The problem that an exception amounts to; anything unforeseen is 'internal-error' without its text."""
    if isinstance(error, ProblemRaised):
        return error.problem
    if isinstance(error, Refusal):
        code, detail, headers, facts = error.code, error.detail, error.headers, error.facts
    elif isinstance(error, RecontouringError) and error.code in PROBLEMS:
        code, detail, headers, facts = error.code, error.message, {}, error.facts
    else:
        code, detail, headers, facts = "internal-error", "An unforeseen fault; nothing was contoured.", {}, {}
    if code in RETRYABLE:
        headers = {"Retry-After": "5", **headers}
    return Problem(code, detail, headers, facts)


def _plain(value: object) -> object:
    if isinstance(value, bool | int | float | str) or value is None:
        return value
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        return value.item()
    return type(value).__name__
