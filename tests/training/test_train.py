# ruff: noqa: E402 - nothing below the first lines can be imported without torch
import math

import pytest
from numpy.random import default_rng
from pydantic import ValidationError

torch = pytest.importorskip("torch", reason="training needs the extra 'training'")

from training.checkpoint import averaged_network, read_checkpoint
from training.pairs import read_pairs
from training.recipe import RECIPES, Recipe, read_recipe
from training.sampling import draw_patch
from training.train import begin, learning_rate, step, train


def shorter(recipe: Recipe, steps: int) -> Recipe:
    return recipe.model_copy(update={"optimisation": recipe.optimisation.model_copy(update={"steps": steps})})


def test_a_run_that_was_stopped_and_resumed_ends_as_one_that_was_not(recipe, cohort, tmp_path, monkeypatch):
    torch.use_deterministic_algorithms(mode=False)
    whole = train(recipe, cohort=cohort / "training", run=tmp_path / "whole", threads=1)
    real = step
    monkeypatch.setattr("training.train.step", lambda state, patch: _stop_after(real, state, patch, 2))
    with pytest.raises(KeyboardInterrupt):
        train(recipe, cohort=cohort / "training", run=tmp_path / "parts", threads=1)
    monkeypatch.setattr("training.train.step", real)
    resumed = train(recipe, cohort=cohort / "training", run=tmp_path / "parts", threads=1)
    assert whole.step == resumed.step == 4
    for name, tensor in whole.network.state_dict().items():
        assert torch.equal(tensor, resumed.network.state_dict()[name]), name
    for name, tensor in whole.average.items():
        assert torch.equal(tensor, resumed.average[name]), name
    assert whole.rng.bit_generator.state == resumed.rng.bit_generator.state


def _stop_after(real, state, patch, steps):
    if state.step == steps:
        raise KeyboardInterrupt
    return real(state, patch)


def test_a_checkpoint_knows_its_recipe_code_and_cohort(recipe, cohort, tmp_path):
    train(shorter(recipe, 1), cohort=cohort / "training", run=tmp_path, threads=1)
    content = read_checkpoint(tmp_path / "checkpoint.pt")
    _, stored = averaged_network(content)
    assert stored == shorter(recipe, 1)
    (stage,) = content["stages"]
    assert (stage["first_step"], stage["pairs"], stage["recipe"]) == (0, 2, stored.model_dump_json())
    assert len(stage["cohort_hash"]) == 64
    assert list(tmp_path.glob("events.out.tfevents.*"))


def test_going_on_with_another_recipe_is_a_new_stage_and_another_network_is_refused(recipe, cohort, tmp_path):
    train(shorter(recipe, 1), cohort=cohort / "training", run=tmp_path, threads=1)
    longer = train(shorter(recipe, 2), cohort=cohort / "training", run=tmp_path, threads=1)
    assert [stage.first_step for stage in longer.stages] == [0, 1]
    assert [Recipe.model_validate_json(stage.recipe).optimisation.steps for stage in longer.stages] == [1, 2]
    with pytest.raises(ValueError, match="another network"):
        train(recipe.model_copy(update={"spacing_mm": 1.0}), cohort=cohort / "training", run=tmp_path, threads=1)


def test_the_loss_of_one_patch_falls_when_it_is_learned(recipe, cohort):
    recipe = recipe.model_copy(
        update={"optimisation": recipe.optimisation.model_copy(update={"steps": 1000, "learning_rate": 0.03})}
    )
    state = begin(recipe, device=torch.device("cpu"))
    patch = draw_patch(read_pairs(cohort / "training"), recipe, default_rng(0))
    losses = []
    for _ in range(20):
        losses.append(step(state, patch).total.item())
        state.step += 1
    assert losses[-1] < losses[0] - 0.2


def test_the_learning_rate_rises_holds_and_falls(recipe):
    settings = recipe.optimisation.model_copy(
        update={"steps": 100, "warmup_steps": 10, "decay_steps": 20, "learning_rate": 1.0, "final_learning_rate": 0.2}
    )
    assert learning_rate(0, settings) == pytest.approx(0.1)
    assert learning_rate(9, settings) == learning_rate(80, settings) == pytest.approx(1.0)
    assert learning_rate(90, settings) == pytest.approx(0.6), "half of the way down"
    assert learning_rate(100, settings) == pytest.approx(0.2)


def test_every_recipe_that_ships_can_be_read():
    recipe = read_recipe(RECIPES / "prostate-ct.toml")
    assert recipe.organs == ("Bladder", "Rectum", "SeminalVes", "Prostate")
    assert math.isclose(sum(recipe.loss.levels), 1)


@pytest.mark.parametrize("change", [{"colour": "red"}, {"seed": "many"}])
def test_a_recipe_with_an_unknown_or_wrong_setting_is_refused(recipe, change):
    with pytest.raises(ValidationError):
        Recipe.model_validate({**recipe.model_dump(), **change})


def test_a_patient_in_two_splits_is_refused(recipe):
    """Tested on its own training patients, a network looks better than it is."""
    cohort = recipe.cohort.model_dump()
    cohort["test"] = cohort["training"][:1]
    with pytest.raises(ValidationError, match="two splits"):
        Recipe.model_validate({**recipe.model_dump(), "cohort": cohort})
