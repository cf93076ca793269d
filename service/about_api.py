"""What the service is: its models, its limits, its problems."""

from fastapi import APIRouter, Depends, Request

from service import contract
from service.answers import ANSWER_MEDIA_TYPES
from service.auth import require_key
from service.problems import PROBLEMS, Refusal
from service.schemas import Limits, ModelDescription, ModelSummary, ProblemDescription
from service.state import state_of
from service.uploads import REQUEST_MEDIA_TYPES

router = APIRouter(tags=["about"])


@router.get("/models", summary="The models that are loaded", dependencies=[Depends(require_key)])
async def get_models(request: Request) -> tuple[ModelSummary, ...]:
    """Empty until the service is ready, or where it runs without a network."""
    served = state_of(request).served
    if served is None:
        return ()
    manifest = served.manifest
    organs = tuple(organ.name for organ in manifest.organs)
    return (ModelSummary(name=manifest.name, version=manifest.version, provider=served.provider, organs=organs),)


@router.get(
    "/models/{name}",
    summary="Manifest and card of a model",
    dependencies=[Depends(require_key)],
    responses=contract.problems("unauthorized", "model-not-found"),
)
async def get_model(request: Request, name: str) -> ModelDescription:
    """What it was trained on and for, and how it was evaluated."""
    served = state_of(request).served
    if served is None or served.manifest.name != name:
        raise Refusal("model-not-found", "no model of this name is loaded; GET /models lists them.")
    return ModelDescription(manifest=served.manifest, provider=served.provider, card=served.card)


@router.get("/limits", summary="What one request may bring")
async def get_limits(request: Request) -> Limits:
    """Beyond these a request is refused, in most cases before its body was read."""
    settings = state_of(request).settings
    return Limits(
        upload=settings.limits,
        queue_length=settings.queue_length,
        deadline_s=settings.deadline_s,
        body_stall_s=settings.body_stall_s,
        plans_max=settings.plans_max,
        plan_ttl_s=settings.plan_ttl_s,
        jobs_max=settings.jobs_max,
        job_ttl_s=settings.job_ttl_s,
        request_media_types=REQUEST_MEDIA_TYPES,
        answer_media_types=ANSWER_MEDIA_TYPES,
    )


@router.get("/problems", summary="Every problem that an answer may state")
async def get_problems() -> tuple[ProblemDescription, ...]:
    """Their `type` URIs are stable."""
    return tuple(_describe(code) for code in PROBLEMS)


@router.get("/problems/{code}", summary="One problem", responses=contract.problems("not-found"))
async def get_problem(code: str) -> ProblemDescription:
    """What the `type` of a problem means and what to do next."""
    if code not in PROBLEMS:
        raise Refusal("not-found", "there is no problem of this code; GET /problems lists them.")
    return _describe(code)


def _describe(code: str) -> ProblemDescription:
    kind = PROBLEMS[code]
    return ProblemDescription(
        type=f"/problems/{code}", code=code, status=kind.status, title=kind.title, advice=kind.advice
    )
