"""python -m training export RUN models/NAME/VERSION: a run becomes a model folder that the service accepts.

ONNX, golden case and manifest; a model that fails its own golden case on this machine is refused, as the service would
refuse it. Then the exported file itself is scored on the held-out cases, which gives the path to
recommend per organ (validation), evaluation.json and the tables of the model card. All is read before anything is
written, and the folder appears when it is complete.
"""

import argparse
import tomllib
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import ValidationError

from imaging.errors import ModelError
from imaging.model import Device, load_model
from phantom.case import CLINIC_A, VirtualPatient
from training.baselines.references import reference_systems
from training.checkpoint import CHECKPOINT, TrainedNetwork, read_network
from training.dataset import Dataset, HeldOutCase, Split, read_datasets
from training.durable import put_in_place
from training.evaluation.command import compare, update_model
from training.evaluation.network_system import exported_system
from training.evaluation.torch_system import cohorts_of, unfinished
from training.evaluation.unseen import remark_on
from training.export import Release, export
from training.model_card import write_card
from training.pairs import LabelledScan
from training.recipe import RECIPES

GOLDEN_SEED = 777
GOLDEN_PIXELS = 256
CARD_REFERENCES = ("no alignment", "affine", "affine + refinement")
VIRTUAL_RELEASE = RECIPES / "prostate-ct.release.toml"
"""Says that no patient data was used."""

TEMPLATE = RECIPES / "release.template.toml"
PLACEHOLDER = "FILL IN"


@dataclass(frozen=True, eq=False)
class Export:
    """What an export needs, read and found to fit together."""

    run: Path
    trained: TrainedNetwork
    dataset: Dataset
    splits: tuple[Split, ...]
    release: Release
    remarks: tuple[str, ...] = ()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `export`."""
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run, or the checkpoint in it")
    parser.add_argument("model", type=Path, metavar="MODEL", help="models/NAME/VERSION")
    parser.add_argument("--dataset", type=Path, nargs="+", required=True, help="with validation and test cases")
    parser.add_argument(
        "--release",
        type=Path,
        help=f"organs, intended use, data, limits: a copy of {TEMPLATE.name} with your words; virtual patients have "
        f"{VIRTUAL_RELEASE.name} where nothing is named",
    )
    parser.add_argument("--results", type=Path, help="folder for scores and pictures; default: RUN/evaluation")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="for the evaluation")
    parser.add_argument("--replace", action="store_true", help="put the new model in the place of an existing one")
    parser.add_argument("--unfinished", action="store_true", help="export a run that was stopped before its last step")


def run(arguments: argparse.Namespace) -> None:
    """Export, evaluate, and write the card.

    Raises:
        SystemExit: With what to do, if something is missing or does not fit, or the model differs from torch.
    """
    folder = arguments.run.parent if arguments.run.name == CHECKPOINT else arguments.run
    out: Path = arguments.model
    try:
        if out.exists() and not arguments.replace:
            raise ModelError(f"{out} is there already: take the next version, or --replace it")
        plan = plan_export(
            folder, arguments.dataset, release=arguments.release, out=out, accept_unfinished=arguments.unfinished
        )
        out.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=out.parent, prefix=".unfinished-") as part:
            identity = export_into(
                Path(part) / out.name, plan, results=arguments.results or folder / "evaluation", device=arguments.device
            )
            put_in_place(Path(part) / out.name, out)
    except (ModelError, OSError, ValueError) as error:
        raise SystemExit(f"export: {error}") from None
    print(f"{identity}: {out}")


def plan_export(
    run: Path, datasets: list[Path], *, release: Path | None, out: Path, accept_unfinished: bool = False
) -> Export:
    """Read all that an export needs.

    Args:
        run: Folder of the run.
        datasets: With the held-out cases.
        release: File with the words of people; None takes the one for virtual patients.
        out: models/NAME/VERSION.
        accept_unfinished: Whether a run that was stopped early may leave.

    Raises:
        FileNotFoundError: If the run has no network, or there is no dataset or release file.
        ModelError: If the run is not finished.
        ValueError: If the release file is not filled in or says that patients are virtual who are not, organs differ,
            or the network learned from a patient on whom it would be evaluated.
    """
    dataset = read_datasets(datasets)
    words = read_release(release_file(release, virtual=dataset.virtual), name=out.parent.name, version=out.name)
    trained = read_network(run)
    stopped = unfinished(trained)
    if stopped and not accept_unfinished:
        raise ModelError(f"the run is unfinished, {stopped}: train it to the end, or say --unfinished")
    if dataset.organs != trained.recipe.organs:
        raise ValueError(
            f"the network knows {', '.join(trained.recipe.organs)}, the dataset {', '.join(dataset.organs)}"
        )
    splits: list[Split] = [split for split in ("validation", "test") if dataset.case_names(split)]
    if not splits:
        raise ValueError("the dataset has no held-out patient: run `prepare` with --validation 0.2 --test 0.2")
    # Not the word under which tables have the exported file: the card speaks of the model alone.
    remark = remark_on("The network", cohorts_of(trained), dataset, splits)
    return Export(run, trained, dataset, tuple(splits), words, (remark,) if remark else ())


def export_into(folder: Path, plan: Export, *, results: Path, device: Device = "auto") -> str:
    """Write the model, test it, evaluate it, and write its card.

    Args:
        folder: Becomes the model's folder.
        plan: What to export.
        results: For scores and pictures.
        device: For the evaluation.

    Returns:
        NAME VERSION of the manifest.
    """
    manifest = export(plan.run, golden=golden_case(), release=plan.release, out=folder)
    model = load_model(folder, device=device)
    model.self_test()
    system = exported_system(manifest.identity, model, learned_from=cohorts_of(plan.trained))
    references = [one for one in reference_systems() if one.name in CARD_REFERENCES]
    sections = compare([*references, system], plan.dataset, plan.splits, results, threads=0)
    manifest = update_model(system, sections)
    write_card(folder, manifest, plan.trained, plan.release, sections, system=system.name, remarks=plan.remarks)
    return manifest.identity


def golden_case() -> HeldOutCase:
    """A virtual patient, because the golden case travels with the model: no patient may be in it."""
    patient = VirtualPatient(GOLDEN_SEED, CLINIC_A)
    planning, daily = patient.planning(in_plane=GOLDEN_PIXELS), patient.daily(1, in_plane=GOLDEN_PIXELS)
    sides = {
        "planning": LabelledScan(planning.volume, planning.labels),
        "daily": LabelledScan(daily.volume, daily.labels),
    }
    return HeldOutCase("golden", "golden", affine=daily.deformation.affine, **sides)


def release_file(wanted: Path | None, *, virtual: bool) -> Path:
    """The release file to take.

    Args:
        wanted: As named; None takes the one for virtual patients.
        virtual: Whether every patient is virtual.

    Raises:
        ValueError: If the one for virtual patients would speak for others.
    """
    file = wanted or VIRTUAL_RELEASE
    if not virtual and file.resolve() == VIRTUAL_RELEASE.resolve():
        raise ValueError(
            f"{VIRTUAL_RELEASE.name} says that all patients were virtual, and these are not: copy "
            f"training/recipes/{TEMPLATE.name}, fill it in, and name it with --release"
        )
    return file


def read_release(file: Path, *, name: str, version: str) -> Release:
    """The release settings in a TOML file, under the name and version of the model's folder.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no TOML, has other fields, or still has a placeholder of the template.
    """
    try:
        release = Release.model_validate(tomllib.loads(file.read_text()) | {"name": name, "version": version})
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{file.name} is no TOML: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{file.name}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    open_fields = [field for field, value in release.model_dump().items() if PLACEHOLDER in str(value)]
    if open_fields:
        raise ValueError(f"{file.name} still says {PLACEHOLDER} in {', '.join(open_fields)}: write there what is true")
    return release
