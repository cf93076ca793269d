"""Plans staged in memory days ahead, so that only the daily CT travels while the patient waits."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

from service.problems import Refusal
from service.schemas import PlanDescription

PLAN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

P = TypeVar("P")


@dataclass(frozen=True, eq=False, repr=False)
class Staged(Generic[P]):
    """A read plan with what may be told about it."""

    plan: P
    description: PlanDescription
    expires: float


class PlanStore(Generic[P]):
    """At most `capacity` plans, each for `ttl_s`. Used on the event loop only."""

    def __init__(self, *, capacity: int, ttl_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._capacity = capacity
        self._ttl_s = ttl_s
        self._clock = clock
        self._plans: dict[str, Staged[P]] = {}

    def __len__(self) -> int:
        return len(self._plans)

    def check_open(self, plan_id: str) -> None:
        """Refuse an id that cannot be staged, before a body is read for it."""
        if self._capacity == 0:
            raise Refusal("switched-off", "plans are not staged here; send the planning objects with each request.")
        if not PLAN_ID.fullmatch(plan_id):
            raise Refusal("bad-request", "a plan id is 1 to 64 letters, digits, dots, dashes and underscores.")
        self.forget_expired()
        if plan_id not in self._plans and len(self._plans) >= self._capacity:
            raise Refusal("plans-full", f"{self._capacity} plans are staged, which is the limit.")

    def put(self, plan_id: str, plan: P, *, etag: str, slices: int, rois: int) -> tuple[Staged[P], bool]:
        """Stage a plan; the same plan again only renews its time.

        Returns:
            The staged plan, and whether it is new.

        Raises:
            Refusal: 'plan-conflict' if another plan has this id, 'plans-full' if there is no room.
        """
        self.check_open(plan_id)
        before = self._plans.get(plan_id)
        if before is not None and before.description.etag != etag:
            raise Refusal("plan-conflict", "another planning CT or RTSTRUCT is staged under this id.")
        now = datetime.now(UTC)
        description = PlanDescription(
            etag=etag,
            staged_at=now,
            expires_at=now + timedelta(seconds=self._ttl_s),
            planning_slices=slices,
            rois=rois,
        )
        staged = Staged(plan, description, self._clock() + self._ttl_s)
        self._plans[plan_id] = staged
        return staged, before is None

    def get(self, plan_id: str) -> Staged[P]:
        """The staged plan; Refusal 'plan-not-found' if there is none or its time is over."""
        self.forget_expired()
        if plan_id not in self._plans:
            raise Refusal("plan-not-found", "nothing is staged under this id, or its time is over.")
        return self._plans[plan_id]

    def delete(self, plan_id: str) -> None:
        """Forget a plan; Refusal 'plan-not-found' if there is none."""
        self.get(plan_id)
        del self._plans[plan_id]

    def forget_expired(self) -> None:
        """Let go of every plan whose time is over."""
        now = self._clock()
        for plan_id in [name for name, staged in self._plans.items() if staged.expires <= now]:
            del self._plans[plan_id]
