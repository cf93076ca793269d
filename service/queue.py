"""One piece of work at a time per device, and a bounded number of requests in the house.

A request takes its place before its body is read, so that a full house answers at once and memory stays bounded. The
place is given back when its work has really ended: a thread cannot be stopped, so after a deadline it still holds it.
"""

import asyncio
import math
import queue
import threading
import traceback
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from service.problems import Refusal

T = TypeVar("T")


class DeviceWorker:
    """One thread that owns a device. It is a daemon, so that a hung run cannot keep the process from ending."""

    def __init__(self, name: str) -> None:
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name=f"device-{name}", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[], T]) -> "Future[T]":
        """Run `work` after everything submitted before it."""
        future: Future[T] = Future()

        def task() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001  the job boundary: the error travels to its request
                # Its frames hold the scans, and the error outlives them in a ring with this future.
                traceback.clear_frames(error.__traceback__)
                future.set_exception(error)
            else:
                future.set_result(result)

        self._tasks.put(task)
        return future

    def close(self) -> None:
        """End the thread after what was submitted."""
        self._tasks.put(None)

    def _serve(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()
            # Without this the last request's objects would live until the next one comes.
            del task


class Place:
    """A request's place in the house, with the bytes that it holds in memory."""

    def __init__(self, house: "House") -> None:
        self._house = house
        self._held_bytes = 0
        self._users = 1

    def hold(self, more_bytes: int) -> None:
        """Account for bytes received; Refusal 'queue-full' if the house has no memory left for them."""
        self._house.take_memory(more_bytes)
        self._held_bytes += more_bytes

    def share(self) -> None:
        """One more user must release before the place is free."""
        self._users += 1

    def release(self) -> None:
        """One user is done."""
        self._users -= 1
        if self._users == 0:
            self._house.give_back(self, self._held_bytes)


class House:
    """Admission and the queue of one device. Every method but the work itself runs on the event loop."""

    def __init__(
        self,
        *,
        queue_length: int,
        memory_bytes: int,
        retry_after_s: Callable[[int], int],
        on_depth: Callable[[int], None] = lambda _: None,
        hung_after_s: float = math.inf,
        on_hung: Callable[[], None] = lambda: None,
        on_hung_end: Callable[[], None] = lambda: None,
    ) -> None:
        """An empty house.

        Args:
            queue_length: Requests that may wait behind the one at work.
            memory_bytes: For the bodies of all of them together.
            retry_after_s: Seconds to come again in, from the number of those inside.
            on_depth: Called with that number whenever it changes.
            hung_after_s: Work that runs longer than this is taken to hang.
            on_hung: Called when it does.
            on_hung_end: Called if such work ends after all.
        """
        self._capacity = queue_length + 1
        self._free_bytes = memory_bytes
        self._places: set[Place] = set()
        self._retry_after_s = retry_after_s
        self._on_depth = on_depth
        self._hung_after_s = hung_after_s
        self._on_hung = on_hung
        self._on_hung_end = on_hung_end
        self._worker = DeviceWorker("0")

    @property
    def depth(self) -> int:
        """Requests in the house, the one at work included."""
        return len(self._places)

    def admit(self, declared_bytes: int = 0) -> Place:
        """Take a place.

        Raises:
            Refusal: 'queue-full' with Retry-After if there is none, or no memory for the declared body.
        """
        if len(self._places) >= self._capacity:
            raise self._full("every place is taken")
        if declared_bytes > self._free_bytes:
            raise self._full("other requests hold the memory")
        place = Place(self)
        self._places.add(place)
        self._on_depth(self.depth)
        return place

    def take_memory(self, more_bytes: int) -> None:
        """Called by a place."""
        if more_bytes > self._free_bytes:
            raise self._full("other requests hold the memory")
        self._free_bytes -= more_bytes

    def give_back(self, place: Place, held_bytes: int) -> None:
        """Called by a place."""
        self._places.discard(place)
        self._free_bytes += held_bytes
        self._on_depth(self.depth)

    def start(self, place: Place, work: Callable[[], T]) -> "asyncio.Future[T]":
        """Queue `work`. The place stays taken until the work has ended or was cancelled before it began."""
        place.share()
        loop = asyncio.get_running_loop()
        watch = _Watch(loop, self._hung_after_s, self._on_hung)

        def watched() -> T:
            _quietly(loop, watch.begin)
            return work()

        def end() -> None:
            place.release()
            if watch.end():
                self._on_hung_end()

        future = self._worker.submit(watched)
        future.add_done_callback(lambda _: _quietly(loop, end))
        return asyncio.wrap_future(future)

    async def run_unplaced(self, work: Callable[[], T]) -> T:
        """Run `work` in turn, outside of admission: bringing the model up."""
        return await asyncio.wrap_future(self._worker.submit(work))

    def close(self) -> None:
        """End the worker after what is queued."""
        self._worker.close()

    def _full(self, why: str) -> Refusal:
        seconds = self._retry_after_s(self.depth)
        return Refusal(
            "queue-full",
            f"{self.depth} of {self._capacity} requests are in the house and {why}; try again in {seconds} s.",
            headers={"Retry-After": str(seconds)},
        )


class _Watch:
    """Notices work that hangs; it does not depend on anybody who still waits for the answer."""

    def __init__(self, loop: asyncio.AbstractEventLoop, after_s: float, on_hung: Callable[[], None]) -> None:
        self._loop = loop
        self._after_s = after_s
        self._on_hung = on_hung
        self._timer: asyncio.TimerHandle | None = None
        self._hung = False

    def begin(self) -> None:
        if math.isfinite(self._after_s):
            self._timer = self._loop.call_later(self._after_s, self._notice)

    def end(self) -> bool:
        """Whether the work that has ended was taken to hang."""
        if self._timer is not None:
            self._timer.cancel()
        return self._hung

    def _notice(self) -> None:
        self._hung = True
        self._on_hung()


async def within_deadline(
    work: "asyncio.Future[T]", *, deadline_s: float, client_gone: Awaitable[None] | None = None
) -> T:
    """Wait for work.

    Raises:
        Refusal: 'deadline-exceeded', after which the result is thrown away.
        ClientGone: If the client hung up first; work that has not begun is then never done.
    """
    watch = asyncio.ensure_future(client_gone) if client_gone is not None else None
    try:
        waited: set[asyncio.Future[Any]] = {work} if watch is None else {work, watch}
        await asyncio.wait(waited, timeout=deadline_s, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return work.result()
        if watch is not None and watch.done():
            raise ClientGone
        raise Refusal("deadline-exceeded", f"no answer within {deadline_s:g} s.")
    finally:
        work.cancel()
        if watch is not None:
            watch.cancel()


class ClientGone(Exception):
    """The client closed the connection before its answer was ready."""


def _quietly(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    try:
        loop.call_soon_threadsafe(callback)
    except RuntimeError:
        # The loop is closed: the process is ending and nobody counts places any more.
        return
