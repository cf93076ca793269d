"""python -m training prepare | train | export | evaluate; see README.md."""

import argparse
import math
from pathlib import Path

from tqdm import tqdm

from imaging.model import load_model
from training.evaluate import evaluate, markdown_table, recommended, summarise, write_report
from training.export import export, read_release, write_manifest
from training.held_out import prepare_cases, read_cases
from training.pairs import prepare
from training.recipe import RECIPES, read_recipe
from training.train import train


def main() -> None:
    """Read the command line and do one step; settings are the recipe's, not the command line's."""
    arguments = _parser().parse_args()
    arguments.command(arguments)


def _prepare(arguments: argparse.Namespace) -> None:
    recipe = read_recipe(arguments.recipe)
    cohort, folder = recipe.cohort, arguments.cohort
    makers = {
        "training": (cohort.training, prepare(recipe, cohort.training, folder / "training")),
        "validation": (cohort.validation, prepare_cases(cohort.validation, folder / "validation")),
        "test": (cohort.test, prepare_cases(cohort.test, folder / "test")),
    }
    for name in arguments.splits:
        splits, made = makers[name]
        total = sum(split.patients * split.fractions for split in splits)
        for _ in tqdm(made, total=total, desc=name, unit="pair"):
            pass


def _train(arguments: argparse.Namespace) -> None:
    train(
        read_recipe(arguments.recipe),
        cohort=arguments.cohort / "training",
        run=arguments.run,
        minutes=arguments.minutes,
        threads=arguments.threads,
        device=arguments.device,
    )


def _export(arguments: argparse.Namespace) -> None:
    manifest = export(
        arguments.run / "checkpoint.pt",
        cohort=arguments.cohort,
        release=read_release(arguments.release),
        out=arguments.model,
    )
    print(f"{manifest.identity}: {manifest.recipe}")


def _evaluate(arguments: argparse.Namespace) -> None:
    model = load_model(arguments.model, device=arguments.device)
    sections, folded = {}, {}
    for name in arguments.splits:
        count = len(list((arguments.cohort / name).glob("*/case.json")))
        results = list(tqdm(evaluate(read_cases(arguments.cohort / name), model), total=count, desc=name, unit="case"))
        sections[name] = [score for scores, _ in results for score in scores]
        folded[name] = sum(part for _, part in results) / len(results)
        print(f"{name}, folded {folded[name]:.4%}\n{markdown_table(summarise(sections[name]))}")
    if "validation" in sections:
        write_manifest(recommended(model.manifest, summarise(sections["validation"])), arguments.model)
    write_report(arguments.model / "evaluation.json", sections, folded)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    steps = parser.add_subparsers(required=True)

    step = steps.add_parser("prepare", help="make the cohort's pairs and store them on the model grid")
    _add_recipe_and_cohort(step)
    step.add_argument("--splits", nargs="+", default=["training", "validation", "test"])
    step.set_defaults(command=_prepare)

    step = steps.add_parser("train", help="train, or go on with the run in a folder")
    _add_recipe_and_cohort(step)
    step.add_argument("--run", type=Path, required=True, help="folder of checkpoint, recipe and TensorBoard events")
    step.add_argument("--minutes", type=float, default=math.inf, help="stop after this time; call again to go on")
    step.add_argument("--threads", type=int, default=0)
    step.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    step.set_defaults(command=_train)

    step = steps.add_parser("export", help="a run becomes a model folder, refused where it differs from torch")
    _add_cohort(step)
    step.add_argument("--run", type=Path, required=True)
    step.add_argument("--release", type=Path, default=RECIPES / "prostate-ct.release.toml")
    step.add_argument("--model", type=Path, required=True, help="models/<name>/<version>")
    step.set_defaults(command=_export)

    step = steps.add_parser("evaluate", help="score a model folder; validation cases decide the recommended paths")
    _add_cohort(step)
    step.add_argument("--model", type=Path, required=True)
    step.add_argument("--splits", nargs="+", default=["validation", "test"])
    step.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    step.set_defaults(command=_evaluate)
    return parser


def _add_recipe_and_cohort(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--recipe", type=Path, default=RECIPES / "prostate-ct.toml")
    _add_cohort(parser)


def _add_cohort(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cohort", type=Path, required=True, help="folder of the stored pairs and cases")


if __name__ == "__main__":
    main()
