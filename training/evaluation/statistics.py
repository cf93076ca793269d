"""Means, spreads and the paired test, with explicit rules for answers that are missing.

A path that returned nothing for an organ has no distance. Such cases are counted and left out of means, medians and
quartiles of distances; their overlap is 0 and their added path the whole outline, and both stay in. A paired test
takes the cases for which both sides have a number. Scans of one patient count as single cases, as in the paper, so p is
smaller than it would be over patients.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import wilcoxon

from training.evaluation.scores import CaseScore
from training.evaluation.system import PATHS, PathName

Metric = Literal["msd_mm", "hd95_mm", "dice", "added_mm", "oracle_msd_mm"]
SIGNIFICANT = 0.05
LEARNED_PATHS: tuple[PathName, ...] = ("segmentation", "registration")


@dataclass(frozen=True)
class Summary:
    """One metric over cases.

    Attributes:
        cases: How many there were.
        missing: How many of them had no number.
        mean: Of the others; not a number if there are none.
        sd: Sample standard deviation (n - 1); not a number for fewer than two.
        median: Of the others.
        lower_quartile: 25th percentile, linear between ranks.
        upper_quartile: 75th percentile likewise.
    """

    cases: int
    missing: int
    mean: float
    sd: float
    median: float
    lower_quartile: float
    upper_quartile: float


@dataclass(frozen=True)
class Comparison:
    """A two-sided Wilcoxon signed-rank test.

    Attributes:
        p: Its p; not a number without a common case.
        cases: How many cases both sides have.
    """

    p: float
    cases: int

    @property
    def significant(self) -> bool:
        """Whether p is below 0.05."""
        return self.p < SIGNIFICANT


@dataclass(frozen=True)
class Reference:
    """The system that the others are tested against.

    Attributes:
        system: Its name.
        paths: Its path per organ, for example the one chosen on validation; where an organ is not in it, the path of
            the row that is tested.
    """

    system: str
    paths: Mapping[str, PathName]


def summarise(values: Sequence[float]) -> Summary:
    """The summary of one number per case; what is not finite is missing."""
    found = np.array([value for value in values if math.isfinite(value)])
    if not found.size:
        return Summary(len(values), len(values), *(math.nan,) * 5)
    lower, median, upper = np.percentile(found, [25, 50, 75])
    sd = float(found.std(ddof=1)) if found.size > 1 else math.nan
    missing = len(values) - found.size
    return Summary(len(values), missing, float(found.mean()), sd, float(median), float(lower), float(upper))


def compare(values: Mapping[str, float], reference: Mapping[str, float]) -> Comparison:
    """Test the differences of two systems case by case.

    Args:
        values: Case -> number of the one.
        reference: Case -> number of the other.

    Returns:
        Over the cases in which both are finite; p is 1 where all differences are zero.

    References:
        Wilcoxon, Biometrics Bulletin 1, 1945; cases without a difference are left out, as he did.
    """
    common = sorted(case for case in values.keys() & reference.keys())
    differences = np.array([values[case] - reference[case] for case in common])
    differences = differences[np.isfinite(differences)]
    if not differences.size:
        return Comparison(math.nan, 0)
    if not differences.any():
        return Comparison(1.0, int(differences.size))
    unequal = differences[differences != 0]
    return Comparison(float(wilcoxon(unequal).pvalue), int(differences.size))


def by_case(
    scores: Iterable[CaseScore], *, system: str, path: PathName, organ: str, metric: Metric
) -> dict[str, float]:
    """Case -> the number of one organ by one path of one system; what has no such number is not in it."""
    found: dict[str, float] = {}
    for score in scores:
        if score.system == system:
            for row in score.organs:
                value = getattr(row, metric)
                if row.organ == organ and row.path == path and value is not None:
                    found[score.case] = float(value)
    return found


def paths_in(scores: Iterable[CaseScore], system: str) -> tuple[PathName, ...]:
    """The paths that a system has, in one order for all systems."""
    there = {row.path for score in scores if score.system == system for row in score.organs}
    return tuple(path for path in PATHS if path in there)


def systems_in(scores: Iterable[CaseScore]) -> tuple[str, ...]:
    """The systems, in the order of their first score."""
    return tuple(dict.fromkeys(score.system for score in scores))


def choose_paths(
    validation: Sequence[CaseScore], *, system: str, among: tuple[PathName, ...] = LEARNED_PATHS
) -> dict[str, PathName]:
    """The better path of a system organ by organ; never call it with scores of test cases.

    The path with fewer missing answers wins, and between equals the smaller mean surface distance.

    Args:
        validation: Scores of validation cases.
        system: Whose paths.
        among: The paths to choose from; those that the system does not have are passed over.

    Returns:
        Organ -> path, for every organ that was scored.
    """
    organs = dict.fromkeys(row.organ for score in validation if score.system == system for row in score.organs)
    there = [path for path in paths_in(validation, system) if path in among]
    chosen: dict[str, PathName] = {}
    for organ in organs:
        ranks: list[tuple[int, float, PathName]] = []
        for path in there:
            values = by_case(validation, system=system, path=path, organ=organ, metric="msd_mm")
            summary = summarise(list(values.values()))
            ranks.append((summary.missing, math.inf if math.isnan(summary.mean) else summary.mean, path))
        if ranks:
            chosen[organ] = min(ranks, key=lambda rank: rank[:2])[2]
    return chosen
