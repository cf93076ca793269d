"""Every recipe that is shipped can be read, and the paper's says what the paper says."""

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="training needs the extra 'training'")

from training.recipe import read_recipe

FOLDER = Path(__file__).parents[2] / "training" / "recipes"


@pytest.mark.parametrize("name", ["paper", "prostate-ct"])
def test_a_shipped_recipe_is_valid_and_bears_its_name(name: str) -> None:
    assert read_recipe(FOLDER / f"{name}.toml").name == name


def test_the_papers_recipe_has_its_published_numbers() -> None:
    """Beljaards et al., MIDL 2020: section 3 and the authors' code."""
    recipe = read_recipe(FOLDER / "paper.toml")
    sampling = recipe.sampling
    assert (recipe.spacing_mm, sampling.patch_size, sampling.patches, sampling.roles) == (1.0, 96, 2, "both")
    weights = recipe.loss
    assert (weights.dice_segmentation, weights.dice_registration, weights.ncc, weights.bending) == (1, 1, 1, 0.5)
    assert weights.cross_entropy == 0
    assert weights.levels == pytest.approx((1 / 3,) * 3)
    assert (recipe.optimisation.steps, recipe.optimisation.learning_rate) == (200_000, 1e-4)
    assert (recipe.hu_window.lower, recipe.hu_window.upper, recipe.hu_window.divisor) == (-1000, 1000, 1000)
