"""Left and right: an ROI whose name claims a side must lie there in the plan, and on the same side on the day."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from imaging.findings import Finding, Verdict, graded
from imaging.measures import RoiMeasure
from imaging.plausibility_limits import PlausibilityLimits

SIDED_NAME = re.compile(r"(?:^|[_\-. ])(l|r|left|right|lt|rt)(?:$|[_\-. ])", re.IGNORECASE)
"""A side as a word of its own: TG-263 'Kidney_L', also 'femoral head right', never the l of 'Bowel_Large'."""


@dataclass(frozen=True, eq=False)
class Midlines:
    """The middle of the body in the plan and on the day.

    Attributes:
        body: Measures of the body outline in both, whose middle follows a patient who lies askew; None without one.
        fixed_mm: x of the midline in both, where no outline tells it.
    """

    body: tuple[RoiMeasure, RoiMeasure] | None
    fixed_mm: tuple[float, float] | None

    def planned_mm(self, z_mm: float) -> float | None:
        """x of the plan's midline at a height; None where nothing tells it."""
        return self._at(0, z_mm)

    def daily_mm(self, z_mm: float) -> float | None:
        """The same of the day."""
        return self._at(1, z_mm)

    def _at(self, day: int, z_mm: float) -> float | None:
        if self.body is None:
            return None if self.fixed_mm is None else self.fixed_mm[day]
        centroids = self.body[day].slice_centroids_mm
        return float(np.interp(z_mm, centroids[:, 2], centroids[:, 0]))


def planned_side(
    number: int, name: str, plan: RoiMeasure, midlines: Midlines, limits: PlausibilityLimits
) -> Iterator[Finding]:
    """The plan must have a sided ROI where its name says, or two ROIs may bear each other's names."""
    claimed = SIDED_NAME.search(name)
    middle = None if plan.centroid_mm is None else midlines.planned_mm(plan.centroid_mm[2])
    if claimed is None or plan.centroid_mm is None or middle is None:
        return
    side = "left" if claimed[1].casefold().startswith("l") else "right"
    to_the_left = plan.centroid_mm[0] - middle
    beyond = -to_the_left if side == "left" else to_the_left
    where = "beyond the midline on the other side" if beyond > 0 else "from the midline on that side"
    message = f"the name says {side}; the plan has the centroid {abs(beyond):.1f} mm {where}"
    yield _held("planned-laterality", number, beyond, limits, message)


def carried_side(  # noqa: PLR0917
    path: str,
    number: int,
    name: str,
    plan: RoiMeasure,
    found: RoiMeasure,
    midlines: Midlines,
    limits: PlausibilityLimits,
) -> Iterator[Finding]:
    """The centroid of a sided ROI must lie on the side of the midline where the plan has it."""
    if not SIDED_NAME.search(name) or plan.centroid_mm is None or found.centroid_mm is None:
        return
    check = f"{path}-laterality"
    planned_middle, daily_middle = midlines.planned_mm(plan.centroid_mm[2]), midlines.daily_mm(found.centroid_mm[2])
    if planned_middle is None or daily_middle is None:
        yield Finding(check, Verdict.REVIEW, "side not checked: the plan has no body outline", roi_number=number)
        return
    planned_left = plan.centroid_mm[0] >= planned_middle
    to_the_left = found.centroid_mm[0] - daily_middle
    beyond = -to_the_left if planned_left else to_the_left
    where = f"{abs(beyond):.1f} mm {'beyond the midline on the other side' if beyond > 0 else 'from the midline'}"
    message = f"centroid {where}; the plan has it on the patient's {'left' if planned_left else 'right'}"
    yield _held(check, number, beyond, limits, message)


def _held(check: str, number: int, beyond_mm: float, limits: PlausibilityLimits, message: str) -> Finding:
    fail = limits.wrong_side_fail_mm
    return graded(check, number, beyond_mm, review=0.0, fail=fail, unit="mm", message=message)
