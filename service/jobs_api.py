"""Jobs: what became of a case that was sent with `Prefer: respond-async`."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request
from fastapi.responses import Response

from service import contract
from service.answers import choose_form
from service.auth import require_key
from service.recontour_api import answer_response
from service.schemas import JobDescription
from service.state import state_of

router = APIRouter(prefix="/jobs", tags=["jobs"], dependencies=[Depends(require_key)])


@router.get("/{id}", summary="The state of a job", responses=contract.problems("unauthorized", "job-not-found"))
async def get_job(request: Request, id: str) -> JobDescription:  # noqa: A002  the contract's name
    """Ask until the state is succeeded, failed or cancelled."""
    jobs = state_of(request).jobs
    return jobs.get(id).description(jobs.ttl_s)


@router.get(
    "/{id}/result",
    summary="The answer of a job",
    responses={
        **contract.answer_responses(),
        **contract.problems("unauthorized", "job-not-found", "job-not-finished", "not-acceptable"),
    },
    response_class=Response,
)
async def get_job_result(
    request: Request,
    id: str,  # noqa: A002  the contract's name
    accept: Annotated[str, Header(description="Which form the answer takes")] = "*/*",
) -> Response:
    """The same answer as without `Prefer`; the problem of the case if the job failed."""
    form = choose_form(accept)
    return answer_response(state_of(request).jobs.result(id), form, request)


@router.delete(
    "/{id}",
    status_code=204,
    summary="Cancel a job, or forget one that has ended",
    responses=contract.problems("unauthorized", "job-not-found"),
)
async def delete_job(request: Request, id: str) -> None:  # noqa: A002  the contract's name
    """Work that has begun runs to its end, and its result is thrown away; a result that is there goes at once."""
    state_of(request).jobs.cancel(id)
