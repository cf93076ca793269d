"""What the training loop asks of a way of learning."""

from typing import Any, Protocol

from torch import Tensor, nn

from training.patch import Patch
from training.recipe import Recipe


class Learner(Protocol):
    """A network and everything that moves it: optimisers, critics, weights of tasks."""

    recipe: Recipe
    network: nn.Module
    """What is averaged, evaluated and exported."""

    def step(self, patch: Patch, number: int) -> dict[str, Tensor]:
        """One update.

        Args:
            patch: A batch on the network's device.
            number: Which step this is, from 0.

        Returns:
            Detached scalars to log, among them 'total'.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed run needs to equal one that never stopped."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` gave."""
        ...
