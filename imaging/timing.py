"""Stage times of one request, under the same names in Server-Timing, metrics, report and benchmark."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Collects seconds per named stage, in the order in which the stages first ran."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time of the block to the stage `name`, also when it raises."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
