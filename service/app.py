"""create_app(settings): the routes, the layers around them, and the lifespan that loads the model."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from service import about_api, contract, health_api, jobs_api, plans_api, recontour_api
from service.core import Core
from service.guards import BodyGuard, Envelope, Lingering
from service.problems import MEDIA_TYPE, Refusal, problem_of
from service.settings import Settings
from service.state import ServiceState
from service.telemetry import Telemetry

STATUS_CODES = {404: "not-found", 405: "method-not-allowed"}


def create_app(settings: Settings, *, core: Core | None = None) -> FastAPI:
    """The application.

    Args:
        settings: All of its settings.
        core: What does the work; the clinical one unless a test brings its own.
    """
    telemetry = Telemetry()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        state: ServiceState = app.state.service
        state.open()
        yield
        state.close()

    app = FastAPI(
        title="recontour",
        summary="Planning CT, its RTSTRUCT and the CT of the day in; RTSTRUCTs on the CT of the day out",
        description=contract.DESCRIPTION,
        version=version("recontour"),
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        lifespan=lifespan,
        # The interactive pages fetch scripts from the internet; a clinical network must not depend on that.
        docs_url=None,
        redoc_url=None,
        separate_input_output_schemas=False,
        # A redirect would have a hundred megabytes sent twice.
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.service = ServiceState(settings, core or _clinical_core(settings), telemetry)
    for api in (recontour_api, plans_api, jobs_api, about_api, health_api):
        app.include_router(api.router)
    _extend_openapi(app)
    app.add_exception_handler(HTTPException, _http_problem)
    app.add_exception_handler(RequestValidationError, _validation_problem)
    app.add_middleware(
        BodyGuard,
        body_bytes=settings.limits.body_bytes,
        stall_s=settings.body_stall_s,
        rate_min=settings.body_rate_min,
    )
    app.add_middleware(Envelope, telemetry=telemetry, version=version("recontour"))
    app.add_middleware(Lingering)
    return app


def _clinical_core(settings: Settings) -> Core:
    # Here and not above: the readers and numba take seconds to import, and a test with its own core needs neither.
    from service.pipeline import ClinicalCore  # noqa: PLC0415

    return ClinicalCore(settings, warm=True)


def _extend_openapi(app: FastAPI) -> None:
    generate = app.openapi

    def extended() -> dict[str, Any]:
        document = generate()
        for kind, components in contract.components().items():
            document["components"].setdefault(kind, {}).update(components)
        return document

    app.openapi = extended  # type: ignore[method-assign]


async def _http_problem(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    code = STATUS_CODES.get(status, "bad-request")
    detail = "the route does not know this method." if status == 405 else "nothing is served under this path."
    return _problem_response(request, Refusal(code, detail, headers=headers))


async def _validation_problem(request: Request, _: Exception) -> Response:
    return _problem_response(request, Refusal("bad-request", "a parameter or header has no valid value."))


def _problem_response(request: Request, refusal: Refusal) -> Response:
    problem = problem_of(refusal)
    request.state.record["code"] = problem.code
    body = problem.body(request.state.request_id)
    return JSONResponse(body, status_code=problem.status, headers=dict(problem.headers), media_type=MEDIA_TYPE)
