"""The real application on a free port of loopback, in a thread of the tests: HTTP all the way, no second process."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from recontour.client import Client
from service.app import create_app
from service.pipeline import ClinicalCore
from service.settings import NO_MODEL, Settings, UploadLimits

PATIENCE_S = 120.0


@contextmanager
def service_in_process(*, min_slices: int | None = None) -> Iterator[str]:
    """The address of a ready service that uses no network; `min_slices` lets small series in."""
    limits = UploadLimits() if min_slices is None else UploadLimits(min_slices=min_slices)
    settings = Settings(model=NO_MODEL, limits=limits, drain_s=0.0)
    app = create_app(settings, core=ClinicalCore(settings))
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=0, ws="none", lifespan="on", log_config=None, access_log=False)
    )
    started = threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(_serve(server, started)), daemon=True)
    thread.start()
    try:
        assert started.wait(PATIENCE_S)
        url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        with Client(url) as client:
            client.wait_until_ready(patience_s=PATIENCE_S, alive=thread.is_alive)
        yield url
    finally:
        server.should_exit = True
        thread.join(PATIENCE_S)


async def _serve(server: uvicorn.Server, started: threading.Event) -> None:
    serving = asyncio.create_task(server.serve())
    while not (server.started or serving.done()):
        await asyncio.sleep(0.01)
    started.set()
    await serving
