"""All of a comparison on disk: tables, figures, pictures, the chosen paths, and evaluation.json for a model's card."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from imaging.manifest import ModelManifest
from imaging.manifest import Path as RecommendedPath
from training.evaluation.figures import box_plot, save
from training.evaluation.paper import Cohort
from training.evaluation.rendering import comma_separated, latex, markdown
from training.evaluation.scores import CaseScore
from training.evaluation.statistics import (
    Metric,
    Reference,
    by_case,
    choose_paths,
    paths_in,
    summarise,
    systems_in,
)
from training.evaluation.system import PathName
from training.evaluation.tables import PRINTED_METRICS, Table, oracle_table, organ_table, organs_in, quality_table

METHODS: dict[PathName, str] = {"segmentation": "segmented", "registration": "network", "service": "propagated"}
"""The service's words for the paths of an exported model: 'network' is its field as it is, after the affine."""

DELIVERED: tuple[PathName, ...] = ("segmentation", "service")
"""What the service can recommend."""


def tables_of(
    scores: Sequence[CaseScore],
    *,
    reference: Reference | None = None,
    printed: Cohort | None = None,
    remarks: Sequence[str] = (),
) -> dict[str, Table]:
    """File name -> table: msd, hd95 and dice in the paper's layout, the quality of the fields, and the oracle.

    Args:
        scores: Of one split, all systems.
        reference: Whom the others are tested against.
        printed: Which of the paper's cohorts stands below ours.
        remarks: What else a reader of each table must know.
    """
    found = {
        metric.removesuffix("_mm"): organ_table(scores, metric, reference=reference, printed=printed)
        for metric in PRINTED_METRICS
    }
    found["quality"] = quality_table(scores)
    oracle = oracle_table(scores)
    if oracle is not None:
        found["oracle"] = oracle
    return {name: replace(table, notes=(*table.notes, *remarks)) for name, table in found.items()}


def write_report(
    scores: Sequence[CaseScore],
    out: Path,
    *,
    title: str,
    reference: Reference | None = None,
    printed: Cohort | None = None,
    chosen: Mapping[str, Mapping[str, PathName]] | None = None,
    remarks: Sequence[str] = (),
) -> Path:
    """Write tables (Markdown in one file, CSV and LaTeX one each), box plots, and where a system failed.

    Args:
        scores: Of one split, all systems.
        out: Receives report.md, tables/ and figures/.
        title: Heading; it should name the split and say what the cases are.
        reference: Whom the others are tested against.
        printed: Which of the paper's cohorts stands below ours.
        chosen: System -> organ -> path, chosen on validation; None leaves the list out.
        remarks: What else a reader of each table must know.

    Returns:
        report.md.
    """
    folder = out / "tables"
    folder.mkdir(parents=True, exist_ok=True)
    tables = tables_of(scores, reference=reference, printed=printed, remarks=remarks)
    for name, table in tables.items():
        (folder / f"{name}.csv").write_text(comma_separated(table))
        (folder / f"{name}.tex").write_text(latex(table))
    parts = [f"# {title}", "", *(markdown(table) for table in tables.values())]
    failures = [score for score in scores if score.error]
    if failures:
        parts.append(_failure_list(failures))
    if chosen:
        parts.append(_chosen_list(chosen, scores))
    for metric, (heading, _) in PRINTED_METRICS.items():
        save(box_plot(scores, metric), out / "figures" / metric)
        parts.append(f"![{heading}](figures/{metric}.png)\n")
    report = out / "report.md"
    report.write_text("\n".join(parts))
    return report


def chosen_paths(validation: Sequence[CaseScore]) -> dict[str, dict[str, PathName]]:
    """System -> organ -> better path, for systems with both learned paths; from validation cases alone."""
    both = ("segmentation", "registration")
    return {
        system: choose_paths(validation, system=system)
        for system in systems_in(validation)
        if set(both) <= set(paths_in(validation, system))
    }


def recommended(manifest: ModelManifest, validation: Sequence[CaseScore], *, system: str) -> ModelManifest:
    """The manifest of an exported model with the better of the service's two paths for every organ.

    Args:
        manifest: Of the model.
        validation: Scores of validation cases, never of test cases.
        system: The name under which the model was scored.
    """
    words: dict[PathName, RecommendedPath] = {"segmentation": "segmented", "service": "propagated"}
    better = choose_paths(validation, system=system, among=DELIVERED)
    organs = tuple(
        organ.model_copy(update={"recommended": words[better[organ.name]]}) if organ.name in better else organ
        for organ in manifest.organs
    )
    return manifest.model_copy(update={"organs": organs})


def write_evaluation(file: Path, sections: Mapping[str, Sequence[CaseScore]], *, system: str) -> None:
    """evaluation.json of an exported model: per split every score, the summaries, and the folded part of its field.

    The model's paths are called segmented, network and propagated; other systems that were scored with it, for
    example the affine alone, stand under their names. Cases have numbers by the order of their names: the file goes
    where the model goes, and pseudonyms stay with the scores.
    """
    content = {split: _section(scores, system) for split, scores in sections.items()}
    file.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")


def card_table(scores: Sequence[CaseScore], *, system: str) -> str:
    """The Markdown table of a model card: a row per organ and method."""
    head = "| organ | method | MSD mm, mean ± SD (median) | 95 % HD mm | Dice | empty |\n|---|---|---|---|---|---|"
    rows = [
        f"| {row['organ']} | {row['method']} | {_digits(row['msd_mean_mm'], 2)} ± {_digits(row['msd_sd_mm'], 2)} "
        f"({_digits(row['msd_median_mm'], 2)}) | {_digits(row['hd95_mean_mm'], 1)} "
        f"| {_digits(row['dice_mean'], 3)} | {row['missing']} of {row['cases']} |"
        for row in _summaries(scores, system)
    ]
    return "\n".join([head, *rows])


def _section(scores: Sequence[CaseScore], system: str) -> dict[str, object]:
    folded = [s.field.folded for s in scores if s.system == system and s.field is not None]
    number = {case: f"case-{n:03}" for n, case in enumerate(sorted({score.case for score in scores}), start=1)}
    rows = [
        {"case": number[score.case], "organ": row.organ, "method": _method(score.system, row.path, scores, system)}
        | {name: _json(value) for name, value in asdict(row).items() if name not in ("organ", "path")}
        for score in scores
        for row in score.organs
    ]
    return {
        "summaries": _summaries(scores, system),
        "scores": rows,
        "fraction_folded": sum(folded) / len(folded) if folded else None,
    }


def _summaries(scores: Sequence[CaseScore], system: str) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for organ in organs_in(scores):
        for other in systems_in(scores):
            for path in paths_in(scores, other):
                metrics: tuple[Metric, ...] = ("msd_mm", "hd95_mm", "dice", "added_mm")
                msd, hd95, dice, added = (
                    summarise(list(by_case(scores, system=other, path=path, organ=organ, metric=metric).values()))
                    for metric in metrics
                )
                rows.append(
                    {
                        "organ": organ,
                        "method": _method(other, path, scores, system),
                        "cases": msd.cases,
                        "missing": msd.missing,
                        "msd_mean_mm": _json(msd.mean),
                        "msd_sd_mm": _json(msd.sd),
                        "msd_median_mm": _json(msd.median),
                        "msd_lower_quartile_mm": _json(msd.lower_quartile),
                        "msd_upper_quartile_mm": _json(msd.upper_quartile),
                        "hd95_mean_mm": _json(hd95.mean),
                        "dice_mean": _json(dice.mean),
                        "added_path_mean_mm": _json(added.mean),
                    }
                )
    return rows


def _method(system: str, path: PathName, scores: Sequence[CaseScore], model: str) -> str:
    if system == model:
        return METHODS[path]
    return system if len(paths_in(scores, system)) == 1 else f"{system} {path}"


def _failure_list(failures: Sequence[CaseScore]) -> str:
    lines = ["### Failures", "", "| system | case | error |", "|---|---|---|"]
    lines += [f"| {score.system} | {score.case} | {score.error} |" for score in failures]
    advice = "All organs of these cases count as empty. To try again, delete scores/SYSTEM/CASE.json.  "
    return "\n".join([*lines, "", advice, ""])


def _chosen_list(chosen: Mapping[str, Mapping[str, PathName]], scores: Sequence[CaseScore]) -> str:
    organs = organs_in(scores)
    lines = ["### Path per organ, chosen on validation", "", f"| system | {' | '.join(organs)} |"]
    lines.append("|".join(["", *["---"] * (1 + len(organs)), ""]))
    for system, paths in chosen.items():
        cells = []
        for organ in organs:
            path = paths.get(organ)
            values = by_case(scores, system=system, path=path, organ=organ, metric="msd_mm") if path else {}
            cells.append(f"{path} {_digits(summarise(list(values.values())).mean, 2)} mm" if path and values else "-")
        lines.append(f"| {system} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", "Mean surface distance of this split by the path that validation chose.  ", ""])


def _json(value: object) -> object:
    """JSON has no infinity: a distance to nothing becomes null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _digits(value: object, decimals: int) -> str:
    return f"{value:.{decimals}f}" if isinstance(value, float) and math.isfinite(value) else "-"
