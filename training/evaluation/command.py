"""python -m training evaluate: systems on the held-out cases of a dataset, as scores, tables, figures and pictures.

    python -m training evaluate --systems RUN_OR_MODEL ... --dataset DATASET --split validation test --out FOLDER

FOLDER/SPLIT/ holds scores, outlines, report.md, tables, figures and pictures. What is there already is not done again.
The path per organ is chosen on validation cases alone; tables of the test split use that choice.
"""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from imaging.errors import ModelError
from imaging.manifest import ModelManifest
from training.dataset import Dataset, Split, read_datasets
from training.evaluation.chosen import Chosen, read_chosen, write_chosen
from training.evaluation.loading import named_systems
from training.evaluation.network_system import NetworkSystem
from training.evaluation.paper import Cohort
from training.evaluation.pictures import draw_worst
from training.evaluation.report import card_table, recommended, write_evaluation, write_report
from training.evaluation.run import Cases, Protocol, evaluate, slug
from training.evaluation.scores import CaseScore
from training.evaluation.statistics import Reference
from training.evaluation.system import System
from training.evaluation.unseen import check_unseen
from training.names import patient_of

PRINTED: dict[Split, Cohort] = {"validation": "HMC", "test": "EMC"}
"""The paper's cohort with the same part in the comparison."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command understands."""
    parser.add_argument(
        "--systems",
        nargs="+",
        required=True,
        metavar="SYSTEM",
        help="[NAME=]FOLDER of a run or an exported model; or references, the name of one of them, or elastix or "
        "hybrid=RUN at all their settings (RUN: whose segmentation gives the bladder)",
    )
    parser.add_argument("--dataset", nargs="+", type=Path, required=True, help="prepared datasets, read as one")
    parser.add_argument("--split", nargs="+", choices=["validation", "test"], default=["validation"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--reference", help="system that the others are tested against; cross-stitch-b if it is there")
    parser.add_argument("--tolerance-mm", type=float, default=0.0, help="of the added path length")
    parser.add_argument("--pictures", type=int, default=3, help="worst answers to draw per system")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU, for every system; 0 for their own choice")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument(
        "--update-model",
        action="store_true",
        help="write evaluation.json and the recommended paths into the folder of the one exported model",
    )


def run(arguments: argparse.Namespace) -> None:
    """Do what the command line says.

    Raises:
        SystemExit: With what to do, if systems and cases are not there or do not fit.
    """
    # In the order of deciding: the test tables need the paths that validation chose.
    order: tuple[Split, ...] = ("validation", "test")
    splits = [split for split in order if split in arguments.split]
    try:
        dataset = read_datasets(arguments.dataset)
        systems = named_systems(arguments.systems, device=arguments.device, threads=arguments.threads)
        models = [system for system in systems if isinstance(system, NetworkSystem) and system.exported]
        if arguments.update_model and len(models) != 1:
            raise ModelError(f"--update-model needs exactly one exported model among the systems, not {len(models)}")
        check(systems, dataset, splits, reference=arguments.reference)
    except (ModelError, OSError, ImportError, ValueError) as error:
        raise SystemExit(f"evaluate: {error}") from None
    sections = compare(
        systems,
        dataset,
        splits,
        arguments.out,
        reference=arguments.reference,
        tolerance_mm=arguments.tolerance_mm,
        pictures=arguments.pictures,
        threads=arguments.threads,
    )
    for split in splits:
        print(arguments.out / split / "report.md")
        failed = sum(bool(score.error) for score in sections[split])
        if failed:
            print(f"{failed} answers failed and count as empty, see Failures in the report")
    for model in models:
        write_evaluation(arguments.out / f"{slug(model.name)}.evaluation.json", sections, system=model.name)
    if arguments.update_model:
        update_model(models[0], sections)


def check(
    systems: Sequence[System], dataset: Dataset, splits: Sequence[Split], *, reference: str | None = None
) -> tuple[str, ...]:
    """Refuse what would end in no numbers or in wrong ones, before anything is computed.

    Args:
        systems: To be compared.
        dataset: On whose cases.
        splits: Of this dataset.
        reference: As wished for.

    Returns:
        What readers of the tables must know of the systems: unfinished training, unknown training patients.

    Raises:
        ValueError: If a split has no case, two systems one name, or the reference is not among them.
        SeenPatient: As `check_unseen`.
    """
    for split in splits:
        if not dataset.case_names(split):
            raise ValueError(f"the dataset has no {split} patient: run `prepare` with --{split} 0.2")
    names = [system.name for system in systems]
    if len({slug(name) for name in names}) < len(names):
        raise ValueError("two systems have the same name, or names that differ in signs only: write NAME=FOLDER")
    if reference is not None and reference not in names:
        raise ValueError(f"the reference {reference} is not among the systems: {', '.join(names)}")
    for system in systems:
        if isinstance(system, NetworkSystem) and system.organs != dataset.organs:
            raise ValueError(
                f"{system.name} knows {', '.join(system.organs)}, the dataset has {', '.join(dataset.organs)}: run "
                "`prepare` with the organs of the network"
            )
    stopped = {system.name: system.unfinished for system in systems if isinstance(system, NetworkSystem)}
    unfinished = [f"{name} is unfinished: {step}." for name, step in stopped.items() if step]
    return (*unfinished, *check_unseen(systems, dataset, splits))


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
    threads: int = 1,
    progress: bool = True,
) -> dict[str, tuple[CaseScore, ...]]:
    """Evaluate systems on splits of a dataset and write everything that is to be seen of it.

    Args:
        systems: In the order of the tables.
        dataset: Whose cases.
        splits: 'validation' before 'test', because it chooses the paths.
        out: Receives a folder per split, and paths.json with the path chosen per system and organ.
        reference: System that the others are tested against; None takes the published cross-stitch network, or else
            the first one called cross-stitch.
        tolerance_mm: Of the added path length.
        days: Of each patient that are evaluated, first ones first; None for all.
        pictures: Worst answers to draw per system.
        threads: CPU threads of every system, 0 for their own choice; see `named_systems` for those told earlier.
        progress: Show a bar.

    Returns:
        Split -> its scores.

    Raises:
        ValueError: As `check`.
    """
    remarks = check(systems, dataset, splits, reference=reference)
    protocol = Protocol(dataset.organs, tolerance_mm=tolerance_mm, dataset=dataset.sha256, threads=threads)
    sections: dict[str, tuple[CaseScore, ...]] = {}
    for split in splits:
        cases, folder = cases_of(dataset, split, days=days), out / split
        sections[split] = evaluate(systems, cases, folder, protocol, progress=progress)
        if split == "validation":
            write_chosen(out / "paths.json", sections[split], systems, protocol)
        chosen, stale = read_chosen(out / "paths.json", systems, protocol)
        write_report(
            sections[split],
            folder,
            title=f"{split.capitalize()}: {len(cases)} cases",
            reference=reference_of(systems, reference, chosen),
            printed=PRINTED.get(split),
            chosen=chosen,
            remarks=(*remarks, *stale),
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


def reference_of(systems: Sequence[System], wanted: str | None, chosen: Chosen) -> Reference | None:
    """The system that the others are tested against, on the paths that validation chose for it.

    Args:
        systems: That are compared.
        wanted: Its name; None takes the published cross-stitch network (variant b, which the reproduction calls by the
            paper's name), or else the first one called cross-stitch, or else none.
        chosen: Paths by system.
    """
    crossed = [system.name for system in systems if system.name.lower().startswith("cross-stitch")]
    published = [name for name in crossed if slug(name) in ("cross-stitch", "cross-stitch-b")]
    name = wanted or next(iter([*published, *crossed]), None)
    return None if name is None else Reference(name, chosen.get(name, {}))
