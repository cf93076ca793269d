"""Train a system from its recipe on one or more datasets; a run folder that holds a checkpoint is continued."""

import argparse
import math
from pathlib import Path

from training.dataset import read_datasets
from training.recipe import RECIPES, read_recipe, recipe_file
from training.train import train


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `train`."""
    parser.add_argument("--recipe", default="prostate-ct", help="name of one in training/recipes, or a TOML file")
    parser.add_argument(
        "--scale", choices=("smoke", "cpu", "full", "shipped"), help="values of recipes/scales/ over the recipe's"
    )
    parser.add_argument("--dataset", type=Path, nargs="+", required=True, help="folders of `prepare`")
    parser.add_argument("--run", type=Path, required=True, help="folder of checkpoint, network and TensorBoard events")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after this time; call again to go on")
    parser.add_argument("--threads", type=int, default=0, help="of the CPU; 0 for torch's choice")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")


def run(arguments: argparse.Namespace) -> None:
    """Train until the recipe's steps or the minutes are over.

    Raises:
        SystemExit: With what to do, if a file is missing or wrong, or dataset and recipe do not fit.
    """
    overlays = [RECIPES / "scales" / f"{arguments.scale}.toml"] if arguments.scale else []
    try:
        recipe = read_recipe(recipe_file(arguments.recipe), *overlays)
        dataset = read_datasets(arguments.dataset)
        if dataset.spacing_mm != recipe.spacing_mm or dataset.organs != recipe.organs:
            raise SystemExit(
                f"the dataset has {', '.join(dataset.organs)} at {dataset.spacing_mm} mm, the recipe wants "
                f"{', '.join(recipe.organs)} at {recipe.spacing_mm} mm: "
                f"run `python -m training prepare --spacing {recipe.spacing_mm}`"
            )
        train(
            recipe,
            dataset.verified_pairs("training"),
            run=arguments.run,
            minutes=arguments.minutes,
            threads=arguments.threads,
            device=arguments.device,
        )
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(str(error)) from None
