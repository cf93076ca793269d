"""Tables as Markdown for reading, CSV for computing, LaTeX (booktabs) for papers."""

import csv
import io
import math

from training.evaluation.tables import Cell, Row, Table

_LATEX = {"%": r"\%", "_": r"\_", "&": r"\&", "#": r"\#", "±": r"$\pm$", "†": r"$^\dagger$", "<": "$<$"}


def markdown(table: Table) -> str:
    """A heading, the table, and its notes."""
    head = ["system", "path", *table.columns]
    lines = [f"### {table.title}", "", _pipes(head), "|".join(["", *["---"] * len(head), ""])]
    for group in table.groups:
        if group.heading:
            lines.append(_pipes([f"*{group.heading}*", *[""] * (len(head) - 1)]))
        for label, row in _labelled(group.rows):
            cells = [_bold(text(cell, n), cell, "**{}**") for cell, n in zip(row.cells, table.decimals, strict=True)]
            lines.append(_pipes([label, row.path, *cells]))
    return "\n".join([*lines, "", *(f"{note}  " for note in table.notes), ""])


def comma_separated(table: Table) -> str:
    """One line per cell with all its numbers; empty where there is none."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    names = ["cases", "missing", "mean", "sd", "median", "lower quartile", "upper quartile", "p", "best"]
    writer.writerow(["group", "system", "path", "column", *names])
    for group in table.groups:
        for row in group.rows:
            for column, cell in zip(table.columns, row.cells, strict=True):
                if cell is not None:
                    writer.writerow([group.heading, row.system, row.path, column, *_numbers(cell)])
    return stream.getvalue()


def latex(table: Table) -> str:
    """A `table` environment; its preamble needs the package booktabs."""
    width = 2 + len(table.columns)
    lines = [
        r"\begin{table}",
        rf"\caption{{{_escaped(table.title)}. {_escaped(' '.join(table.notes))}}}",
        rf"\begin{{tabular}}{{ll{'c' * len(table.columns)}}}",
        r"\toprule",
        _ampersands(["System", "Path", *table.columns]),
    ]
    for group in table.groups:
        lines.append(r"\midrule")
        if group.heading:
            lines.append(rf"\multicolumn{{{width}}}{{l}}{{\emph{{{_escaped(group.heading)}}}}} \\")
        for label, row in _labelled(group.rows):
            cells = [text(cell, n) for cell, n in zip(row.cells, table.decimals, strict=True)]
            escaped = [_bold(_escaped(c), cell, r"\textbf{{{}}}") for c, cell in zip(cells, row.cells, strict=True)]
            lines.append(" & ".join([_escaped(label), row.path, *escaped]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])


def text(cell: Cell | None, decimals: int) -> str:
    """'mean ± sd (median)†', what is known of it; '-' where there is nothing."""
    if cell is None:
        return "-"
    if cell.printed:
        return cell.printed
    summary = cell.summary
    empty = f" [{summary.missing} empty]" if summary.missing else ""
    if not math.isfinite(summary.mean):
        return f"-{empty}"
    parts = [f"{summary.mean:.{decimals}f}"]
    if math.isfinite(summary.sd):
        parts.append(f"± {summary.sd:.{decimals}f}")
    if math.isfinite(summary.median):
        parts.append(f"({summary.median:.{decimals}f})")
    dagger = "†" if cell.comparison and cell.comparison.significant else ""
    return " ".join(parts) + dagger + empty


def _labelled(rows: tuple[Row, ...]) -> list[tuple[str, Row]]:
    """Every row with its system, which is named once for all its paths."""
    before = ["", *(row.system for row in rows)]
    return [("" if row.system == last else row.system, row) for last, row in zip(before, rows, strict=False)]


def _bold(shown: str, cell: Cell | None, form: str) -> str:
    return form.format(shown) if cell is not None and cell.best else shown


def _numbers(cell: Cell) -> list[str | int]:
    s = cell.summary
    values = [s.mean, s.sd, s.median, s.lower_quartile, s.upper_quartile]
    p = "" if cell.comparison is None or math.isnan(cell.comparison.p) else f"{cell.comparison.p:.6g}"
    shown = ["" if math.isnan(value) else f"{value:.6g}" for value in values]
    return [s.cases, s.missing, *shown, p, int(cell.best)]


def _pipes(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _ampersands(cells: list[str]) -> str:
    return " & ".join(_escaped(cell) for cell in cells) + r" \\"


def _escaped(words: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in words)
