"""python -m training prepare | train | export | evaluate; see README.md."""

import argparse
import math
from pathlib import Path

from training.recipe import RECIPES, read_recipe


def main() -> None:
    """Read the command line and do one step; settings are the recipe's, not the command line's."""
    arguments = _parser().parse_args()
    arguments.command(arguments)


def _prepare(arguments: argparse.Namespace) -> None:
    from tqdm import tqdm

    from training.pairs import prepare

    recipe = read_recipe(arguments.recipe)
    cohort = recipe.cohort
    for name, splits in (("training", cohort.training), ("validation", cohort.validation), ("test", cohort.test)):
        if name in arguments.splits:
            count = sum(split.patients * split.fractions for split in splits)
            for _ in tqdm(prepare(recipe, splits, arguments.cohort / name), total=count, desc=name, unit="pair"):
                pass


def _train(arguments: argparse.Namespace) -> None:
    from training.train import train

    train(
        read_recipe(arguments.recipe),
        cohort=arguments.cohort / "training",
        run=arguments.run,
        minutes=arguments.minutes,
        threads=arguments.threads,
        device=arguments.device,
    )


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
    return parser


def _add_recipe_and_cohort(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--recipe", type=Path, default=RECIPES / "prostate-ct.toml")
    parser.add_argument("--cohort", type=Path, required=True, help="folder of the stored pairs")


if __name__ == "__main__":
    main()
