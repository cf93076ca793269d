"""Latency of real requests against the target, for GET /health/latency and for Retry-After."""

import math
from collections import deque
from collections.abc import Mapping

from service.schemas import LatencyReport, StageLatency

REMEMBERED = 256
TOTAL = "total"


class Latency:
    """Stage times of the last answered requests."""

    def __init__(self, *, target_s: float) -> None:
        self._target_s = target_s
        self._requests: deque[dict[str, float]] = deque(maxlen=REMEMBERED)

    def record(self, stages_s: Mapping[str, float]) -> None:
        """Remember an answered request; 'total' is among its stages."""
        self._requests.append(dict(stages_s))

    def report(self) -> LatencyReport:
        """Median and 95th percentile per stage, in the order in which the stages first ran."""
        names = list(dict.fromkeys(name for request in self._requests for name in request))
        stages = {}
        for name in names:
            seconds = sorted(request[name] for request in self._requests if name in request)
            stages[name] = StageLatency(
                requests=len(seconds), p50_s=percentile(seconds, 50), p95_s=percentile(seconds, 95)
            )
        total = stages.get(TOTAL)
        return LatencyReport(
            target_s=self._target_s,
            within_target=None if total is None else total.p95_s <= self._target_s,
            requests=len(self._requests),
            stages=stages,
        )

    def retry_after_s(self, waiting: int) -> int:
        """Whole seconds until one of `waiting` requests has probably been answered, 1 to 60."""
        seconds = sorted(request[TOTAL] for request in self._requests if TOTAL in request)
        typical = percentile(seconds, 50) if seconds else 1.0
        return max(1, min(60, math.ceil(typical * max(1, waiting) / 2)))


def percentile(ascending: list[float], percent: float) -> float:
    """Nearest-rank percentile: the smallest value that at least `percent` of the values do not exceed."""
    rank = max(1, math.ceil(percent / 100 * len(ascending)))
    return ascending[rank - 1]
