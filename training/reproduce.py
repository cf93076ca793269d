"""The papers' comparison on the two virtual clinics, from nothing to one page of results.

    python -m training reproduce --scale cpu --out runs/reproduction

Cohorts as DICOM, datasets, every network, every baseline, scores, tables. What is already there is kept, so that an
interrupted call goes on where it was. Clinic A stands in the place of the paper's first hospital (training and
validation), clinic B in that of its second (test).
"""

import argparse
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from functools import partial
from pathlib import Path

from tqdm import tqdm

from training.aliases import read_aliases
from training.checkpoint import read_network, stages_of
from training.cohort import ClinicName, draw_cohort
from training.cohort_command import write
from training.dataset import Split, cohort_hash, read_dataset
from training.evaluation.command import cases_of, compare
from training.evaluation.run import Protocol, evaluate
from training.evaluation.scores import CaseScore
from training.evaluation.statistics import by_case, summarise
from training.evaluation.system import System
from training.experiment import BLADDER_NETWORK, ClinicSize, Reproduction, read_reproduction
from training.prepare import Settings, prepare
from training.processes import processes
from training.recipe import Recipe
from training.reproduction_page import provenance, write_page
from training.train import train

REFERENCE = "Cross-stitch"


def reproduce(experiment: Reproduction) -> Path:
    """Do what is not yet done, and write the page.

    Returns:
        The page of results.
    """
    make_datasets(experiment)
    train_networks(experiment)
    validation = evaluate_split(experiment, "validation")
    kept = {method: best_of(systems, validation) for method, systems in experiment.tried().items()}
    test = evaluate_split(experiment, "test", kept=kept)
    page = experiment.out / "results" / "README.md"
    write_page(page, validation=validation, test=test, reference=REFERENCE, kept=kept, facts=list(_facts(experiment)))
    return page


def make_datasets(experiment: Reproduction) -> None:
    """Both clinics as DICOM, then as datasets: A for training and validation, B for the test."""
    scale = experiment.scale
    recipe = experiment.recipe(BLADDER_NETWORK)
    clinics: tuple[tuple[ClinicName, ClinicSize, float, float], ...] = (
        ("A", scale.clinic_a, scale.validation, 0.0),
        ("B", scale.clinic_b, 0.0, 1.0),
    )
    for clinic, size, validation, test in clinics:
        folder = experiment.out / "cohorts" / clinic
        cohort = draw_cohort(
            clinic,
            patients=size.patients,
            scans=size.scans,
            seed=scale.seed,
            in_plane=scale.in_plane,
            slices=scale.slices,
        )
        write(cohort, folder, workers=experiment.workers)
        settings = Settings(
            spacing_mm=recipe.spacing_mm,
            margin_voxels=scale.prepare_margin,
            validation=validation,
            test=test,
            seed=recipe.seed,
        )
        prepare(folder, experiment.data(clinic), settings=settings, aliases=read_aliases(), workers=experiment.workers)


def train_networks(experiment: Reproduction) -> None:
    """Every network of the experiment, several side by side."""
    missing = [system for system in experiment.networks if not _is_trained(experiment, system)]
    with (
        processes(experiment.workers) as pool,
        tqdm(total=len(missing), desc="networks", unit="network", smoothing=0) as bar,
    ):
        running = [pool.submit(_train_one, experiment, system) for system in missing]
        try:
            for finished in as_completed(running):
                bar.set_postfix_str(finished.result())
                bar.update()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def evaluate_split(
    experiment: Reproduction, split: Split, *, kept: Mapping[str, str] | None = None
) -> tuple[CaseScore, ...]:
    """Every system on the cases of a split, cases shared out among processes, then tables, figures and pictures.

    Args:
        experiment: What was trained.
        split: Whose cases.
        kept: As in `Reproduction.systems`.
    """
    names = tuple(cases_of(experiment.dataset(), split, days=experiment.scale.days))
    workers = min(experiment.workers, len(names))
    if workers > 1:
        shares = [names[first::workers] for first in range(workers)]
        with processes(workers) as pool:
            list(pool.map(partial(_evaluate_share, experiment, split, kept), shares))
    # What is not there yet, as where there is but one case, is done here.
    sections = compare(
        experiment.systems(kept=kept),
        experiment.dataset(),
        [split],
        experiment.out / "results",
        reference=REFERENCE,
        days=experiment.scale.days,
        pictures=1,
    )
    return sections[split]


def best_of(systems: Sequence[System], validation: Sequence[CaseScore]) -> str:
    """The name of the system with the smallest mean surface distance over organs and validation cases."""
    return min((system.name for system in systems), key=lambda name: _mean_over_organs(validation, name))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `reproduce`."""
    parser.add_argument("--scale", choices=("smoke", "cpu", "full"), required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder of everything; an interrupted one is continued")
    parser.add_argument("--workers", type=int, default=2, help="processes; 1 on a GPU")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")


def run(arguments: argparse.Namespace) -> None:
    """Reproduce, and say where the page is."""
    experiment = read_reproduction(arguments.scale, arguments.out, workers=arguments.workers, device=arguments.device)
    print(f"results: {reproduce(experiment)}")


def _is_trained(experiment: Reproduction, system: str) -> bool:
    try:
        trained = read_network(experiment.run(system))
    except FileNotFoundError:
        return False
    return _is_current(experiment, system) and trained.step >= trained.recipe.optimisation.steps


def _is_current(experiment: Reproduction, system: str) -> bool:
    """Whether what a run holds was made by the recipe and cohort of this experiment, from its first step on."""
    stages = stages_of(experiment.run(system))
    recipe, cohort = experiment.recipe(system), cohort_hash(read_dataset(experiment.data("A")).pairs("training"))
    return all(Recipe.model_validate_json(s.recipe) == recipe and s.cohort_hash == cohort for s in stages)


def _train_one(experiment: Reproduction, system: str) -> str:
    folder = experiment.run(system)
    if folder.exists() and not _is_current(experiment, system):
        shutil.rmtree(folder)
    pairs = read_dataset(experiment.data("A")).verified_pairs("training")
    several = experiment.workers > 1
    threads = 1 if several else 0
    train(experiment.recipe(system), pairs, run=folder, threads=threads, device=experiment.device, quiet=several)
    return system


def _evaluate_share(
    experiment: Reproduction, split: Split, kept: Mapping[str, str] | None, names: Sequence[str]
) -> None:
    dataset = experiment.dataset()
    cases = {name: partial(dataset.case, name) for name in names}
    protocol = Protocol(dataset.organs, dataset=dataset.sha256)
    evaluate(experiment.systems(kept=kept), cases, experiment.out / "results" / split, protocol)


def _facts(experiment: Reproduction) -> Iterator[str]:
    yield f"scale {experiment.name}; model grid {experiment.recipe(BLADDER_NETWORK).spacing_mm:g} mm"
    for clinic in ("A", "B"):
        dataset = read_dataset(experiment.data(clinic))
        counts = ", ".join(
            f"{split} {len(patients)} patients and {len(dataset.names(split))} pairs"
            for split, patients in dataset.facts.split.items()
            if patients
        )
        yield f"clinic {clinic}: {counts}"
    trained = {title: read_network(experiment.run(system)) for system, title in experiment.networks.items()}
    steps = sorted({one.step for one in trained.values()})
    minutes = sum(one.seconds for one in trained.values()) / 60
    for method, systems in experiment.tried().items():
        yield f"{method}: {len(systems)} settings tried on validation"
    if experiment.scale.iterations is not None:
        yield f"elastix, Hybrid and demons cut to {experiment.scale.iterations} iterations each: theirs is no result"
    yield f"{len(trained)} networks, {' or '.join(map(str, steps))} steps each, {minutes:.0f} minutes in training steps"
    yield from provenance(trained)


def _mean_over_organs(scores: Sequence[CaseScore], system: str) -> float:
    organs = {row.organ for score in scores if score.system == system for row in score.organs}
    means = [
        summarise(list(by_case(scores, system=system, path="registration", organ=organ, metric="msd_mm").values())).mean
        for organ in organs
    ]
    return sum(means) / len(means) if means else math.inf
