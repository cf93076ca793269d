"""When is a stage slower than it was: its processor time in units of a reference operation, against the stored one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MOST_GROWTH = 0.25
FLOOR = 0.05
"""In units of the reference operation: a growth of less is chance in stages of a millisecond or two."""
STRANGE_GROWTH = 1.0
"""On another processor than the stored one: vector units and caches differ, so only a doubling tells."""


@dataclass(frozen=True)
class Judged:
    """One stage.

    Attributes:
        stage: Its name.
        before: Stored ratio; None of a new stage.
        now: Ratio now; None of a stage that is gone.
        slower: Whether it grew by more than is allowed.
    """

    stage: str
    before: float | None
    now: float | None
    slower: bool

    @property
    def growth(self) -> float | None:
        """0.1 for a tenth more; None where there is nothing to compare."""
        return None if self.before is None or self.now is None else self.now / self.before - 1


def ratios(stages_s: Mapping[str, Sequence[float]], reference_s: Sequence[float]) -> dict[str, float]:
    """The least of a stage's repeats over the least of the reference's: what was least disturbed of both.

    Raises:
        ValueError: If there is no repeat.
    """
    if not reference_s:
        raise ValueError("the reference operation was not run")
    unit_s = min(reference_s)
    return {stage: min(seconds) / unit_s for stage, seconds in stages_s.items()}


def judge(
    before: Mapping[str, float], now: Mapping[str, float], *, most_growth: float = MOST_GROWTH, floor: float = FLOOR
) -> list[Judged]:
    """Every stage of either, in the order of `now`.

    A stage is slower if its ratio grew by more than `most_growth` of itself and by more than `floor` units.
    """
    found = []
    for stage in dict.fromkeys((*now, *before)):
        old, new = before.get(stage), now.get(stage)
        slower = old is not None and new is not None and new > old * (1 + most_growth) and new > old + floor
        found.append(Judged(stage, old, new, slower))
    return found
