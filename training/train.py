"""The training loop, top to bottom, for every system of the papers.

    python -m training train --recipe training/recipes/prostate-ct.toml --dataset DATASET --run RUN [--minutes 75]

A run folder that holds checkpoint.pt is continued; on one machine in float32 it ends as if it had never stopped:
every step draws from a generator seeded by recipe, process and step. Going on with another cohort, commit or recipe for
the same network is written down as a new stage. Under torchrun each process draws a batch of its own, as large as the
recipe's, and the gradients are averaged.
"""

import copy
import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from training import distributed
from training.board import write_contours
from training.checkpoint import (
    NETWORK,
    RunState,
    Stage,
    current_commit,
    restore,
    save_checkpoint,
    save_network,
    update_average,
)
from training.dataset import cohort_hash
from training.distributed import World
from training.learners.build import begin_learner
from training.learners.schedule import learning_rate
from training.pairs import CachedPair
from training.patch import Patch
from training.recipe import Recipe
from training.sampling import draw_patch

CHECKPOINT_STEPS = 50
LOG_STEPS = 10
PICTURE_STEPS = 500


def train(
    recipe: Recipe,
    pairs: tuple[CachedPair, ...],
    *,
    run: Path,
    minutes: float = math.inf,
    threads: int = 0,
    device: str = "auto",
    quiet: bool = False,
) -> RunState:
    """Train until the recipe's steps are done or the minutes of this call are over; then write the network.

    Args:
        recipe: What to do; a run that goes on must keep its network and grid.
        pairs: Who is learned from, on the recipe's grid.
        run: Gets checkpoint.pt, network.pt, the recipe and TensorBoard's events.
        minutes: Stop and save after this time; calling again goes on.
        threads: CPU threads, 0 for torch's choice.
        device: 'auto' takes CUDA where there is one.
        quiet: Whether to leave out the progress bar.
    """
    if threads:
        torch.set_num_threads(threads)
    world = distributed.start(device)
    state = begin(recipe, world)
    resumed = restore(state, run)
    stage = Stage(
        state.step,
        current_commit(),
        len(pairs),
        cohort_hash(pairs),
        recipe.model_dump_json(),
        patients=tuple(sorted({pair.patient for pair in pairs})),
        processes=world.size,
    )
    if not state.stages or state.stages[-1] != replace(stage, first_step=state.stages[-1].first_step):
        state.stages += (stage,)
    steps, decay = recipe.optimisation.steps, recipe.optimisation.ema_decay
    if resumed and state.step >= steps and (run / NETWORK).exists():
        distributed.stop()
        return state
    if world.first:
        run.mkdir(parents=True, exist_ok=True)
        (run / "recipe.json").write_text(recipe.model_dump_json(indent=2))

    deadline = time.monotonic() + 60 * minutes
    board = SummaryWriter(str(run), purge_step=state.step) if world.first else None
    hidden = quiet or not world.first
    with tqdm(total=steps, initial=state.step, unit="step", mininterval=5, desc=recipe.name, disable=hidden) as bar:
        while state.step < steps and not distributed.any_process(time.monotonic() > deadline):
            started = time.perf_counter()
            patch = patch_of_step(pairs, recipe, state.step, world)
            scalars = state.learner.step(patch, state.step)
            state.step += 1
            update_average(state.average, state.learner.network, min(decay, (1 + state.step) / (10 + state.step)))
            state.seconds += time.perf_counter() - started
            bar.update()
            if board and state.step % LOG_STEPS == 0:
                _log(board, scalars, state)
                bar.set_postfix(loss=f"{scalars['total'].item():.3f}")
            if board and state.step % PICTURE_STEPS == 0:
                write_contours(board, state.learner.network, patch, state.step)
            if state.step % CHECKPOINT_STEPS == 0:
                _share_and_save(state, run, world)
    _share_and_save(state, run, world)
    if board:
        board.close()
        save_network(state, averaged(state, pairs), run)
    distributed.stop()
    return state


def begin(recipe: Recipe, world: World) -> RunState:
    """A run at step 0, everything seeded by the recipe."""
    learner = begin_learner(recipe, device=world.device)
    average = {name: parameter.detach().clone() for name, parameter in learner.network.named_parameters()}
    return RunState(learner, average)


def patch_of_step(pairs: tuple[CachedPair, ...], recipe: Recipe, step: int, world: World) -> Patch:
    """The batch of one step and process; torch's own generator is put to a number drawn with it."""
    rng = np.random.default_rng([recipe.seed, world.rank, step])
    patch = draw_patch(pairs, recipe, rng, number=step, device=world.device)
    torch.manual_seed(int(rng.integers(2**31)))
    return patch


def _share_and_save(state: RunState, run: Path, world: World) -> None:
    # Batch statistics differ between processes. All go on with the first one's, as a resumed run will.
    distributed.broadcast_module(state.learner.network)
    if world.first:
        save_checkpoint(state, run)


def averaged(state: RunState, pairs: tuple[CachedPair, ...]) -> nn.Module:
    """The network with its averaged weights, and batch statistics measured anew for them."""
    recipe = state.learner.recipe
    network = copy.deepcopy(state.learner.network)
    network.load_state_dict(state.average, strict=False)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm3d)]
    momenta = [norm.momentum for norm in norms]
    if recipe.optimisation.recalibration_patches:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain mean over all patches
        _see_patches(network, pairs, recipe)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return network.eval()


def _see_patches(network: nn.Module, pairs: tuple[CachedPair, ...], recipe: Recipe) -> None:
    device = next(network.parameters()).device
    rng = np.random.default_rng(recipe.seed + 1)
    network.train()
    precision = recipe.optimisation.precision == "bfloat16"
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=precision):
        for _ in range(recipe.optimisation.recalibration_patches):
            patch = draw_patch(pairs, recipe, rng, device=device)
            network(patch.fixed, patch.moving, patch.planned_labels.float())


def _log(board: SummaryWriter, scalars: dict[str, Tensor], state: RunState) -> None:
    for name, value in scalars.items():
        board.add_scalar(f"loss/{name}", value.item(), state.step)
    board.add_scalar("learning rate", learning_rate(state.step, state.learner.recipe.optimisation), state.step)
    board.add_scalar("steps per second", state.step / state.seconds, state.step)
