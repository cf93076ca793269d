"""The training loop, top to bottom.

    python -m training train --recipe training/recipes/prostate-ct.toml --cohort COHORT --run RUN [--minutes 75]

A run folder that holds checkpoint.pt is continued; on one machine in float32 it ends as if it had never stopped.
Going on with another cohort, commit or recipe for the same network is written down as a new stage.
"""

import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from training.checkpoint import (
    RunState,
    Stage,
    current_commit,
    read_checkpoint,
    restore,
    save_checkpoint,
    update_average,
)
from training.losses import Patch, Terms, joint_loss
from training.networks import CrossStitchNetwork
from training.pairs import CachedPair, cohort_hash, read_pairs
from training.recipe import Optimisation, Recipe
from training.sampling import draw_patch

CHECKPOINT_STEPS = 50
LOG_STEPS = 10


def train(
    recipe: Recipe, *, cohort: Path, run: Path, minutes: float = math.inf, threads: int = 0, device: str = "auto"
) -> RunState:
    """Train until the recipe's steps are done or the minutes of this call are over.

    Args:
        recipe: What to do; a run that goes on must keep its network and grid.
        cohort: Folder of cached pairs.
        run: Gets checkpoint.pt, the recipe and TensorBoard's events.
        minutes: Stop and save after this time; calling again goes on.
        threads: CPU threads, 0 for torch's choice.
        device: 'auto' takes CUDA where there is one.
    """
    if threads:
        torch.set_num_threads(threads)
    where = torch.device("cuda" if device == "auto" and torch.cuda.is_available() else device.replace("auto", "cpu"))
    pairs = read_pairs(cohort)
    run.mkdir(parents=True, exist_ok=True)
    state = begin(recipe, device=where)
    file = run / "checkpoint.pt"
    if file.exists():
        content = read_checkpoint(file)
        restore(state, content)
    stage = Stage(state.step, current_commit(), len(pairs), cohort_hash(pairs), recipe.model_dump_json())
    if not state.stages or state.stages[-1] != replace(stage, first_step=state.stages[-1].first_step):
        state.stages += (stage,)
    (run / "recipe.json").write_text(recipe.model_dump_json(indent=2))

    steps, decay = recipe.optimisation.steps, recipe.optimisation.ema_decay
    deadline = time.monotonic() + 60 * minutes
    with SummaryWriter(str(run)) as board, tqdm(total=steps, initial=state.step, unit="step", mininterval=5) as bar:
        while state.step < steps and time.monotonic() < deadline:
            started = time.perf_counter()
            patch = draw_patch(pairs, recipe, state.rng).to(where)
            terms = step(state, patch)
            state.step += 1
            update_average(state.average, state.network, min(decay, (1 + state.step) / (10 + state.step)))
            state.seconds += time.perf_counter() - started
            bar.update()
            if state.step % LOG_STEPS == 0:
                _log(board, terms, state, recipe.optimisation)
                bar.set_postfix(loss=f"{terms.total.item():.3f}")
            if state.step % CHECKPOINT_STEPS == 0:
                save_checkpoint(state, file)
    save_checkpoint(state, file)
    return state


def begin(recipe: Recipe, *, device: torch.device) -> RunState:
    """A run at step 0, everything seeded by the recipe."""
    torch.manual_seed(recipe.seed)
    network = CrossStitchNetwork(recipe.classes, widths=recipe.widths)
    network = network.to(device=device, memory_format=torch.channels_last_3d)
    settings = recipe.optimisation
    optimizer = torch.optim.RAdam(network.parameters(), lr=settings.learning_rate, betas=(0.9, settings.beta2))
    average = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    return RunState(recipe, network, optimizer, average, np.random.default_rng(recipe.seed))


def step(state: RunState, patch: Patch) -> Terms:
    """One update of the weights."""
    settings = state.recipe.optimisation
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate(state.step, settings)
    state.network.train()
    with torch.autocast(patch.fixed.device.type, torch.bfloat16, enabled=settings.precision == "bfloat16"):
        outputs = state.network(patch.fixed, patch.moving, patch.moving_labels.float())
    # Sums over 10^5 voxels and differences of variances need float32.
    terms = joint_loss(outputs, patch, state.recipe.loss)
    state.optimizer.zero_grad(set_to_none=True)
    terms.total.backward()
    torch.nn.utils.clip_grad_norm_(state.network.parameters(), settings.gradient_norm)
    state.optimizer.step()
    return Terms(*(term.detach() for term in terms))


def learning_rate(step_number: int, settings: Optimisation) -> float:
    """Linear from 0 over the warm-up, constant, then half a cosine down to the final rate over the last steps."""
    if step_number < settings.warmup_steps:
        return settings.learning_rate * (step_number + 1) / settings.warmup_steps
    left = min(1.0, (settings.steps - step_number) / max(1, settings.decay_steps))
    share = (1 - math.cos(math.pi * left)) / 2
    return settings.final_learning_rate + (settings.learning_rate - settings.final_learning_rate) * share


def recalibrate(network: CrossStitchNetwork, pairs: tuple[CachedPair, ...], recipe: Recipe) -> None:
    """Measure the batch statistics anew, for weights that were averaged after the running ones were taken."""
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm3d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over all patches
    rng = np.random.default_rng(recipe.seed + 1)
    network.train()
    precision = recipe.optimisation.precision == "bfloat16"
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=precision):
        for _ in range(recipe.optimisation.recalibration_patches):
            patch = draw_patch(pairs, recipe, rng)
            network(patch.fixed, patch.moving, patch.moving_labels.float())
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.eval()


def _log(board: SummaryWriter, terms: Terms, state: RunState, settings: Optimisation) -> None:
    for name, value in terms._asdict().items():
        board.add_scalar(f"loss/{name}", value.item(), state.step)
    board.add_scalar("learning rate", learning_rate(state.step, settings), state.step)
    board.add_scalar("steps per second", state.step / state.seconds, state.step)
