"""One case on its way through the house: its place, its stage times, its outcome."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Self, TypeVar

from fastapi import Request
from starlette.requests import ClientDisconnect

from imaging.timing import Stopwatch
from service.latency import TOTAL
from service.problems import problem_of
from service.queue import ClientGone, within_deadline
from service.state import ServiceState
from service.uploads import Upload, receive_upload

T = TypeVar("T")

QUEUE = "queue"
RECEIVE = "receive"


class Visit:
    """An async context: inside it a place is taken; leaving it gives the place back and counts the outcome.

    Raises:
        Refusal: 'queue-full' on creation, before a byte of the body was read.
    """

    def __init__(self, state: ServiceState, request: Request) -> None:
        self.state = state
        self.stopwatch = Stopwatch()
        self._begun = time.perf_counter()
        self._record: dict[str, object] = request.state.record
        declared = request.headers.get("content-length", "0")
        self._place = state.house.admit(int(declared) if declared.isdigit() else 0)
        self._handed_over = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handed_over:
            self._handed_over = False
            return
        self._place.release()
        self.stopwatch.record(TOTAL, time.perf_counter() - self._begun)
        stages = self.stopwatch.seconds
        self.state.telemetry.timed(stages, "answered" if error is None else outcome_of(error))
        self._record["stages_ms"] = {name: round(1000 * seconds, 1) for name, seconds in stages.items()}
        self._record["queue_depth"] = self.state.house.depth

    def hand_over(self) -> Self:
        """The visit goes on behind the present context; whoever takes it over enters it again."""
        self._handed_over = True
        return self

    def detach(self, record: dict[str, object]) -> None:
        """Write what is to be logged into another record: the request's own has been logged."""
        self._record = record

    async def receive(self, request: Request) -> Upload:
        """The body, read as it arrives."""
        with self.stopwatch.stage(RECEIVE):
            upload = await receive_upload(
                _chunks(request),
                request.headers.get("content-type", ""),
                limits=self.state.settings.limits,
                hold=self._place.hold,
            )
        self._record.update(bytes_in=upload.received_bytes, objects=upload.count)
        return upload

    async def work(
        self,
        act: Callable[[], T],
        *,
        client_gone: Awaitable[None] | None = None,
        on_begin: Callable[[], None] = lambda: None,
    ) -> T:
        """Do `act` on the device when its turn has come.

        Args:
            act: Slow; runs on the worker's thread.
            client_gone: Ends when nobody waits for the answer any more.
            on_begin: Called on the event loop when `act` begins.

        Raises:
            Refusal: 'deadline-exceeded'.
            ClientGone: If the client hung up.
        """
        loop = asyncio.get_running_loop()
        queued = time.perf_counter()

        def timed_act() -> T:
            self.stopwatch.record(QUEUE, time.perf_counter() - queued)
            loop.call_soon_threadsafe(on_begin)
            return act()

        future = self.state.house.start(self._place, timed_act)
        try:
            return await within_deadline(future, deadline_s=self.state.settings.deadline_s, client_gone=client_gone)
        except Exception as error:
            if self.state.lost_device(error):
                self.state.restart()
            raise


def outcome_of(error: BaseException) -> str:
    """'refused' where the sender can do something about it, 'cancelled' where nobody waits any more, else 'failed'."""
    if isinstance(error, ClientGone | ClientDisconnect | asyncio.CancelledError):
        return "cancelled"
    return "refused" if problem_of(error).status < 500 else "failed"


async def until_client_gone(request: Request) -> None:
    """Ends when the client has closed the connection. Only after the body was read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def server_timing(stages_s: dict[str, float]) -> str:
    """The Server-Timing header, milliseconds. W3C Server Timing."""
    return ", ".join(f"{name};dur={1000 * seconds:.1f}" for name, seconds in stages_s.items())


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    async for chunk in request.stream():
        if chunk:
            yield chunk
