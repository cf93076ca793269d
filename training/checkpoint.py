"""Everything that a run needs to go on as if it had never stopped, and the network that comes out of it."""

import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from training.learners.protocol import Learner
from training.networks.build import build_network
from training.recipe import Recipe

CHECKPOINT = "checkpoint.pt"
NETWORK = "network.pt"


@dataclass(frozen=True)
class Stage:
    """A stretch of steps with one cohort and one recipe; a run may go on with others, and says so here.

    Attributes:
        first_step: Where it begins.
        commit: Of the code.
        pairs: How many were learned from.
        cohort_hash: Over their names and contents.
        recipe: As JSON.
        patients: Pseudonyms of those learned from, so that nobody is tested on them.
        processes: That shared the run; each drew a batch of its own at every step.
    """

    first_step: int
    commit: str
    pairs: int
    cohort_hash: str
    recipe: str
    patients: tuple[str, ...] = ()
    processes: int = 1


@dataclass
class RunState:
    """A run, and what changes from step to step."""

    learner: Learner
    average: dict[str, Tensor]
    step: int = 0
    seconds: float = 0.0
    """Spent in training steps so far, over all parts of the run."""
    stages: tuple[Stage, ...] = ()


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """What a run is for: a network in evaluation mode, and where it comes from."""

    network: nn.Module
    recipe: Recipe
    step: int
    seconds: float
    stages: tuple[Stage, ...]


def current_commit() -> str:
    """The commit of the working tree, with '+' where training/ differs from it, or 'unknown' outside git."""
    try:
        commit, changed = (_git(*command) for command in (("rev-parse", "HEAD"), ("status", "--porcelain", ".")))
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit + ("+" if changed else "")


def save_checkpoint(state: RunState, run: Path) -> None:
    """Write the whole state; the file is replaced in one move, so that a power cut leaves the last one."""
    content = _facts(state) | {"learner": state.learner.state_dict(), "average": state.average}
    _replace(run / CHECKPOINT, content)


def restore(state: RunState, run: Path) -> bool:
    """Put a run back to where its checkpoint was written; False where there is none.

    Raises:
        ValueError: If its network, organs, grid or window are not those of the recipe. Everything else may change.
    """
    file = run / CHECKPOINT
    if not file.exists():
        return False
    content = _read(file)
    old, new = Recipe.model_validate_json(content["recipe"]), state.learner.recipe
    if any(getattr(old, name) != getattr(new, name) for name in ("organs", "network", "spacing_mm", "hu_window")):
        raise ValueError("the run was started with another network or model grid; take a new run folder")
    state.learner.load_state_dict(content["learner"])
    for name, tensor in state.average.items():
        tensor.copy_(content["average"][name])  # onto the device where the run is now
    state.step, state.seconds = content["step"], content["seconds"]
    state.stages = _stages(content)
    return True


def stages_of(run: Path) -> tuple[Stage, ...]:
    """The stages of the run in a folder; none where it has no checkpoint."""
    return _stages(_read(run / CHECKPOINT)) if (run / CHECKPOINT).exists() else ()


def save_network(state: RunState, network: nn.Module, run: Path) -> None:
    """Write the network that is to be evaluated and exported."""
    _replace(run / NETWORK, _facts(state) | {"network": network.state_dict()})


def read_network(run: Path) -> TrainedNetwork:
    """The network of a run, averaged, its batch statistics measured, in evaluation mode.

    Raises:
        FileNotFoundError: If the run has none yet.
    """
    if not (run / NETWORK).exists():
        raise FileNotFoundError(f"the run has no {NETWORK}: let `python -m training train` come to its end first")
    content = _read(run / NETWORK)
    recipe = Recipe.model_validate_json(content["recipe"])
    network = build_network(recipe.network, recipe.classes)
    network.load_state_dict(content["network"])
    return TrainedNetwork(network.eval(), recipe, content["step"], content["seconds"], _stages(content))


def update_average(average: dict[str, Tensor], network: nn.Module, decay: float) -> None:
    """average <- decay * average + (1 - decay) * weight, in place."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            average[name].lerp_(parameter, 1 - decay)


def _facts(state: RunState) -> dict[str, Any]:
    return {
        "step": state.step,
        "seconds": state.seconds,
        "stages": [asdict(stage) for stage in state.stages],
        "recipe": state.learner.recipe.model_dump_json(),
    }


def _stages(content: dict[str, Any]) -> tuple[Stage, ...]:
    return tuple(Stage(**{**stage, "patients": tuple(stage.get("patients", ()))}) for stage in content["stages"])


def _replace(file: Path, content: dict[str, Any]) -> None:
    part = file.with_suffix(".part")
    torch.save(content, part)
    part.replace(file)


def _read(file: Path) -> dict[str, Any]:
    # Only tensors and plain values are unpickled.
    content: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    return content


def _git(*command: str) -> str:
    folder = Path(__file__).parent
    return subprocess.run(["git", *command], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()
