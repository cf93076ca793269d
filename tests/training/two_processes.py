"""What torchrun starts in a test: a tiny run, and the weights of every process beside it."""

import os
import sys
from pathlib import Path

import torch

from tests.training.tiny import tiny_pairs, tiny_recipe, with_steps
from training.train import train


def main() -> None:
    run, steps = Path(sys.argv[1]), int(sys.argv[2])
    recipe = tiny_recipe()
    # The rate must not depend on where a run ends, or two parts would not equal the whole.
    optimisation = recipe.optimisation.model_copy(update={"decay_steps": 0, "warmup_steps": 0})
    recipe = with_steps(recipe.model_copy(update={"optimisation": optimisation}), steps)
    state = train(recipe, tiny_pairs(), run=run, threads=1, device="cpu", quiet=True)
    torch.save(state.learner.network.state_dict(), run / f"rank{os.environ['RANK']}.pt")


if __name__ == "__main__":
    main()
