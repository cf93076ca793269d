"""Stage times of one request, under the same names in Server-Timing, metrics, report and benchmark.

Stages that run beside each other each count their own time, so the sum of all may exceed the total.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Collects seconds per named stage, in the order in which the stages first ended.

    Safe to use from several threads: a request that was given up reads it while its work still runs.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds: dict[str, float] = {}

    @property
    def seconds(self) -> dict[str, float]:
        """A copy of what has been measured so far."""
        with self._lock:
            return dict(self._seconds)

    def record(self, name: str, seconds: float) -> None:
        """State the time of a stage that was measured elsewhere."""
        with self._lock:
            self._seconds[name] = seconds

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time of the block to the stage `name`, also when it raises."""
        start = time.perf_counter()
        try:
            yield
        finally:
            took = time.perf_counter() - start
            with self._lock:
                self._seconds[name] = self._seconds.get(name, 0.0) + took
