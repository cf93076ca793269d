"""Every recipe that is shipped can be read, and the papers' systems say what the papers say."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from training.augmentation_settings import Augmentation
from training.recipe import RECIPES, Recipe, read_recipe, recipe_file

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


@pytest.mark.parametrize("scale", SCALES, ids=lambda file: file.stem)
def test_a_scale_trains_every_system_alike(scale: Path) -> None:
    """Systems that were trained differently could not be compared; the shipped model's recipe is not one of them."""
    recipes = [read_recipe(RECIPES / f"{system}.toml", scale) for system in SYSTEMS if system != "prostate-ct"]
    for part in ("optimisation", "sampling", "augmentation", "hu_window", "spacing_mm", "seed", "organs"):
        assert len({getattr(recipe, part) for recipe in recipes}) == 1, part


@pytest.mark.parametrize("scale", ["cpu", "full", "shipped"])
def test_only_the_smoke_scale_changes_a_network(scale: str) -> None:
    for system in SYSTEMS:
        plain, scaled = (read_recipe(RECIPES / f"{system}.toml", *overlays) for overlays in ((), (scale_file(scale),)))
        assert plain.network == scaled.network


def test_what_a_release_is_held_against_is_trained_as_long_as_the_release() -> None:
    shipped, plain = (
        read_recipe(RECIPES / "prostate-ct.toml"),
        read_recipe(RECIPES / "cross-stitch-b.toml", scale_file("shipped")),
    )
    for part in ("optimisation", "sampling", "hu_window", "spacing_mm", "network", "organs"):
        assert getattr(shipped, part) == getattr(plain, part), part
    assert plain.augmentation == Augmentation()


def scale_file(name: str) -> Path:
    return RECIPES / "scales" / f"{name}.toml"


def test_weights_of_tasks_need_more_than_one_task() -> None:
    recipe = read_recipe(RECIPES / "segmentation-a.toml").model_dump()
    with pytest.raises(ValidationError, match="one task only"):
        Recipe.model_validate({**recipe, "weighting": "gradnorm"})


def test_a_recipe_is_found_by_name_or_path() -> None:
    assert recipe_file("dense") == recipe_file(str(RECIPES / "dense.toml")) == RECIPES / "dense.toml"
    with pytest.raises(FileNotFoundError, match="cross-stitch-b"):
        recipe_file("cross-stich")


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
