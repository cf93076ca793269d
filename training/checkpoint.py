"""Everything that a run needs to go on as if it had never stopped."""

import json
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from training.networks import CrossStitchNetwork
from training.recipe import Recipe


@dataclass(frozen=True)
class Stage:
    """A stretch of steps with one cohort and one recipe (as JSON); a run may go on with others, and says so here."""

    first_step: int
    commit: str
    pairs: int
    cohort_hash: str
    recipe: str


@dataclass
class RunState:
    """A run: its recipe, and what changes from step to step."""

    recipe: Recipe

    network: CrossStitchNetwork
    optimizer: torch.optim.Optimizer
    average: dict[str, Tensor]
    rng: np.random.Generator
    step: int = 0
    seconds: float = 0.0
    """Spent in training steps so far, over all parts of the run."""
    stages: tuple[Stage, ...] = ()


def current_commit() -> str:
    """The commit of the working tree, with '+' where training/ differs from it, or 'unknown' outside git."""
    try:
        commit, changed = (_git(*command) for command in (("rev-parse", "HEAD"), ("status", "--porcelain", ".")))
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit + ("+" if changed else "")


def save_checkpoint(state: RunState, file: Path) -> None:
    """Write the whole state; the file is replaced in one move, so that a power cut leaves the last one."""
    content = {
        "network": state.network.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "average": state.average,
        "sampler_rng": json.dumps(state.rng.bit_generator.state),
        "torch_rng": torch.get_rng_state(),
        "step": state.step,
        "seconds": state.seconds,
        "stages": [asdict(stage) for stage in state.stages],
        "recipe": state.recipe.model_dump_json(),
    }
    part = file.with_suffix(".part")
    torch.save(content, part)
    part.replace(file)


def read_checkpoint(file: Path) -> dict[str, Any]:
    """The content of a checkpoint; only tensors and plain values are unpickled."""
    content: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    return content


def restore(state: RunState, content: dict[str, Any]) -> None:
    """Put a run back to where its checkpoint was written.

    Raises:
        ValueError: If its network, organs, grid or window are not those of the recipe. Everything else may change.
    """
    old, new = Recipe.model_validate_json(content["recipe"]), state.recipe
    if any(getattr(old, name) != getattr(new, name) for name in ("organs", "widths", "spacing_mm", "hu_window")):
        raise ValueError("the run was started with another network or model grid; take a new run folder")
    state.network.load_state_dict(content["network"])
    state.optimizer.load_state_dict(content["optimizer"])
    state.average = {name: tensor.clone() for name, tensor in content["average"].items()}
    state.rng.bit_generator.state = json.loads(content["sampler_rng"])
    torch.set_rng_state(content["torch_rng"])
    state.step = content["step"]
    state.seconds = content["seconds"]
    state.stages = stages_of(content)


def stages_of(content: dict[str, Any]) -> tuple[Stage, ...]:
    """The stages that a checkpoint went through."""
    return tuple(Stage(**stage) for stage in content["stages"])


def averaged_network(content: dict[str, Any]) -> tuple[CrossStitchNetwork, Recipe]:
    """The network with the averaged weights of a checkpoint, in evaluation mode, and its recipe."""
    recipe = Recipe.model_validate_json(content["recipe"])
    network = CrossStitchNetwork(recipe.classes, widths=recipe.widths)
    network.load_state_dict(content["network"])
    network.load_state_dict(content["average"], strict=False)
    return network.eval(), recipe


def update_average(average: dict[str, Tensor], network: nn.Module, decay: float) -> None:
    """average <- decay * average + (1 - decay) * weight, in place."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            average[name].lerp_(parameter, 1 - decay)


def _git(*command: str) -> str:
    folder = Path(__file__).parent
    return subprocess.run(["git", *command], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()
