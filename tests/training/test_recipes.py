"""Every recipe that is shipped can be read, and the papers' systems say what the papers say."""

import pytest
from pydantic import ValidationError

from training.recipe import RECIPES, Recipe, read_recipe

SYSTEMS = sorted(file.stem for file in RECIPES.glob("*.toml") if file.stem != "base" and "release" not in file.name)
SCALES = sorted((RECIPES / "scales").glob("*.toml"))


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_shipped_recipe_is_valid_at_every_scale_and_bears_its_name(name: str) -> None:
    assert read_recipe(RECIPES / f"{name}.toml").name == name
    for scale in SCALES:
        assert read_recipe(RECIPES / f"{name}.toml", scale).name == name


def test_the_published_network_is_trained_by_its_published_numbers() -> None:
    """Beljaards et al., MIDL 2020: section 3 and the authors' code."""
    recipe = read_recipe(RECIPES / "cross-stitch-b.toml")
    sampling = recipe.sampling
    assert (recipe.spacing_mm, sampling.patch_size, sampling.patches, sampling.roles) == (1.0, 96, 2, "both")
    weights = recipe.loss
    assert (weights.dice_segmentation, weights.dice_registration, weights.ncc, weights.bending) == (1, 1, 1, 0.5)
    assert weights.cross_entropy == 0
    assert weights.levels == pytest.approx((1 / 3,) * 3)
    assert (recipe.optimisation.steps, recipe.optimisation.learning_rate) == (200_000, 1e-4)
    assert recipe.optimisation.decay_steps == 0
    assert (recipe.hu_window.lower, recipe.hu_window.upper, recipe.hu_window.divisor) == (-1000, 1000, 1000)
    assert recipe.network.widths == (16, 32, 64)


def test_a_scale_makes_no_system_another_one() -> None:
    """Its settings of DeepAtlas are for DeepAtlas only."""
    cpu = RECIPES / "scales" / "cpu.toml"
    assert read_recipe(RECIPES / "dense.toml", cpu).deep_atlas is None
    settings = read_recipe(RECIPES / "deep-atlas.toml", cpu).deep_atlas
    assert settings is not None
    assert settings.registration_steps_per_segmentation_step == 4


def test_a_scale_is_the_same_for_every_system_and_changes_no_architecture() -> None:
    """Systems that were trained differently could not be compared."""
    for system in SYSTEMS:
        plain, scaled = (read_recipe(RECIPES / f"{system}.toml", *overlays) for overlays in ((), SCALES[:1]))
        assert SCALES[0].stem == "cpu"
        assert plain.network == scaled.network


@pytest.mark.parametrize("change", [{"colour": "red"}, {"seed": "many"}])
def test_a_recipe_with_an_unknown_or_wrong_setting_is_refused(change: dict[str, str]) -> None:
    recipe = read_recipe(RECIPES / "prostate-ct.toml")
    with pytest.raises(ValidationError):
        Recipe.model_validate({**recipe.model_dump(), **change})


@pytest.mark.parametrize(
    "network",
    [
        {"family": "segmentation", "segmentation_inputs": []},
        {"family": "registration"},
        {"family": "dense", "segmentation_inputs": ["fixed"]},
    ],
)
def test_inputs_that_do_not_fit_the_network_are_refused(network: dict[str, object]) -> None:
    recipe = read_recipe(RECIPES / "cross-stitch-b.toml").model_dump()
    with pytest.raises(ValidationError, match="inputs"):
        Recipe.model_validate({**recipe, "network": {**recipe["network"], **network}})
