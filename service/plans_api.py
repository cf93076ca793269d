"""Plans: planning CT and RTSTRUCT sent ahead, so that only the daily CT travels while the patient waits."""

from functools import partial

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response

from service import contract
from service.auth import require_key
from service.schemas import PlanDescription
from service.state import state_of
from service.uploads import require_plan_roles
from service.visits import Visit, server_timing, until_client_gone

router = APIRouter(prefix="/plans", tags=["plans"], dependencies=[Depends(require_key)])


@router.put(
    "/{id}",
    summary="Stage a plan",
    openapi_extra={"requestBody": contract.plan_body()},
    responses={201: {"model": PlanDescription, "description": "Staged"}, **contract.problems_of_a_plan()},
    response_model=PlanDescription,
)
async def put_plan(request: Request, id: str) -> Response:  # noqa: A002  the contract's name
    """Kept in memory only, for a limited time. Choose an id that says nothing about the patient."""
    state = state_of(request)
    state.plans.check_open(id)
    state.require_ready()
    async with Visit(state, request) as visit:
        upload = await visit.receive(request)
        require_plan_roles(upload)
        act = partial(state.core.read_plan, upload, visit.stopwatch)
        del upload
        plan = await visit.work(act, client_gone=until_client_gone(request))
    staged, new = state.plans.put(
        id,
        plan,
        etag=plan.digest,
        slices=plan.ct.volume.geometry.shape[0],
        rois=len(plan.structures.structures.rois),
    )
    return _described(
        staged.description, 201 if new else 200, {"Server-Timing": server_timing(visit.stopwatch.seconds)}
    )


@router.get(
    "/{id}",
    summary="What is staged under an id",
    responses=contract.problems("unauthorized", "plan-not-found"),
    response_model=PlanDescription,
)
async def get_plan(request: Request, id: str) -> Response:  # noqa: A002  the contract's name
    """Sizes, times and a hash; nothing of the patient."""
    return _described(state_of(request).plans.get(id).description, 200, {})


@router.delete(
    "/{id}", status_code=204, summary="Forget a plan", responses=contract.problems("unauthorized", "plan-not-found")
)
async def delete_plan(request: Request, id: str) -> None:  # noqa: A002  the contract's name
    """Its memory is free again."""
    state_of(request).plans.delete(id)


def _described(description: PlanDescription, status: int, headers: dict[str, str]) -> Response:
    etag = {"ETag": f'"{description.etag}"'}
    return JSONResponse(description.model_dump(mode="json"), status_code=status, headers={**headers, **etag})
