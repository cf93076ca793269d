"""When is a stage slower than it was: its processor time in units of two yardsticks, against the stored ones.

Code that became slower is slower by every yardstick. A machine that is weak at one kind of work is so by one of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MOST_GROWTH = 0.25
FLOOR = 0.05
"""In units of a yardstick: a growth of less is chance in stages of a millisecond or two."""
STRANGE_GROWTH = 1.0
"""On another processor than the stored one: vector units and caches differ, so only a doubling tells."""

Ratios = dict[str, dict[str, float]]
"""By stage, then by yardstick."""


@dataclass(frozen=True)
class Judged:
    """One stage, in units of the yardstick by which it grew least.

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


def ratios(stages_s: Mapping[str, Sequence[float]], yardsticks_s: Mapping[str, Sequence[float]]) -> Ratios:
    """The least of a stage's repeats over the least of each yardstick's: what was least disturbed of both.

    Raises:
        ValueError: If there is no repeat.
    """
    if not yardsticks_s or not all(yardsticks_s.values()):
        raise ValueError("the yardsticks were not run")
    units_s = {yardstick: min(seconds) for yardstick, seconds in yardsticks_s.items()}
    return {
        stage: {yardstick: min(seconds) / unit_s for yardstick, unit_s in units_s.items()}
        for stage, seconds in stages_s.items()
    }


def judge(
    before: Mapping[str, Mapping[str, float]],
    now: Mapping[str, Mapping[str, float]],
    *,
    most_growth: float = MOST_GROWTH,
    floor: float = FLOOR,
) -> list[Judged]:
    """Every stage of either, in the order of `now`.

    A stage is slower if by every yardstick it grew by more than `most_growth` of itself and by more than `floor` units.
    """
    found = []
    for stage in dict.fromkeys((*now, *before)):
        if stage not in before or stage not in now:
            found.append(Judged(stage, _any(before.get(stage)), _any(now.get(stage)), slower=False))
            continue
        pairs = [(before[stage][yardstick], ratio) for yardstick, ratio in now[stage].items()]
        old, new = min(pairs, key=lambda pair: pair[1] / pair[0])
        slower = all(new > old * (1 + most_growth) and new > old + floor for old, new in pairs)
        found.append(Judged(stage, old, new, slower))
    return found


def _any(ratios: Mapping[str, float] | None) -> float | None:
    return None if ratios is None else min(ratios.values())
