"""python -m training evaluate: systems on the held-out cases of a dataset, as scores, tables, figures and pictures.

    python -m training evaluate --systems RUN_OR_MODEL ... --dataset DATASET --split validation test --out FOLDER

FOLDER/SPLIT/ holds scores, outlines, report.md, tables, figures and pictures. What is there already is not done again.
The path per organ is chosen on validation cases alone; tables of the test split use that choice.
"""

import argparse
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from imaging.errors import ModelError
from imaging.manifest import ModelManifest
from training.dataset import Dataset, Split, patient_of, read_datasets
from training.evaluation.loading import named_systems
from training.evaluation.network_system import NetworkSystem
from training.evaluation.paper import Cohort
from training.evaluation.pictures import draw_worst
from training.evaluation.report import card_table, chosen_paths, recommended, write_evaluation, write_report
from training.evaluation.run import Cases, Protocol, evaluate, slug
from training.evaluation.scores import CaseScore
from training.evaluation.statistics import Reference
from training.evaluation.system import PathName, System

PRINTED: dict[Split, Cohort] = {"validation": "HMC", "test": "EMC"}
"""The paper's cohort with the same part in the comparison."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command understands."""
    parser.add_argument(
        "--systems",
        nargs="+",
        required=True,
        metavar="SYSTEM",
        help="[NAME=]FOLDER of a run or an exported model; or references, the name of one of them, elastix",
    )
    parser.add_argument("--dataset", nargs="+", type=Path, required=True, help="prepared datasets, read as one")
    parser.add_argument("--split", nargs="+", choices=["validation", "test"], default=["validation"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--reference", help="system that the others are tested against; the first cross-stitch one")
    parser.add_argument("--tolerance-mm", type=float, default=0.0, help="of the added path length")
    parser.add_argument("--pictures", type=int, default=3, help="worst answers to draw per system")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument(
        "--update-model",
        action="store_true",
        help="write evaluation.json and the recommended paths into the folder of the one exported model",
    )


def run(arguments: argparse.Namespace) -> None:
    """Do what the command line says.

    Raises:
        ModelError: If a folder holds no system, or there is not exactly one model to update.
    """
    systems = named_systems(arguments.systems, device=arguments.device)
    # In the order of deciding: the test tables need the paths that validation chose.
    order: tuple[Split, ...] = ("validation", "test")
    splits = [split for split in order if split in arguments.split]
    sections = compare(
        systems,
        read_datasets(arguments.dataset),
        splits,
        arguments.out,
        reference=arguments.reference,
        tolerance_mm=arguments.tolerance_mm,
        pictures=arguments.pictures,
    )
    for split in splits:
        print(arguments.out / split / "report.md")
    models = [system for system in systems if isinstance(system, NetworkSystem) and system.exported]
    for model in models:
        write_evaluation(arguments.out / f"{slug(model.name)}.evaluation.json", sections, system=model.name)
    if arguments.update_model:
        if len(models) != 1:
            raise ModelError(f"--update-model needs exactly one exported model among the systems, not {len(models)}")
        update_model(models[0], sections)


def compare(
    systems: Sequence[System],
    dataset: Dataset,
    splits: Sequence[Split],
    out: Path,
    *,
    reference: str | None = None,
    tolerance_mm: float = 0.0,
    days: int | None = None,
    pictures: int = 3,
    progress: bool = True,
) -> dict[str, tuple[CaseScore, ...]]:
    """Evaluate systems on splits of a dataset and write everything that is to be seen of it.

    Args:
        systems: In the order of the tables.
        dataset: Whose cases.
        splits: 'validation' before 'test', because it chooses the paths.
        out: Receives a folder per split, and paths.json with the path chosen per system and organ.
        reference: System that the others are tested against; None takes the first one called cross-stitch.
        tolerance_mm: Of the added path length.
        days: Of each patient that are evaluated, first ones first; None for all.
        pictures: Worst answers to draw per system.
        progress: Show a bar.

    Returns:
        Split -> its scores.
    """
    protocol = Protocol(dataset.organs, tolerance_mm=tolerance_mm, dataset=dataset.sha256)
    sections: dict[str, tuple[CaseScore, ...]] = {}
    for split in splits:
        cases, folder = cases_of(dataset, split, days=days), out / split
        sections[split] = evaluate(systems, cases, folder, protocol, progress=progress)
        if split == "validation":
            (out / "paths.json").write_text(json.dumps(chosen_paths(sections[split]), indent=1) + "\n")
        chosen = read_chosen(out)
        write_report(
            sections[split],
            folder,
            title=f"{split.capitalize()}: {len(cases)} cases",
            reference=_reference(systems, reference, chosen),
            printed=PRINTED.get(split),
            chosen=chosen,
        )
        for system in systems:
            for _ in draw_worst(
                sections[split], cases, folder, system=system.name, organs=dataset.organs, count=pictures
            ):
                pass
    return sections


def cases_of(dataset: Dataset, split: Split, *, days: int | None = None) -> Cases:
    """The cases of a split, each read when it is needed; of every patient all days, or the first ones."""
    by_patient: dict[str, list[str]] = {}
    for name in dataset.case_names(split):
        by_patient.setdefault(patient_of(name), []).append(name)
    kept = [name for names in by_patient.values() for name in names[:days]]
    return {name: partial(dataset.case, name) for name in kept}


def read_chosen(out: Path) -> dict[str, dict[str, PathName]]:
    """System -> organ -> path as validation chose; empty where validation was not evaluated into this folder."""
    file = out / "paths.json"
    content: dict[str, dict[str, PathName]] = json.loads(file.read_text()) if file.is_file() else {}
    return content


def update_model(system: NetworkSystem, sections: dict[str, tuple[CaseScore, ...]]) -> ModelManifest:
    """Write evaluation.json, and with validation scores the recommended paths, into a model's folder.

    Returns:
        The manifest as it is now.
    """
    folder, manifest = system.model.folder, system.model.manifest
    write_evaluation(folder / "evaluation.json", sections, system=system.name)
    if "validation" in sections:
        manifest = recommended(manifest, sections["validation"], system=system.name)
        (folder / "manifest.json").write_text(manifest.model_dump_json(indent=2) + "\n")
    for split, scores in sections.items():
        print(f"{split}\n{card_table(scores, system=system.name)}")
    return manifest


def _reference(
    systems: Sequence[System], wanted: str | None, chosen: dict[str, dict[str, PathName]]
) -> Reference | None:
    names = [system.name for system in systems]
    if wanted is not None and wanted not in names:
        raise ValueError(f"the reference {wanted} is not among the systems: {', '.join(names)}")
    name = wanted or next((name for name in names if name.lower().startswith("cross-stitch")), None)
    return None if name is None else Reference(name, chosen.get(name, {}))
