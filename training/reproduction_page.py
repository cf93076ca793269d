"""One page of results: both tables, how far the order of the systems is the paper's, and what was done."""

import math
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path

import torch

from training.checkpoint import TrainedNetwork
from training.evaluation.paper import PAPER_ORGANS, Cohort, printed_rows
from training.evaluation.rendering import markdown
from training.evaluation.scores import CaseScore
from training.evaluation.statistics import Reference, by_case, choose_paths, summarise
from training.evaluation.system import PathName
from training.evaluation.tables import organ_table


def write_page(
    file: Path,
    *,
    validation: Sequence[CaseScore],
    test: Sequence[CaseScore],
    reference: str,
    kept: Mapping[str, str],
    facts: Sequence[str],
) -> None:
    """Write the page.

    Args:
        file: Where.
        validation: Scores on clinic A.
        test: Scores on clinic B.
        reference: The system that the others are tested against; its paths are chosen on validation.
        kept: Method of the paper -> the setting that validation chose; it stands for the paper's.
        facts: What was done, one line each.
    """
    chosen = choose_paths(validation, system=reference)
    against = Reference(reference, chosen)
    parts = [
        "# Reproduction on virtual patients",
        "",
        "Numbers are those of phantoms; the paper's are of patients and stand beside for the order of the systems.",
        "",
        *(f"- {fact}" for fact in facts),
        *(f"- {method}: the best of its settings on validation is {name}" for method, name in kept.items()),
        "- path per organ of the cross-stitch network, chosen on validation: "
        + ", ".join(f"{organ} {path}" for organ, path in chosen.items()),
        "",
    ]
    cohorts: tuple[tuple[str, Sequence[CaseScore], Cohort], ...] = (
        ("Validation, clinic A", validation, "HMC"),
        ("Test, clinic B", test, "EMC"),
    )
    for heading, scores, cohort in cohorts:
        table = organ_table(scores, "msd_mm", reference=against, printed=cohort)
        parts += [f"## {heading}: {len({score.case for score in scores})} cases", "", markdown(table)]
        parts += ["### Order of the systems", "", *order_lines(scores, cohort, kept), ""]
    file.write_text("\n".join(parts))


def provenance(trained: Mapping[str, TrainedNetwork]) -> Iterator[str]:
    """Facts for the page: whence the networks come.

    Args:
        trained: Name in the tables -> network.
    """
    stages = [stage for one in trained.values() for stage in one.stages]
    yield f"trained at commit {', '.join(sorted({_short(stage.commit) for stage in stages}))}"
    yield f"SHA-256 of the training cohort {', '.join(sorted({stage.cohort_hash[:16] for stage in stages}))}"
    yield f"page written on {machine()}"
    if any(one.recipe.network.family == "deep-atlas" for one in trained.values()):
        yield (
            "DeepAtlas takes turns between its two networks, so that they share the steps: each learned for fewer than "
            "the other systems' networks"
        )


def machine() -> str:
    """Processor, cores, GPU, and the version of torch."""
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{_processor()}, {os.cpu_count()} cores{gpu}, torch {torch.__version__}"


def _short(commit: str) -> str:
    """The first digits, and '+' where the code differed from the commit."""
    return commit[:12] + "+" * commit.endswith("+")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(iter(names), platform.processor() or platform.machine())


def order_lines(scores: Sequence[CaseScore], cohort: Cohort, names: Mapping[str, str]) -> Iterator[str]:
    """Per organ, how many pairs of the paper's rows stand in the same order here, and the clearest that do not.

    Args:
        scores: Of one split.
        cohort: The paper's counterpart.
        names: Name in the paper -> name here, where they differ.
    """
    yield "| organ | pairs in the paper's order | turned round, largest difference in the paper first |"
    yield "|---|---|---|"
    for organ in PAPER_ORGANS:
        same, turned = compared(scores, cohort, organ, names)
        worst = "; ".join(f"{better} before {worse}" for better, worse in turned[:3])
        yield f"| {organ} | {same} of {same + len(turned)} | {worst or 'none'} |"


def compared(
    scores: Sequence[CaseScore], cohort: Cohort, organ: str, names: Mapping[str, str]
) -> tuple[int, list[tuple[str, str]]]:
    """Pairs of rows that both have, by mean surface distance of one organ.

    Returns:
        How many stand in the paper's order, and those that do not as (better there, worse there).
    """
    column = PAPER_ORGANS.index(organ)
    both: list[tuple[str, float, float]] = []
    for row in printed_rows("msd_mm", cohort):
        ours = _mean(scores, names.get(row.system, row.system), row.path, organ)
        if math.isfinite(ours):
            both.append((f"{row.system} ({row.path})", row.values[column].mean, ours))
    same, turned = 0, []
    for one, other in combinations(both, 2):
        better, worse = sorted((one, other), key=lambda row: row[1])
        if better[1] == worse[1]:
            continue
        if better[2] <= worse[2]:
            same += 1
        else:
            turned.append((worse[1] - better[1], better[0], worse[0]))
    return same, [(better, worse) for _, better, worse in sorted(turned, reverse=True)]


def _mean(scores: Sequence[CaseScore], system: str, path: PathName, organ: str) -> float:
    values = by_case(scores, system=system, path=path, organ=organ, metric="msd_mm")
    return summarise(list(values.values())).mean if values else math.nan
