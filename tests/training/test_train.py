# ruff: noqa: E402 - nothing below the first lines can be imported without torch
import os
import subprocess
import sys
from pathlib import Path

import pytest
from numpy.random import default_rng

torch = pytest.importorskip("torch", reason="training needs the extra 'training'")

from training.checkpoint import read_network
from training.distributed import World
from training.learners.joint import JointLearner
from training.learners.schedule import learning_rate
from training.recipe import Recipe
from training.sampling import draw_patch
from training.train import begin, patch_of_step, train

from .tiny import tiny_recipe, with_steps

SYSTEMS = [
    "segmentation-c", "jrs-registration-b", "dense", "sedd", "cross-stitch-b",
    "cross-stitch-uncertainty", "cross-stitch-dwa", "cross-stitch-gradnorm", "deep-atlas", "jrs-gan",
]  # fmt: skip


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_run_that_was_stopped_and_resumed_ends_as_one_that_was_not(system, pairs, tmp_path, monkeypatch):
    recipe = tiny_recipe(system)
    whole = train(recipe, pairs, run=tmp_path / "whole", threads=1, quiet=True)
    monkeypatch.setattr("training.train.CHECKPOINT_STEPS", 1)
    steps = []
    monkeypatch.setattr("training.train.patch_of_step", _noted(steps, stop_at=2))
    with pytest.raises(KeyboardInterrupt):
        train(recipe, pairs, run=tmp_path / "parts", threads=1, quiet=True)
    monkeypatch.setattr("training.train.patch_of_step", _noted(steps))
    resumed = train(recipe, pairs, run=tmp_path / "parts", threads=1, quiet=True)
    assert steps == [0, 1, 2, 2, 3], "the second part begins where the first was saved"
    assert whole.step == resumed.step == recipe.optimisation.steps
    for name, tensor in whole.learner.network.state_dict().items():
        assert torch.equal(tensor, resumed.learner.network.state_dict()[name]), name
    for name, tensor in whole.average.items():
        assert torch.equal(tensor, resumed.average[name]), name


def _noted(steps: list[int], stop_at: int = -1):
    def patch_or_stop(pairs, recipe, step, world):
        steps.append(step)
        if step == stop_at:
            raise KeyboardInterrupt
        return patch_of_step(pairs, recipe, step, world)

    return patch_or_stop


@pytest.mark.slow
def test_two_processes_train_one_network_and_go_on_where_they_were(tmp_path):
    """torchrun, two processes on the CPU: equal weights in both, and a second call equals one long one."""
    script = Path(__file__).with_name("two_processes.py")
    outputs = []
    for run, steps in (("parts", 2), ("parts", 4), ("whole", 4)):
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        command += [str(script), str(tmp_path / run), str(steps)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr[-2000:]
        outputs.append([torch.load(tmp_path / run / f"rank{rank}.pt") for rank in (0, 1)])
    for one, other in (outputs[1], outputs[2], (outputs[1][0], outputs[2][0])):
        assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    assert read_network(tmp_path / "whole").stages[0].processes == 2


def test_a_run_knows_its_recipe_code_and_cohort(recipe, pairs, tmp_path):
    short = with_steps(recipe, 1)
    train(short, pairs, run=tmp_path, threads=1, quiet=True)
    trained = read_network(tmp_path)
    assert trained.recipe == short
    (stage,) = trained.stages
    assert (stage.first_step, stage.pairs, stage.recipe) == (0, 2, short.model_dump_json())
    assert len(stage.cohort_hash) == 64
    assert stage.patients == tuple(pair.patient for pair in pairs)
    assert not trained.network.training
    assert list(tmp_path.glob("events.out.tfevents.*"))


def test_going_on_with_another_recipe_is_a_new_stage_and_another_network_is_refused(recipe, pairs, tmp_path):
    train(with_steps(recipe, 1), pairs, run=tmp_path, threads=1, quiet=True)
    longer = train(with_steps(recipe, 2), pairs, run=tmp_path, threads=1, quiet=True)
    assert [stage.first_step for stage in longer.stages] == [0, 1]
    assert [Recipe.model_validate_json(stage.recipe).optimisation.steps for stage in longer.stages] == [1, 2]
    with pytest.raises(ValueError, match="another network"):
        train(recipe.model_copy(update={"spacing_mm": 1.0}), pairs, run=tmp_path, threads=1, quiet=True)


def test_a_run_without_a_network_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match="python -m training train"):
        read_network(tmp_path)


def test_every_process_and_step_draws_patches_of_its_own(recipe, pairs):
    cpu = torch.device("cpu")
    first, again, later, other = (
        patch_of_step(pairs, recipe, step, World(rank, 2, cpu)).fixed for step, rank in ((0, 0), (0, 0), (1, 0), (0, 1))
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, later)
    assert not torch.equal(first, other)


def test_the_loss_of_one_patch_falls_when_it_is_learned(recipe, pairs):
    settings = recipe.optimisation.model_copy(update={"steps": 1000, "learning_rate": 0.03})
    learner = JointLearner(recipe.model_copy(update={"optimisation": settings}), torch.device("cpu"))
    patch = draw_patch(pairs, recipe, default_rng(0))
    losses = [learner.step(patch, number)["total"].item() for number in range(20)]
    assert losses[-1] < losses[0] - 0.2


def test_two_runs_of_one_seed_begin_alike(recipe):
    world = World(0, 1, torch.device("cpu"))
    one, other = (begin(recipe, world).learner.network.state_dict() for _ in range(2))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_the_learning_rate_rises_holds_and_falls(recipe):
    settings = recipe.optimisation.model_copy(
        update={"steps": 100, "warmup_steps": 10, "decay_steps": 20, "learning_rate": 1.0, "final_learning_rate": 0.2}
    )
    assert learning_rate(0, settings) == pytest.approx(0.1)
    assert learning_rate(9, settings) == learning_rate(80, settings) == pytest.approx(1.0)
    assert learning_rate(90, settings) == pytest.approx(0.6), "half of the way down"
    assert learning_rate(100, settings) == pytest.approx(0.2)


def test_without_warm_up_and_decay_the_learning_rate_is_constant(recipe):
    settings = recipe.optimisation.model_copy(update={"steps": 10, "warmup_steps": 0, "decay_steps": 0})
    assert {learning_rate(number, settings) for number in range(10)} == {settings.learning_rate}


def test_a_learner_shows_its_network_the_plan_that_lacks_an_organ(recipe, pairs):
    learner = JointLearner(recipe, torch.device("cpu"))
    patch = draw_patch(pairs, recipe, default_rng(0))
    seen = []
    learner.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[2]))
    learner.step(patch._replace(planned_labels=torch.zeros_like(patch.moving_labels)), 0)
    assert patch.moving_labels.any()
    assert not seen[0].any()
