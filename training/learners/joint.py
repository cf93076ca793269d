"""Every network of one path or two joint ones: one loss, one optimiser, one update per step."""

from typing import Any

import torch
from torch import Tensor

from training.distributed import average_gradients, broadcast_module
from training.learners.schedule import learning_rate
from training.losses import joint_terms, task_losses, task_names
from training.networks.build import build_network
from training.patch import Patch
from training.recipe import Recipe
from training.weighting import make_weighting


class JointLearner:
    """Segmentation, registration, JRS-registration, dense, SEDD and cross-stitch; see `Learner` for the methods."""

    def __init__(self, recipe: Recipe, device: torch.device) -> None:
        self.recipe = recipe
        network = build_network(recipe.network, recipe.classes)
        self.network = network.to(device=device, memory_format=torch.channels_last_3d)
        broadcast_module(self.network)
        tasks = task_names(recipe.loss, recipe.network)
        self._weighting = make_weighting(recipe.weighting, tasks, recipe.weighting_settings, device=device)
        settings = recipe.optimisation
        self._parameters = [*self.network.parameters(), *self._weighting.parameters()]
        self._optimizer = torch.optim.RAdam(self._parameters, lr=settings.learning_rate, betas=(0.9, settings.beta2))

    def step(self, patch: Patch, number: int) -> dict[str, Tensor]:
        """One update of all weights."""
        settings = self.recipe.optimisation
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(number, settings)
        self.network.train()
        with torch.autocast(patch.fixed.device.type, torch.bfloat16, enabled=settings.precision == "bfloat16"):
            outputs = self.network(patch.fixed, patch.moving, patch.planned_labels.float())
        # Sums over 10^5 voxels and differences of variances need float32.
        terms = joint_terms(outputs, patch, self.recipe.loss, classes=self.recipe.classes)
        losses = task_losses(terms, self.recipe.loss)
        total = self._weighting.combine(losses, shared=self.network.shared_parameters(), number=number)
        self._optimizer.zero_grad(set_to_none=True)
        total.backward()
        average_gradients(self._parameters)
        torch.nn.utils.clip_grad_norm_(self._parameters, settings.gradient_norm)
        self._optimizer.step()
        weights = {f"weight {name}": torch.tensor(weight) for name, weight in self._weighting.weights().items()}
        return {"total": total.detach()} | {name: term.detach() for name, term in terms.items()} | weights

    def state_dict(self) -> dict[str, Any]:
        """Network, optimiser and weights of the tasks."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "weighting": self._weighting.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` gave."""
        self.network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._weighting.load_state_dict(state["weighting"])
