"""The papers' comparison on the two virtual clinics, from nothing to one page of results.

    python -m training reproduce --scale cpu --out runs/reproduction

Cohorts as DICOM, datasets, every network, every baseline, scores, tables. What is already there is kept, so that an
interrupted call goes on where it was. Clinic A stands in the place of the paper's first hospital (training and
validation), clinic B in that of its second (test).
"""

import argparse
import math
import shutil
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydantic import Field
from tqdm import tqdm

from imaging.model import Device
from training.aliases import read_aliases
from training.baselines.elastix import elastix_systems
from training.baselines.references import reference_systems
from training.checkpoint import read_network, stages_of
from training.cohort import ClinicName, complete_cohort, draw_cohort, missing_scans
from training.dataset import Dataset, Split, cohort_hash, read_dataset, read_datasets
from training.evaluation.command import cases_of, compare
from training.evaluation.loading import hybrid_system, network_system
from training.evaluation.run import Protocol, evaluate
from training.evaluation.scores import CaseScore
from training.evaluation.statistics import by_case, summarise
from training.evaluation.system import System
from training.prepare import Settings, prepare
from training.processes import processes
from training.recipe import RECIPES, Recipe, RecipePart, read_recipe
from training.reproduction_page import provenance, write_page
from training.train import train

FILE = Path(__file__).parent / "reproduction.toml"
REFERENCE = "Cross-stitch"
BLADDER_NETWORK = "segmentation-a"


class ClinicSize(RecipePart):
    """How many patients and scans; as many scans as the paper's where none are named."""

    patients: int
    scans: int | None = None


class Scale(RecipePart):
    """How large the experiment is."""

    in_plane: int
    slices: int | None = None
    seed: int
    clinic_a: ClinicSize
    clinic_b: ClinicSize
    validation: float = Field(description="Share of clinic A's patients")
    prepare_margin: int = Field(description="Voxels of the model grid round the organs")
    days: int | None = Field(default=None, description="Evaluated of each held-out patient; None: all")


@dataclass(frozen=True)
class Reproduction:
    """One experiment in one folder.

    Attributes:
        name: Of the scale.
        scale: Its size.
        networks: Recipe -> name in the tables.
        out: Folder of everything.
        workers: Processes side by side, one thread each where there are several.
        device: 'auto' takes CUDA where there is one.
    """

    name: str
    scale: Scale
    networks: dict[str, str]
    out: Path
    workers: int
    device: Device = "auto"

    def recipe(self, system: str) -> Recipe:
        """The recipe of a system at this scale."""
        return read_recipe(RECIPES / f"{system}.toml", RECIPES / "scales" / f"{self.name}.toml")

    def data(self, clinic: str) -> Path:
        """The dataset of a clinic."""
        return self.out / "data" / clinic

    def run(self, system: str) -> Path:
        """The run of a network."""
        return self.out / "runs" / system

    def dataset(self) -> Dataset:
        """Both clinics as one: A holds the training and validation patients, B those of the test."""
        return read_datasets([self.data("A"), self.data("B")])

    def systems(self, *, elastix: Sequence[str] | str | None = None) -> list[System]:
        """References, elastix, Hybrid, and the networks, in the order of the tables.

        Args:
            elastix: Names of its settings; None for all.
        """
        wanted = [elastix] if isinstance(elastix, str) else elastix
        registrations = [one for one in elastix_systems(threads=1) if wanted is None or one.name in wanted]
        hybrid = hybrid_system(self.run(BLADDER_NETWORK), device=self.device)
        networks = [
            network_system(title, self.run(system), device=self.device) for system, title in self.networks.items()
        ]
        return [*reference_systems(), *registrations, hybrid, *networks]


def read_reproduction(scale: str, out: Path, *, workers: int, device: Device = "auto") -> Reproduction:
    """The experiment of `reproduction.toml` at one scale."""
    content = tomllib.loads(FILE.read_text())
    return Reproduction(
        scale, Scale.model_validate(content["scales"][scale]), content["networks"], out, workers, device
    )


def reproduce(experiment: Reproduction) -> Path:
    """Do what is not yet done, and write the page.

    Returns:
        The page of results.
    """
    make_datasets(experiment)
    train_networks(experiment)
    everything = experiment.systems()
    validation = evaluate_split(experiment, "validation", everything)
    best = best_elastix(validation)
    kept = experiment.systems(elastix=best)
    test = evaluate_split(experiment, "test", kept)
    page = experiment.out / "results" / "README.md"
    write_page(
        page, validation=validation, test=test, reference=REFERENCE, elastix=best, facts=list(_facts(experiment))
    )
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
        written = complete_cohort(cohort, folder, workers=experiment.workers)
        for _ in tqdm(written, total=len(missing_scans(cohort, folder)), desc=f"clinic {clinic}", unit="scan"):
            pass
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


def evaluate_split(experiment: Reproduction, split: Split, systems: Sequence[System]) -> tuple[CaseScore, ...]:
    """Every system on the cases of a split, cases shared out among processes, then tables, figures and pictures."""
    names = tuple(cases_of(experiment.dataset(), split, days=experiment.scale.days))
    shares = [names[first :: experiment.workers] for first in range(experiment.workers)]
    elastix = [system.name for system in systems if system.name in _elastix_names()]
    with processes(experiment.workers) as pool:
        list(pool.map(partial(_evaluate_share, experiment, split, elastix), [share for share in shares if share]))
    sections = compare(
        systems,
        experiment.dataset(),
        [split],
        experiment.out / "results",
        reference=REFERENCE,
        days=experiment.scale.days,
        pictures=1,
    )
    return sections[split]


def best_elastix(validation: Sequence[CaseScore]) -> str:
    """The setting of elastix with the smallest mean surface distance over organs and validation cases."""
    return min(_elastix_names(), key=lambda name: _mean_over_organs(validation, name))


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
    pairs = read_dataset(experiment.data("A")).pairs("training")
    several = experiment.workers > 1
    threads = 1 if several else 0
    train(experiment.recipe(system), pairs, run=folder, threads=threads, device=experiment.device, quiet=several)
    return system


def _evaluate_share(experiment: Reproduction, split: Split, elastix: Sequence[str], names: Sequence[str]) -> None:
    dataset = experiment.dataset()
    cases = {name: partial(dataset.case, name) for name in names}
    protocol = Protocol(dataset.organs, dataset=dataset.sha256)
    evaluate(experiment.systems(elastix=elastix), cases, experiment.out / "results" / split, protocol)


def _elastix_names() -> list[str]:
    return [system.name for system in elastix_systems(threads=1)]


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
    yield f"{len(trained)} networks, {' or '.join(map(str, steps))} steps each, {minutes:.0f} minutes in training steps"
    yield from provenance(trained)


def _mean_over_organs(scores: Sequence[CaseScore], system: str) -> float:
    organs = {row.organ for score in scores if score.system == system for row in score.organs}
    means = [
        summarise(list(by_case(scores, system=system, path="registration", organ=organ, metric="msd_mm").values())).mean
        for organ in organs
    ]
    return sum(means) / len(means) if means else math.inf
