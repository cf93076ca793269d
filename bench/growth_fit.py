"""How fast a time grows: the exponent of the power law that fits best, time ~ size^exponent."""

from collections.abc import Mapping, Sequence

import numpy as np

SHORTEST_S = 0.002
"""Below this the clock sees fixed costs and chance, and an exponent would say nothing."""


def fitted_exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Slope of the straight line through (log size, log value) by least squares.

    Raises:
        ValueError: If there are fewer than two different sizes, or a number is not positive.
    """
    if len(set(sizes)) < 2 or len(sizes) != len(values):
        raise ValueError("a growth needs at least two different sizes and a value for each")
    if min(*sizes, *values) <= 0:
        raise ValueError("only positive numbers have a logarithm")
    x, y = np.log(sizes), np.log(values)
    x, y = x - x.mean(), y - y.mean()
    return float((x @ y) / (x @ x))


def exponents(sizes: Sequence[float], stages_s: Mapping[str, Sequence[float]]) -> dict[str, float | None]:
    """One exponent per stage, from the points that are long enough; None where fewer than three are."""
    found: dict[str, float | None] = {}
    for name, values in stages_s.items():
        long = [(size, value) for size, value in zip(sizes, values, strict=True) if value >= SHORTEST_S]
        found[name] = fitted_exponent([s for s, _ in long], [v for _, v in long]) if len(long) >= 3 else None
    return found
