"""Many small requests in a row: does the memory stay, do equal inputs give equal bytes?"""

from dataclasses import dataclass

import numpy as np

from bench.requests import Request
from recontour.table import text_table

WARM_REQUESTS = 20
"""Allocators and caches settle first."""
GROWTH_MIB = 64.0
"""More than this from the first to the last tenth after warming is a leak."""


@dataclass(frozen=True)
class SoakResult:
    requests: int
    growth_mib: float
    growth_limit_mib: float
    answers: int
    """Number of different answers; 1 means identical bytes."""
    table: str


def judge(requests: list[Request]) -> SoakResult:
    resident = np.array([request.resident_mib for request in requests])
    settled = resident[min(WARM_REQUESTS, len(resident) // 2) :]
    tenth = max(len(settled) // 10, 1)
    rows = []
    for start in range(0, len(requests), WARM_REQUESTS):
        part = requests[start : start + WARM_REQUESTS]
        rows.append(
            (
                f"{start + 1}-{start + len(part)}",
                float(np.median([request.wall_s for request in part])) * 1000,
                float(np.max([request.resident_mib for request in part])),
                str(len({request.digest for request in part})),
            )
        )
    return SoakResult(
        requests=len(requests),
        growth_mib=float(np.median(settled[-tenth:]) - np.median(settled[:tenth])),
        growth_limit_mib=GROWTH_MIB,
        answers=len({request.digest for request in requests}),
        table=text_table(("requests", "median ms", "resident MiB", "different answers"), rows, decimals=(0, 0, 0, 0)),
    )
