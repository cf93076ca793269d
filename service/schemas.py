"""What travels as JSON besides the report and the problems."""

import json
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imaging.errors import OptionsInvalid
from imaging.manifest import ModelManifest
from service.settings import UploadLimits

JobState = Literal["queued", "running", "succeeded", "failed", "cancelled"]


class Schema(BaseModel):
    """Frozen; a key that is not known is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RequestOptions(Schema):
    """The form field `options`, all keys optional."""

    refine: Annotated[
        Literal["auto", "off"],
        Field(description="'auto' pulls the images together after affine and network where that helps"),
    ] = "auto"
    rois: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=64)], ...] | None,
        Field(min_length=1, max_length=1000, description="ROI names of the plan, spelt as there; null for every ROI"),
    ] = None
    holes: Annotated[
        Literal["keyhole", "xor"],
        Field(description="How holes are written: a keyhole in a CLOSED_PLANAR contour, or CLOSEDPLANAR_XOR"),
    ] = "keyhole"


def read_options(text: bytes | None) -> RequestOptions:
    """The options of a request; the defaults if there are none.

    Raises:
        OptionsInvalid: If they are not the JSON of `RequestOptions`. The message never quotes what was sent.
    """
    if text is None:
        return RequestOptions()
    # What is no JSON at all is told by the validation below.
    with suppress(ValueError, RecursionError):
        json.loads(text, object_pairs_hook=_each_once)
    try:
        return RequestOptions.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = str(first["loc"][0]) if first["loc"] and first["loc"][0] in RequestOptions.model_fields else "options"
        reason = first["msg"] if first["type"] != "extra_forbidden" else "unknown key"
        known = ", ".join(RequestOptions.model_fields)
        raise OptionsInvalid(f"{where}: {reason}; the keys are {known}", errors=error.error_count()) from None


def _each_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(dict(pairs)) < len(pairs):
        raise OptionsInvalid("options: a key came twice, so which one is meant is not known; send each once")
    return dict(pairs)


class Check(Schema):
    """One condition of readiness."""

    passed: Annotated[bool | None, Field(description="null while it has not been tried")]
    detail: str = ""


class Readiness(Schema):
    """GET /health/ready: 200 where `ready`, else 503."""

    ready: bool
    phase: Literal["starting", "ready", "failed", "draining"]
    checks: Annotated[dict[str, Check], Field(description="model_hash, provider, warm_up, golden_case")]
    model: str = ""
    provider: str = ""


class Liveness(Schema):
    """GET /health/live: 200 where `live`, else 503."""

    live: Annotated[bool, Field(description="false where only a new process can serve again")]
    version: str


class StageLatency(Schema):
    """One stage over the remembered requests."""

    requests: int
    p50_s: float
    p95_s: float


class LatencyReport(Schema):
    """GET /health/latency."""

    target_s: float
    within_target: Annotated[bool | None, Field(description="p95 of the whole request; null without requests")]
    requests: Annotated[int, Field(description="Answered requests that are remembered, 256 at most")]
    stages: dict[str, StageLatency]


class Limits(Schema):
    """GET /limits: what one request may bring and how many may wait."""

    upload: UploadLimits
    queue_length: int
    deadline_s: float
    body_stall_s: float
    plans_max: int
    plan_ttl_s: float
    jobs_max: int
    job_ttl_s: float
    request_media_types: tuple[str, ...]
    answer_media_types: tuple[str, ...]


class PlanDescription(Schema):
    """A staged plan; nothing in it comes from the patient's header."""

    etag: Annotated[str, Field(description="SHA-256 over planning CT and RTSTRUCT")]
    staged_at: datetime
    expires_at: datetime
    planning_slices: int
    rois: int


class JobDescription(Schema):
    """A job of `Prefer: respond-async`."""

    id: str
    state: JobState
    created_at: datetime
    finished_at: datetime | None = None
    expires_at: Annotated[datetime | None, Field(description="When a finished job is forgotten")] = None
    result: Annotated[str | None, Field(description="Where the answer is, once succeeded")] = None
    problem: Annotated[dict[str, object] | None, Field(description="The problem, once failed")] = None


class ModelSummary(Schema):
    """One line of GET /models."""

    name: str
    version: str
    provider: Annotated[str, Field(description="What really executes the network")]
    organs: tuple[str, ...]


class ModelDescription(Schema):
    """GET /models/{name}."""

    manifest: ModelManifest
    provider: str
    card: Annotated[str, Field(description="MODEL_CARD.md")]


class ProblemDescription(Schema):
    """GET /problems/{code}."""

    type: str
    code: str
    status: int
    title: str
    advice: str


class ProblemBody(BaseModel):
    """RFC 9457. Texts hold numbers and the next step, never patient data."""

    model_config = ConfigDict(frozen=True, extra="allow")

    type: Annotated[str, Field(description="Stable: /problems/<code>")]
    title: str
    status: int
    detail: str
    instance: Annotated[str, Field(description="urn:uuid:<X-Request-ID>")]
    code: str
    advice: Annotated[str, Field(description="The next step")]
    facts: Annotated[dict[str, object] | None, Field(description="Numbers for programs")] = None
