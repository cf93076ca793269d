"""What openapi.yaml says beyond the types: request forms, answer forms, problems, examples."""

from typing import Any

from service.answers import DICOM, JSON, RELATED, ZIP
from service.problems import MEDIA_TYPE, PROBLEMS, Problem
from service.report import (
    FindingReport,
    ModelReport,
    ObjectReport,
    Report,
    RoiReport,
)
from service.schemas import JobDescription, ProblemBody, RequestOptions
from service.uploads import FORM

DESCRIPTION = """\
Recontouring for online adaptive radiotherapy. Research use; every structure set is UNAPPROVED and must be reviewed
by a physician.

Send planning CT, planning RTSTRUCT and daily CT; get RTSTRUCTs on the daily CT: RECOMMENDED (per organ the better of
the two paths), PROPAGATED (planning contours carried by the deformation, every ROI of the plan) and SEGMENTED (what the
network sees in the daily CT).

Refusals are application/problem+json (RFC 9457). Their `type` is /problems/<code> and stable; GET /problems lists all.
Texts never hold patient data.
"""
EXAMPLE_ID = "7b0f4a52-6f0c-4c1c-9d0e-0a8f6c2f9f10"
BINARY: dict[str, Any] = {"type": "string", "contentMediaType": DICOM}
CASE_PROBLEMS = tuple(
    code
    for code in PROBLEMS
    if code
    not in {
        "not-found", "method-not-allowed", "job-not-found", "job-not-finished", "job-cancelled", "plan-conflict",
        "plans-full", "model-not-found", "switched-off",
    }
)  # fmt: skip
NOT_OF_A_PLAN = frozenset({"plan-not-found", "not-acceptable", "registration-rejected", "options-invalid"})


def case_body() -> dict[str, Any]:
    """The request body of POST /recontour."""
    daily = {
        "daily_ct": _files("The CT of the day: one part per image, or one zip"),
        "options": {
            "type": "string",
            "contentMediaType": JSON,
            "contentSchema": RequestOptions.model_json_schema(),
            "description": "JSON; all keys optional",
        },
    }
    whole = {"type": "object", "properties": {**_planning_fields(), **daily}, "additionalProperties": False}
    whole["required"] = ["planning_ct", "planning_structures", "daily_ct"]
    staged = {
        "type": "object",
        "properties": {"plan_id": {"type": "string", "description": "Of PUT /plans/{id}"}, **daily},
        "required": ["plan_id", "daily_ct"],
        "additionalProperties": False,
    }
    form = {
        "schema": {"oneOf": [whole, staged]},
        "encoding": {"options": {"contentType": JSON}},
        "examples": {
            "whole": {
                "summary": "Planning objects and daily CT",
                "value": {
                    "planning_ct": ["(planning.zip)"],
                    "planning_structures": "(plan.dcm)",
                    "daily_ct": ["(daily.zip)"],
                    "options": RequestOptions(refine="auto").model_dump_json(),
                },
            },
            "staged": {
                "summary": "A staged plan and the daily CT",
                "value": {"plan_id": "couch-2-slot-7", "daily_ct": ["(daily-001.dcm)", "(daily-002.dcm)"]},
            },
        },
    }
    return {"required": True, "content": {FORM: form, **_sorted_by_reference()}}


def plan_body() -> dict[str, Any]:
    """The request body of PUT /plans/{id}."""
    schema = {
        "type": "object",
        "properties": _planning_fields(),
        "required": ["planning_ct", "planning_structures"],
        "additionalProperties": False,
    }
    return {"required": True, "content": {FORM: {"schema": schema}, **_sorted_by_reference()}}


def responses_of_a_case() -> dict[int | str, dict[str, Any]]:
    """Every answer of POST /recontour."""
    accepted = {
        "description": "Accepted, after 'Prefer: respond-async'",
        "model": JobDescription,
        "headers": {
            "Location": _header("Where the job is"),
            "Preference-Applied": _header("respond-async"),
            "Retry-After": _header("Seconds"),
        },
    }
    return {**answer_responses(), 202: accepted, **problems(*CASE_PROBLEMS)}


def problems_of_a_plan() -> dict[int | str, dict[str, Any]]:
    """Every refusal of PUT /plans/{id}."""
    codes = [code for code in CASE_PROBLEMS if code not in NOT_OF_A_PLAN]
    return problems(*codes, "plan-conflict", "plans-full", "switched-off")


def answer_responses() -> dict[int | str, dict[str, Any]]:
    """The answer in its four forms."""
    report = {"schema": {"$ref": "#/components/schemas/Report"}, "example": example_report().model_dump(mode="json")}
    content = {
        DICOM: {"schema": BINARY},
        RELATED: {"schema": {"type": "array", "items": BINARY}},
        ZIP: {"schema": {"type": "string", "contentMediaType": ZIP}},
        JSON: report,
    }
    headers = {
        "Server-Timing": _header("Milliseconds per stage, for example 'affine;dur=113.0, network;dur=210.4'"),
        "X-Recontour-Verdict": _header("The worst of all checks: pass, review or fail"),
        "X-Recontour-Model": _header("Name and version of the network, or 'none'"),
        "X-Request-ID": _header("That of the request, if it was a UUID, else a new one"),
        "X-Recontour-Version": _header("Of the software"),
    }
    description = (
        "application/dicom: the RECOMMENDED RTSTRUCT. multipart/related: every RTSTRUCT. "
        "application/zip: every RTSTRUCT and report.json. application/json: the report."
    )
    return {200: {"model": Report, "description": description, "content": content, "headers": headers}}


def problems(*codes: str) -> dict[int | str, dict[str, Any]]:
    """The refusals of a route, by status, each with an example."""
    responses: dict[int | str, dict[str, Any]] = {}
    for code in sorted(codes, key=lambda code: PROBLEMS[code].status):
        kind = PROBLEMS[code]
        response = responses.setdefault(
            kind.status,
            {
                "description": "",
                "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemBody"}, "examples": {}}},
            },
        )
        response["description"] = "; ".join(filter(None, (response["description"], kind.title)))
        response["content"][MEDIA_TYPE]["examples"][code] = {"$ref": f"#/components/examples/{code}"}
        if kind.status in (409, 429, 503):
            response["headers"] = {"Retry-After": _header("Seconds")}
    return responses


def components() -> dict[str, dict[str, Any]]:
    """What the hand-written parts refer to."""
    detail = "The numbers of the case stand here."
    examples = {
        code: {"summary": kind.title, "value": Problem(code, detail, {}, {}).body(EXAMPLE_ID)}
        for code, kind in PROBLEMS.items()
    }
    schema = ProblemBody.model_json_schema(ref_template="#/components/schemas/{model}")
    return {"schemas": {"ProblemBody": schema}, "examples": examples}


def example_report() -> Report:
    """A report as it looks; the numbers are made up."""
    volume = FindingReport(
        check="volume-ratio",
        verdict="pass",
        message="The volume is 1.21 times that of the plan.",
        value=1.21,
        limit=2.0,
    )
    roi = RoiReport(
        number=3,
        name="Bladder",
        verdict="pass",
        recommended_path="segmented",
        carried_by="network",
        planned_cc=182.4,
        propagated_cc=214.9,
        segmented_cc=220.7,
        shift_mm=4.1,
        findings=(volume,),
    )
    written = ObjectReport(kind="RECOMMENDED", file="RECOMMENDED.dcm", bytes=184322, sha256="0" * 64, rois=1)
    return Report(
        software_version="0.1.0",
        model=ModelReport(name="prostate-ct", version="0.1.0", provider="CUDAExecutionProvider"),
        options=RequestOptions(),
        verdict="pass",
        rois=(roi,),
        findings=(),
        objects=(written,),
        affine=((1.0, 0.0, 0.0, 4.2), (0.0, 1.0, 0.0, -1.5), (0.0, 0.0, 1.0, 6.0), (0.0, 0.0, 0.0, 1.0)),
        stages_s={"receive": 0.08, "parse": 0.11, "affine": 0.05, "network": 0.2, "write": 0.03},
    )


def _planning_fields() -> dict[str, Any]:
    return {
        "planning_ct": _files("The planning CT: one part per image, or one zip"),
        "planning_structures": {**BINARY, "description": "The planning RTSTRUCT, or a zip that holds just it"},
    }


def _files(description: str) -> dict[str, Any]:
    return {"type": "array", "minItems": 1, "items": BINARY, "description": description}


def _sorted_by_reference() -> dict[str, Any]:
    note = "The series that the RTSTRUCT references is the planning CT, the other CT series the daily one."
    related = {
        "schema": {"type": "array", "items": BINARY, "description": f"{note} A part of type {JSON} holds the options."}
    }
    packed = {
        "schema": {
            "type": "string",
            "contentMediaType": ZIP,
            "description": f"{note} A file options.json holds the options.",
        }
    }
    return {RELATED: related, ZIP: packed}


def _header(description: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string"}}
