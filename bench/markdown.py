"""Tables and files of a report: OUT.json holds what was measured, OUT.md is written from it alone."""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

Cell = str | float | None


def table(headers: Sequence[str], rows: Iterable[Sequence[Cell]], *, digits: int = 0) -> str:
    """A Markdown table; numbers are rounded to `digits` and stand right, None is a dash."""
    cells = [[_cell(cell, digits) for cell in row] for row in rows]
    right = [
        bool(cells) and all(row[i].replace(".", "").replace("-", "").isdigit() or row[i] == "-" for row in cells)
        for i in range(len(headers))
    ]
    rule = ["---:" if is_number else "---" for is_number in right]
    return "\n".join("| " + " | ".join(line) + " |" for line in (list(headers), rule, *cells))


def facts(machine: Mapping[str, str]) -> str:
    """One line per fact."""
    return "\n".join(f"- {name}: {value}" for name, value in machine.items())


def write_report(out: Path | None, content: Mapping[str, Any], as_markdown: Callable[[Mapping[str, Any]], str]) -> str:
    """Write OUT.json, and OUT.md from what can be read back; without `out` only the text is made."""
    packed = json.dumps(content, indent=1)
    text = as_markdown(json.loads(packed))
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.with_suffix(".json").write_text(packed + "\n", encoding="utf-8")
        out.with_suffix(".md").write_text(text + "\n", encoding="utf-8")
    return text


def tell(message: str) -> None:
    """Progress, on stderr."""
    print(f"  {message}", file=sys.stderr, flush=True)


def _cell(cell: Cell, digits: int) -> str:
    if cell is None:
        return "-"
    return cell if isinstance(cell, str) else f"{cell:.{digits}f}"
