"""What was asked for beside what was measured: met, MISSED, or not measured and why."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.markdown import table

MET, MISSED, OPEN = "met", "MISSED", "not measured"


@dataclass(frozen=True)
class Goal:
    """One line of the table of goals.

    Attributes:
        what: In words.
        value: What was measured, or None.
        limit: What was asked for.
        unit: Of both.
        at_least: Whether the limit is the least that is wanted, and not the most.
        why_open: Why there is no value.
    """

    what: str
    value: float | None
    limit: float
    unit: str
    at_least: bool = False
    why_open: str = ""

    @property
    def verdict(self) -> str:
        if self.value is None:
            return OPEN
        reached = self.value >= self.limit if self.at_least else self.value <= self.limit
        return MET if reached else MISSED


def goal_table(goals: Sequence[Goal]) -> str:
    """Markdown."""
    rows = []
    for goal in goals:
        value = goal.why_open or "-" if goal.value is None else f"{shown(goal.value)} {goal.unit}"
        word = "at least" if goal.at_least else "at most"
        rows.append((goal.what, value, f"{word} {shown(goal.limit)} {goal.unit}", goal.verdict))
    return table(("what", "measured", "goal", ""), rows)


def shown(value: float) -> str:
    """Three digits that say something, no zeros that do not."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
