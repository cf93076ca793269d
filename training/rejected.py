"""rejected.csv, which holds pseudonyms only, and the key file beside the dataset, which leads to the patients."""

import csv
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from training.unusable import Rejection

LISTED_FILES = 20
"""Of a line with more files the key file names the folders only."""


def write_rejected(out: Path, rejections: Iterable[Rejection], pseudonyms: Mapping[str, str]) -> None:
    """OUT/rejected.csv: line, pseudonym ('' if unknown), what, reason, advice."""
    lines = [
        (number, pseudonyms.get(one.patient_id, ""), one.what, one.reason, one.advice)
        for number, one in _numbered(rejections, pseudonyms)
    ]
    _write(out / "rejected.csv", ("line", "patient", "what", "reason", "advice"), lines)


def write_key(
    out: Path, rejections: Iterable[Rejection], pseudonyms: Mapping[str, str], places: Iterable[tuple[str, str]]
) -> None:
    """OUT.key.csv beside OUT: what, by name or line of rejected.csv, and the files or folders that it came from.

    Only its owner may read it: it is the way back from pseudonyms to patients.
    """
    lines = [
        (number, source)
        for number, one in _numbered(rejections, pseudonyms)
        for source in (one.sources if len(one.sources) <= LISTED_FILES else folders(one.sources))
    ]
    file = out.with_name(f"{out.name}.key.csv")
    _write(file, ("what", "source"), [*sorted(places), *lines], opener=lambda path, flags: os.open(path, flags, 0o600))


def folders(files: Iterable[str]) -> list[str]:
    """The folders that hold the files, each once, sorted."""
    return sorted({os.path.dirname(file) for file in files})


def _numbered(rejections: Iterable[Rejection], pseudonyms: Mapping[str, str]) -> list[tuple[str, Rejection]]:
    ordered = sorted(
        rejections, key=lambda one: (pseudonyms.get(one.patient_id, ""), one.what, one.reason, one.advice, one.sources)
    )
    return [(f"r{number:04d}", one) for number, one in enumerate(ordered, 1)]


def _write(
    file: Path,
    head: Sequence[str],
    lines: Iterable[Sequence[str]],
    opener: Callable[[str, int], int] | None = None,
) -> None:
    # Names of files may hold bytes that are no UTF-8.
    with open(file, "w", newline="", encoding="utf-8", errors="surrogateescape", opener=opener) as stream:
        table: Any = csv.writer(stream, lineterminator="\n")
        table.writerow(head)
        table.writerows(lines)
