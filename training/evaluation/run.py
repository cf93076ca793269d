"""Every system on every case: what is already measured stays, the rest is done one case in memory at a time."""

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tqdm import tqdm

from training.evaluation.outlines import write_outlines
from training.evaluation.scores import FORMAT, CaseScore, read_score, score_case, write_score
from training.evaluation.system import (
    COMPONENTS,
    Contoured,
    HeldOutCase,
    System,
    identity_of,
    paths_of_system,
    starts_slowly,
)
from training.evaluation.threads import limited

Cases = Mapping[str, Callable[[], HeldOutCase]]
"""Name of a case -> how to read it; nothing is read that is not needed."""


@dataclass(frozen=True)
class Protocol:
    """What is measured, the same for every system.

    Attributes:
        organs: Names of the labels 1, 2, ...
        components: Islands that an organ may have, for the oracle column; 1 where it is not named.
        tolerance_mm: Of the added path length.
        dataset: Hash of the dataset, so that scores of another one are not taken for those of this one.
        threads: CPU threads of every system, 0 for as many as it likes. Only times depend on it, so that a stored
            score is kept when it changes.
    """

    organs: tuple[str, ...]
    components: Mapping[str, int] = field(default_factory=lambda: dict(COMPONENTS))
    tolerance_mm: float = 0.0
    dataset: str = ""
    threads: int = 1

    def identity(self, system: System) -> str:
        """A hash of all that a stored score of this system depends on."""
        facts = [FORMAT, identity_of(system), self.organs, sorted(self.components.items()), self.tolerance_mm]
        return hashlib.sha256(json.dumps([*facts, self.dataset]).encode()).hexdigest()[:16]


def evaluate(
    systems: Sequence[System], cases: Cases, out: Path, protocol: Protocol, *, progress: bool = True
) -> tuple[CaseScore, ...]:
    """Measure all systems on all cases; interrupted, the next call goes on where it was.

    A system that fails on a case has all organs missing there, and the rest goes on. Before its first case a system
    that starts slowly contours that case once for nothing, because compiling and loading would count as time otherwise.

    Args:
        systems: What is compared.
        cases: What they are compared on.
        out: Receives scores/SYSTEM/CASE.json and outlines/SYSTEM/CASE.npz.
        protocol: What is measured.
        progress: Show a bar with the time left.

    Returns:
        The scores by system and case, in the order given.

    Raises:
        ValueError: If two systems have one name.
    """
    folders = {system.name: slug(system.name) for system in systems}
    if len(set(folders.values())) != len(systems):
        raise ValueError("two systems have the same name, or names that differ in signs only")
    identities = {system.name: protocol.identity(system) for system in systems}
    found: dict[tuple[str, str], CaseScore] = {}
    for system in systems:
        for name in cases:
            score = read_score(_score_file(out, folders[system.name], name))
            if score is not None and score.identity == identities[system.name]:
                found[system.name, name] = score
    todo = len(systems) * len(cases) - len(found)
    cold = {system.name for system in systems if starts_slowly(system)}
    with (
        tqdm(total=todo, desc="evaluate", unit="case", disable=not progress) as bar,
        limited(protocol.threads),
    ):
        for name, read in cases.items():
            missing = [system for system in systems if (system.name, name) not in found]
            if not missing:
                continue
            case = read()
            for system in missing:
                bar.set_postfix_str(system.name)
                if system.name in cold:
                    answer(system, case)
                    cold.remove(system.name)
                contoured, error = answer(system, case)
                score = score_case(
                    case,
                    contoured,
                    system=system.name,
                    identity=identities[system.name],
                    organs=protocol.organs,
                    components=protocol.components,
                    tolerance_mm=protocol.tolerance_mm,
                )
                score = replace(score, threads=protocol.threads, error=error)
                write_outlines(contoured, case, outlines_file(out, system.name, name))
                write_score(score, _score_file(out, folders[system.name], name))
                found[system.name, name] = score
                bar.update()
    return tuple(found[system.name, name] for system in systems for name in cases)


def answer(system: System, case: HeldOutCase) -> tuple[Contoured, str]:
    """What a system says, and the class of the exception with which it failed: then nothing was found on any path.

    Only the class is kept, because a message may hold what lies in the scan.
    """
    try:
        return system.contour(case), ""
    except Exception as error:  # noqa: BLE001 - whatever fails in one case must not cost the others
        return Contoured(dict.fromkeys(paths_of_system(system), ()), None, math.nan), type(error).__name__


def outlines_file(out: Path, system: str, case: str) -> Path:
    """Where the outlines of one system on one case lie."""
    return out / "outlines" / slug(system) / f"{case}.npz"


def slug(name: str) -> str:
    """A name as part of a file's name: small letters, digits and single hyphens."""
    kept = "".join(sign if sign.isalnum() else "-" for sign in name.lower())
    return "-".join(part for part in kept.split("-") if part)


def _score_file(out: Path, folder: str, case: str) -> Path:
    file = out / "scores" / folder / f"{case}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    return file
