"""POST /recontour: a case comes in, structure sets go out."""

import asyncio
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request
from fastapi.responses import JSONResponse, Response

from imaging.timing import Stopwatch
from service import contract
from service.answers import choose_form, render
from service.auth import require_key
from service.core import Answer, ReadPlan
from service.jobs import Job
from service.problems import problem_of
from service.schemas import read_options
from service.state import ServiceState, state_of
from service.uploads import Upload, require_roles
from service.visits import Visit, server_timing, until_client_gone

router = APIRouter(tags=["recontouring"], dependencies=[Depends(require_key)])


@router.post(
    "/recontour",
    summary="Carry the contours of a plan over to the CT of the day",
    openapi_extra={"requestBody": contract.case_body()},
    responses=contract.responses_of_a_case(),
    response_class=Response,
)
async def post_recontour(
    request: Request,
    accept: Annotated[str, Header(description="Which form the answer takes")] = "*/*",
    prefer: Annotated[str, Header(description="'respond-async' answers 202 with a job")] = "",
) -> Response:
    """Send planning CT, planning RTSTRUCT and daily CT, or `plan_id` and the daily CT.

    The answer is for review: unapproved contours that a physician must check.
    """
    state = state_of(request)
    form = choose_form(accept)
    wants_job = "respond-async" in [preference.strip().lower() for preference in prefer.split(",")]
    state.require_ready()
    if wants_job:
        state.jobs.check_open()
    async with Visit(state, request) as visit:
        upload = await visit.receive(request)
        plan = state.plans.get(upload.plan_id).plan if upload.plan_id else None
        read_options(upload.options)
        require_roles(upload, plan_staged=plan is not None)
        if wants_job:
            job = state.jobs.open()
            job.task = asyncio.create_task(_run_job(job, visit.hand_over(), upload, plan))
            return _accepted(job, state)
        act = partial(state.core.recontour, upload, plan, visit.stopwatch)
        del upload
        answer = await visit.work(act, client_gone=until_client_gone(request))
    _remember(state, answer, visit.stopwatch)
    return answer_response(answer, form, request, visit.stopwatch)


def answer_response(answer: Answer, form: str, request: Request, stopwatch: Stopwatch | None = None) -> Response:
    """The answer in its form, with the verdict where a client that reads no report can see it."""
    payload = render(answer, form)
    model = answer.report.model
    headers = {**payload.headers, "X-Recontour-Verdict": answer.report.verdict}
    headers["X-Recontour-Model"] = "none" if model is None else f"{model.name} {model.version}"
    headers["Vary"] = "Accept"
    if stopwatch is not None:
        headers["Server-Timing"] = server_timing(stopwatch.seconds)
    request.state.record["bytes_out"] = len(payload.body)
    # Through the header and not `media_type`, to which Starlette would add a charset.
    return Response(payload.body, headers={**headers, "Content-Type": payload.media_type})


async def _run_job(job: Job, visit: Visit, upload: Upload, plan: ReadPlan | None) -> None:
    state = visit.state
    record: dict[str, object] = {}
    visit.detach(record)

    def begin() -> None:
        if job.state == "queued":
            job.state = "running"

    try:
        async with visit:
            act = partial(state.core.recontour, upload, plan, visit.stopwatch)
            del upload
            answer = await visit.work(act, on_begin=begin)
        state.jobs.finish(job, answer=answer)
        _remember(state, answer, visit.stopwatch)
    except Exception as error:  # noqa: BLE001  the job boundary: the problem is told when the result is asked for
        problem = problem_of(error)
        record["code"] = problem.code
        state.telemetry.refused(problem.code)
        if problem.code == "internal-error":
            state.telemetry.fault(error, request_id=job.id)
        state.jobs.finish(job, problem=problem)
    finally:
        state.telemetry.log("job", request_id=job.id, outcome=job.state, **record)


def _remember(state: ServiceState, answer: Answer, stopwatch: Stopwatch) -> None:
    state.latency.record(stopwatch.seconds)
    state.telemetry.found(answer.findings)


def _accepted(job: Job, state: ServiceState) -> Response:
    return JSONResponse(
        job.description(state.jobs.ttl_s).model_dump(mode="json"),
        status_code=202,
        headers={"Location": f"/jobs/{job.id}", "Preference-Applied": "respond-async", "Retry-After": "1"},
    )
