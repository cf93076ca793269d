"""Tables of plain text: numbers right, words left."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

Cell: TypeAlias = str | float | None
"""None is printed as a dash."""


def text_table(headers: Sequence[str], rows: Iterable[Sequence[Cell]], *, decimals: Sequence[int] = ()) -> str:
    """Lines of aligned columns under a rule.

    Args:
        headers: One per column.
        rows: Cells, as many as headers.
        decimals: Digits after the point per column, 2 where the list ends.
    """
    cells = [list(row) for row in rows]
    body = [[_cell(cell, _digits(decimals, i)) for i, cell in enumerate(row)] for row in cells]
    numeric = [not any(isinstance(row[i], str) for row in cells) for i in range(len(headers))]
    widths = [max([len(header), *(len(row[i]) for row in body)]) for i, header in enumerate(headers)]
    lines = [_line(headers, widths, numeric), "  ".join("-" * width for width in widths)]
    return "\n".join([*lines, *(_line(row, widths, numeric) for row in body)])


def stage_table(stages_s: Mapping[str, float]) -> str:
    """Milliseconds per stage, in the order given."""
    return text_table(("stage", "ms"), [(name, seconds * 1000) for name, seconds in stages_s.items()], decimals=(0, 0))


def _digits(decimals: Sequence[int], column: int) -> int:
    return decimals[column] if column < len(decimals) else 2


def _cell(cell: Cell, digits: int) -> str:
    if cell is None:
        return "-"
    return cell if isinstance(cell, str) else f"{cell:.{digits}f}"


def _line(cells: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]) -> str:
    padded = (
        cell.rjust(width) if right else cell.ljust(width)
        for cell, width, right in zip(cells, widths, numeric, strict=True)
    )
    return "  ".join(padded).rstrip()
