"""run(settings): uvicorn with the timeouts and the ending that a clinic needs."""

import asyncio
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.app import create_app
from service.core import Core
from service.memory import keep_freed_memory
from service.settings import Settings
from service.state import ServiceState
from service.telemetry import configure_logging

MAX_HEADER_BYTES = 64 * 1024


def run(settings: Settings, *, core: Core | None = None, on_started: Callable[[int], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then drain, finish what is in flight, and return.

    Args:
        settings: All of them.
        core: What does the work; the clinical one unless a test brings its own.
        on_started: Called with the port once it listens; of use where the settings say port 0.
    """
    configure_logging()
    if settings.keep_memory:
        keep_freed_memory()
    app = create_app(settings, core=core)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=protocol_class(settings.body_stall_s),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=settings.shutdown_s,
    )
    DrainingServer(config, app, drain_s=settings.drain_s, on_started=on_started).run()


class DrainingServer(uvicorn.Server):
    """On the first signal turns unready and serves on for a while, so that a load balancer notices; then ends.

    The process ends with status 0: a shutdown that was asked for is no failure.
    """

    def __init__(
        self, config: uvicorn.Config, app: FastAPI, *, drain_s: float, on_started: Callable[[int], None] | None = None
    ) -> None:
        super().__init__(config)
        self._app = app
        self._drain_s = drain_s
        self._on_started = on_started
        self._signals = 0
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then tell who wants to know."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        if self.started and self._on_started is not None:
            self._on_started(self.servers[0].sockets[0].getsockname()[1])

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002  uvicorn's names
        """The first signal drains, the second ends at once, the third does not wait for requests either."""
        self._signals += 1
        if self._signals == 1 and self._loop is not None:
            self._loop.call_soon_threadsafe(self._drain)
        else:
            self.force_exit = self._signals > 2
            self.should_exit = True

    def _drain(self) -> None:
        state: ServiceState = self._app.state.service
        state.drain()
        asyncio.get_running_loop().call_later(self._drain_s, self._end)

    def _end(self) -> None:
        self.should_exit = True


def protocol_class(header_s: float) -> type[HttpToolsProtocol]:
    """uvicorn's HTTP protocol, closing a connection whose request line and headers take too long or grow too large."""

    class HeaderTimeoutProtocol(HttpToolsProtocol):
        _header_timer: asyncio.TimerHandle | None = None
        _header_bytes = 0

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._arm()

        def connection_lost(self, exc: Exception | None) -> None:
            self._disarm()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self._header_timer is not None:
                self._header_bytes += len(data)
            super().data_received(data)
            if self._header_timer is not None and self._header_bytes > MAX_HEADER_BYTES:
                self.transport.close()

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._arm()

        def on_headers_complete(self) -> None:
            self._disarm()
            super().on_headers_complete()

        def _arm(self) -> None:
            self._disarm()
            self._header_bytes = 0
            self._header_timer = self.loop.call_later(header_s, self.transport.close)

        def _disarm(self) -> None:
            if self._header_timer is not None:
                self._header_timer.cancel()
                self._header_timer = None

    return HeaderTimeoutProtocol
