"""Probes and metrics. They need no key and tell nothing about any patient."""

from importlib.metadata import version

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST

from service.schemas import LatencyReport, Liveness, Readiness
from service.state import state_of

router = APIRouter(tags=["operation"])


@router.get(
    "/health/live",
    summary="The process can serve, now or later",
    response_model=Liveness,
    responses={503: {"model": Liveness, "description": "Start the process anew: its device is lost or hangs"}},
)
@router.get("/v2/health/live", summary="Alias of /health/live", include_in_schema=False)
async def live(request: Request) -> Response:
    """200 as long as the event loop runs, unless the service was ready once and has lost its device since."""
    liveness = Liveness(live=state_of(request).alive, version=version("recontour"))
    return JSONResponse(liveness.model_dump(mode="json"), status_code=200 if liveness.live else 503)


@router.get(
    "/health/ready",
    summary="Cases are accepted",
    response_model=Readiness,
    responses={503: {"model": Readiness, "description": "Not ready; the checks say why"}},
)
@router.get("/v2/health/ready", summary="Alias of /health/ready", include_in_schema=False)
async def ready(request: Request) -> Response:
    """200 after the model's hash, its provider, the warm-up and the golden case have passed, until the shutdown."""
    readiness = state_of(request).readiness()
    return JSONResponse(readiness.model_dump(mode="json"), status_code=200 if readiness.ready else 503)


@router.get("/health/latency", summary="Latency of the last requests against the target")
async def latency(request: Request) -> LatencyReport:
    """Median and 95th percentile per stage."""
    return state_of(request).latency.report()


@router.get(
    "/metrics",
    summary="Prometheus metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(request: Request) -> Response:
    """Counters and histograms without any identifier."""
    return Response(state_of(request).telemetry.exposition(), headers={"Content-Type": CONTENT_TYPE_LATEST})
