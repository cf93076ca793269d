"""python -m training export RUN models/NAME/VERSION: a run becomes a model folder that the service accepts.

ONNX, golden case and manifest; a model that fails its own golden case on this machine is refused, as the service would
refuse it. Then the exported file itself is scored on the held-out cases, which gives the path to
recommend per organ (validation), evaluation.json and the tables of the model card.
"""

import argparse
import tomllib
from pathlib import Path

from imaging.errors import ModelError
from imaging.model import load_model
from phantom.case import CLINIC_A, VirtualPatient
from training.baselines.references import reference_systems
from training.checkpoint import CHECKPOINT, read_network
from training.dataset import HeldOutCase, Split, read_datasets
from training.evaluation.command import compare, update_model
from training.evaluation.network_system import exported_system
from training.export import Release, export
from training.model_card import write_card
from training.pairs import LabelledScan
from training.recipe import RECIPES

GOLDEN_SEED = 777
GOLDEN_PIXELS = 256
CARD_REFERENCES = ("no alignment", "affine", "affine + refinement")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `export`."""
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run, or the checkpoint in it")
    parser.add_argument("model", type=Path, metavar="MODEL", help="models/NAME/VERSION")
    parser.add_argument("--dataset", type=Path, nargs="+", required=True, help="with validation and test cases")
    parser.add_argument(
        "--release", type=Path, default=RECIPES / "prostate-ct.release.toml", help="organs, intended use"
    )
    parser.add_argument("--results", type=Path, help="folder for scores and pictures; default: RUN/evaluation")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="for the evaluation")


def run(arguments: argparse.Namespace) -> None:
    """Export, evaluate, and write the card.

    Raises:
        SystemExit: With what to do, if there is no network, or it differs from torch after the export.
    """
    folder = arguments.run.parent if arguments.run.name == CHECKPOINT else arguments.run
    out: Path = arguments.model
    try:
        release = read_release(arguments.release, name=out.parent.name, version=out.name)
        trained = read_network(folder)
        manifest = export(folder, golden=golden_case(), release=release, out=out)
        model = load_model(out, device=arguments.device)
        model.self_test()
        dataset = read_datasets(arguments.dataset)
        splits: list[Split] = [split for split in ("validation", "test") if dataset.case_names(split)]
        system = exported_system(manifest.identity, model)
        references = [one for one in reference_systems() if one.name in CARD_REFERENCES]
        sections = compare([*references, system], dataset, splits, arguments.results or folder / "evaluation")
        manifest = update_model(system, sections)
    except (ModelError, FileNotFoundError, ValueError) as error:
        raise SystemExit(str(error)) from None
    write_card(out, manifest, trained, release, sections, system=system.name)
    print(f"{manifest.identity}: {out}")


def golden_case() -> HeldOutCase:
    """A virtual patient, because the golden case travels with the model: no patient may be in it."""
    patient = VirtualPatient(GOLDEN_SEED, CLINIC_A)
    planning, daily = patient.planning(in_plane=GOLDEN_PIXELS), patient.daily(1, in_plane=GOLDEN_PIXELS)
    sides = {
        "planning": LabelledScan(planning.volume, planning.labels),
        "daily": LabelledScan(daily.volume, daily.labels),
    }
    return HeldOutCase("golden", "golden", affine=daily.deformation.affine, **sides)


def read_release(file: Path, *, name: str, version: str) -> Release:
    """The release settings in a TOML file, under the name and version of the model's folder."""
    return Release.model_validate(tomllib.loads(file.read_text()) | {"name": name, "version": version})
