"""What a physicist must know about a result: one check, its number, its limit, its verdict."""

import math
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """Traffic light of one check. A verdict never withholds a contour."""

    PASS = "pass"
    REVIEW = "review"
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """The outcome of one check.

    Attributes:
        check: Stable slug, for example 'volume-ratio'.
        verdict: pass, review or fail.
        message: One sentence for the reader; no patient data.
        value: The measured number, if there is one.
        limit: The limit that it was held against, if there is one.
        unit: Unit of value and limit ('mm', 'cc', '%' or '').
        roi_number: The ROI that it is about, or None for the whole case.
    """

    check: str
    verdict: Verdict
    message: str
    value: float | None = None
    limit: float | None = None
    unit: str = ""
    roi_number: int | None = None


def graded(
    check: str,
    number: int,
    value: float,
    *,
    review: float,
    fail: float,
    message: str,
    unit: str = "",
    below: bool = False,
) -> Finding:
    """Pass up to `review`, review up to `fail`, fail beyond it; downwards if `below`."""
    sign = -1 if below else 1
    if sign * value > sign * fail:
        verdict, limit = Verdict.FAIL, fail
    else:
        verdict, limit = (Verdict.REVIEW if sign * value > sign * review else Verdict.PASS), review
    return Finding(check, verdict, message, float(value), float(limit) if math.isfinite(limit) else None, unit, number)
