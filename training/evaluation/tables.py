"""Scores in the layout of the paper: a row per system and path, a column per organ.

A `Table` holds numbers; `training.evaluation.rendering` writes it as Markdown, CSV or LaTeX.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from training.evaluation.paper import PAPER_ORGANS, Cohort, Printed, PrintedMetric, printed_rows
from training.evaluation.scores import CaseScore
from training.evaluation.statistics import (
    Comparison,
    Metric,
    Reference,
    Summary,
    by_case,
    compare,
    paths_in,
    summarise,
    systems_in,
)
from training.evaluation.system import PathName

PRINTED_METRICS: dict[PrintedMetric, tuple[str, int]] = {
    "msd_mm": ("Mean surface distance, mm", 2),
    "hd95_mm": ("95 % Hausdorff distance, mm", 1),
    "dice": ("Dice similarity coefficient", 2),
}
"""Title and decimals of the tables that the paper has too."""


@dataclass(frozen=True)
class Cell:
    """One number over cases.

    Attributes:
        summary: Mean and spread.
        comparison: Against the reference system; None for the reference and where nothing was tested.
        best: Whether no other row of the column is better.
        printed: How a paper prints it; empty for our own.
    """

    summary: Summary
    comparison: Comparison | None = None
    best: bool = False
    printed: str = ""


@dataclass(frozen=True)
class Row:
    """One system by one path; None where it has no number."""

    system: str
    path: str
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True)
class Group:
    """Rows that belong together, under a heading where it is not empty."""

    heading: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Table:
    """A table before it is written.

    Attributes:
        title: What is shown, with its unit.
        columns: Headings of the cells.
        decimals: Of the cells of every column.
        groups: The rows.
        notes: What a reader must know, one sentence each.
    """

    title: str
    columns: tuple[str, ...]
    decimals: tuple[int, ...]
    groups: tuple[Group, ...]
    notes: tuple[str, ...]


def organ_table(
    scores: Sequence[CaseScore],
    metric: PrintedMetric,
    *,
    reference: Reference | None = None,
    printed: Cohort | None = None,
) -> Table:
    """Mean, spread and median of one metric, tested against the reference.

    Args:
        scores: Of one split, all systems.
        metric: What is shown.
        reference: Whom the others are tested against.
        printed: Which of the paper's cohorts stands below; None for neither.
    """
    title, decimals = PRINTED_METRICS[metric]
    organs = organs_in(scores)
    rows = tuple(
        Row(system, path, tuple(_cell(scores, system, path, organ, metric, reference) for organ in organs))
        for system in systems_in(scores)
        for path in paths_in(scores, system)
    )
    groups = [Group("", with_best(rows, largest=metric == "dice"))]
    if printed:
        heading = f"Printed in the paper, {printed}: patients, not comparable"
        groups.append(Group(heading, _printed_rows(metric, printed, organs)))
    notes = [_CELLS, _MISSING if metric != "dice" else _MISSING_DICE, _NATIVE]
    notes.append(_tested(reference) if reference else _NOT_TESTED)
    return Table(title, organs, (decimals,) * len(organs), tuple(groups), tuple(notes))


def quality_table(scores: Sequence[CaseScore]) -> Table:
    """Added path length per organ, and for each system folding, spread of the Jacobian, and time."""
    organs = organs_in(scores)
    rows = []
    for system in systems_in(scores):
        own = [score for score in scores if score.system == system]
        for path in paths_in(scores, system):
            added = tuple(_cell(scores, system, path, organ, "added_mm", None) for organ in organs)
            fields = [score.field for score in own if score.field] if path == "registration" else []
            spread = tuple(
                Cell(summarise(values)) if values else None
                for values in (
                    [100 * field.folded for field in fields],
                    [field.sd_jacobian for field in fields],
                    [field.sd_log_jacobian for field in fields],
                )
            )
            first = path == paths_in(scores, system)[0]
            seconds = Cell(summarise([score.seconds for score in own])) if first else None
            rows.append(Row(system, path, (*added, *spread, seconds)))
    columns = (*(f"APL {organ}, mm" for organ in organs), "folded, %", "SD of J", "SD of log J", "seconds")
    return Table(
        "Added path length, quality of the deformation, time",
        columns,
        (*(0,) * len(organs), 2, 2, 2, 1),
        (Group("", tuple(rows)),),
        (_CELLS, _ADDED, _NATIVE, _FIELD, _seconds(scores)),
    )


def oracle_table(scores: Sequence[CaseScore]) -> Table | None:
    """Beside the distance of the kept islands that of the islands which the truth would choose; None without any."""
    organs = organs_in(scores)
    rows = []
    for system in systems_in(scores):
        cells: list[Cell | None] = []
        for organ in organs:
            metrics: tuple[Metric, Metric] = ("msd_mm", "oracle_msd_mm")
            cells.extend(_cell(scores, system, "segmentation", organ, metric, None) for metric in metrics)
        if any(cells[1::2]):
            rows.append(Row(system, "segmentation", tuple(cells)))
    if not rows:
        return None
    columns = tuple(heading for organ in organs for heading in (organ, f"{organ}, oracle"))
    title = "Mean surface distance of the segmentation, mm: with islands chosen by size, and by the truth (oracle)"
    return Table(title, columns, (2,) * len(columns), (Group("", tuple(rows)),), (_CELLS, _ORACLE))


def organs_in(scores: Sequence[CaseScore]) -> tuple[str, ...]:
    """The organs that were scored: those of the paper in its order, then others."""
    there = dict.fromkeys(row.organ for score in scores for row in score.organs)
    return (*(o for o in PAPER_ORGANS if o in there), *(o for o in there if o not in PAPER_ORGANS))


def with_best(rows: tuple[Row, ...], *, largest: bool = False) -> tuple[Row, ...]:
    """The rows with the best mean of every column marked, among those with the fewest missing answers."""
    sign = -1.0 if largest else 1.0
    rank: Callable[[Summary], tuple[int, float]] = lambda s: (s.missing, sign * s.mean)  # noqa: E731
    marked = [list(row.cells) for row in rows]
    for column in range(len(marked[0]) if marked else 0):
        cells = [row[column] for row in marked]
        ranks = [rank(cell.summary) for cell in cells if cell is not None and math.isfinite(cell.summary.mean)]
        for line, cell in zip(marked, cells, strict=True):
            if cell is not None and ranks and rank(cell.summary) == min(ranks):
                line[column] = replace(cell, best=True)
    return tuple(replace(row, cells=tuple(cells)) for row, cells in zip(rows, marked, strict=True))


def _cell(  # noqa: PLR0917
    scores: Sequence[CaseScore],
    system: str,
    path: PathName,
    organ: str,
    metric: Metric,
    reference: Reference | None,
) -> Cell | None:
    values = by_case(scores, system=system, path=path, organ=organ, metric=metric)
    if not values:
        return None
    if reference is None:
        return Cell(summarise(list(values.values())))
    other = reference.paths.get(organ, path)
    itself = system == reference.system and path == other
    tested = None
    if not itself:
        tested = compare(values, by_case(scores, system=reference.system, path=other, organ=organ, metric=metric))
    return Cell(summarise(list(values.values())), tested)


def _printed_rows(metric: PrintedMetric, cohort: Cohort, organs: tuple[str, ...]) -> tuple[Row, ...]:
    rows = []
    for printed in printed_rows(metric, cohort):
        values = dict(zip(PAPER_ORGANS, printed.values, strict=True))
        cells = tuple(_printed_cell(values[organ]) if organ in values else None for organ in organs)
        rows.append(Row(printed.system, printed.path, cells))
    return tuple(rows)


def _printed_cell(value: Printed) -> Cell:
    sd, median = (math.nan if number is None else number for number in (value.sd, value.median))
    return Cell(Summary(0, 0, value.mean, sd, median, math.nan, math.nan), printed=value.text)


def _tested(reference: Reference) -> str:
    if not reference.paths:
        path = "of the same path"
    else:
        path = "(" + ", ".join(f"{organ}: {path}" for organ, path in reference.paths.items()) + ")"
    return (
        f"† differs from {reference.system} {path}: two-sided Wilcoxon signed-rank test, p < 0.05, over the "
        "cases that both have."
    )


def _seconds(scores: Sequence[CaseScore]) -> str:
    counts = sorted({score.threads for score in scores if score.threads})
    threads = f" on {' or '.join(map(str, counts))} CPU thread{'s' * (counts != [1])}" if counts else ""
    return (
        f"Seconds{threads} from the case in memory to the organs of all learned paths, without the affine, after one "
        "case for nothing (elastix and Hybrid: once loaded)."
    )


_CELLS = "Mean ± standard deviation (median) over cases."
_MISSING = "[n empty]: n cases without an answer, left out of the numbers; bold: best mean, fewest empty."
_MISSING_DICE = "[n empty]: n cases without an answer, which count as 0; bold: best mean."
_ADDED = "APL: contour pixels of the truth that the answer does not have, per axial plane, times the pixel's side."
_NATIVE = "Measured on the daily CT's own voxels; the paper measured on a grid of 1 mm."
_NOT_TESTED = "Nothing was tested: no system was named as the reference, and none is a cross-stitch network."
_FIELD = (
    "Field within the planned organs and 15 mm round them, on the grid on which the system gives it, so that a coarser "
    "grid hides folds: voxels where the least of the eight determinants towards the cells around is not positive, and "
    "standard deviation of the Jacobian J by central differences."
)
_ORACLE = "Oracle: the island, or pair for the seminal vesicles, with the best Dice against the truth. Not a result."
