"""The path per organ that validation chose, on disk with what the choice depends on."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training.evaluation.report import chosen_paths
from training.evaluation.run import Protocol
from training.evaluation.scores import CaseScore
from training.evaluation.system import PathName, System

Chosen = Mapping[str, Mapping[str, PathName]]
"""System -> organ -> path."""


def write_chosen(file: Path, validation: Sequence[CaseScore], systems: Sequence[System], protocol: Protocol) -> None:
    """Choose for every system with both paths; what stands there of other systems stays.

    Args:
        file: paths.json.
        validation: Scores of validation cases.
        systems: That were scored.
        protocol: By which.
    """
    paths = chosen_paths(validation)
    entries = {
        system.name: {"identity": protocol.identity(system), "paths": dict(paths[system.name])}
        for system in systems
        if system.name in paths
    }
    content = {"dataset": protocol.dataset, "systems": (_stored(file, protocol) or {}) | entries}
    file.write_text(json.dumps(content, indent=1) + "\n")


def read_chosen(file: Path, systems: Sequence[System], protocol: Protocol) -> tuple[Chosen, tuple[str, ...]]:
    """What validation chose for systems as they are now.

    Args:
        file: paths.json; it may be missing.
        systems: Whose paths.
        protocol: Of the scores to which they are applied.

    Returns:
        The paths, and a sentence for each choice that is stale: made with other weights, data or measures.
    """
    if not file.is_file():
        return {}, ()
    stored = _stored(file, protocol)
    if stored is None:
        return {}, (f"Paths that were chosen on another dataset are not used: {_AGAIN}.",)
    there = {system.name: stored[system.name] for system in systems if system.name in stored}
    identities = {system.name: protocol.identity(system) for system in systems}
    stale = [name for name, entry in there.items() if entry["identity"] != identities[name]]
    fresh: Chosen = {name: entry["paths"] for name, entry in there.items() if name not in stale}
    said = tuple(f"The paths of {name} were chosen before it changed and are not used: {_AGAIN}." for name in stale)
    return fresh, said


_AGAIN = "evaluate --split validation again"


def _stored(file: Path, protocol: Protocol) -> dict[str, Any] | None:
    """The entries of a file; None where it is missing, damaged or of another dataset."""
    try:
        content = json.loads(file.read_text())
        same: dict[str, Any] | None = content["systems"] if content["dataset"] == protocol.dataset else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return same
