"""DeepAtlas: a registration and a segmentation network take turns, each helped by the other as it stands.

Xu and Niethammer, MICCAI 2019. Every step is one update of one network; the other is frozen: no gradient, running
statistics of its normalisation as they are.
"""

from typing import Any

import torch
from torch import Tensor, nn

from training.deep_atlas_settings import DeepAtlasSettings, turn
from training.deep_atlas_turns import registration_terms, segmentation_terms
from training.distributed import average_gradients, broadcast_module
from training.learners.schedule import learning_rate
from training.networks.deep_atlas import DeepAtlasNetwork
from training.patch import Patch
from training.recipe import Recipe


class AlternatingLearner:
    """DeepAtlas; see `Learner` for the methods.

    Adam with the authors' rates; the recipe's warm-up and decay scale them both. Of the recipe's [loss] only the factor
    of cross-entropy counts, for drawn contours; every other weight is in [deep_atlas].

    Raises:
        ValueError: If the recipe has no [deep_atlas].
    """

    def __init__(self, recipe: Recipe, device: torch.device) -> None:
        if recipe.deep_atlas is None:
            raise ValueError("alternating networks need the settings [deep_atlas]")
        self.recipe = recipe
        self._settings: DeepAtlasSettings = recipe.deep_atlas
        network = DeepAtlasNetwork(recipe.classes, widths=recipe.network.widths)
        network.to(device=device, memory_format=torch.channels_last_3d)
        broadcast_module(network)
        self.network: nn.Module = network
        self._networks: dict[str, nn.Module] = {
            "segmentation": network.segmentation,
            "registration": network.registration,
        }
        self._rates = {
            "segmentation": self._settings.segmentation_learning_rate,
            "registration": self._settings.registration_learning_rate,
        }
        betas = (0.9, recipe.optimisation.beta2)
        self._optimizers = {
            name: torch.optim.Adam(part.parameters(), lr=self._rates[name], betas=betas)
            for name, part in self._networks.items()
        }

    def step(self, patch: Patch, number: int) -> dict[str, Tensor]:
        """One update of the network whose turn it is; 'total' is that network's loss.

        A segmentation step without any label changes nothing.
        """
        optimisation = self.recipe.optimisation
        name, helped = turn(number, steps=optimisation.steps, settings=self._settings)
        for other, part in self._networks.items():
            part.train(other == name)
        optimizer = self._optimizers[name]
        for group in optimizer.param_groups:
            group["lr"] = self._rates[name] * learning_rate(number, optimisation) / optimisation.learning_rate
        loss = self._segmentation_loss if name == "segmentation" else self._registration_loss
        terms = loss(patch, helped=helped)
        parameters = list(self._networks[name].parameters())
        optimizer.zero_grad(set_to_none=True)
        if terms["total"].requires_grad:
            terms["total"].backward()
        average_gradients(parameters)
        torch.nn.utils.clip_grad_norm_(parameters, optimisation.gradient_norm)
        optimizer.step()
        return {term: value.detach() for term, value in terms.items()} | {name: terms["total"].detach()}

    def state_dict(self) -> dict[str, Any]:
        """Both networks and their optimisers; whose turn it is follows from the number of the step."""
        optimizers = {name: optimizer.state_dict() for name, optimizer in self._optimizers.items()}
        return {"network": self.network.state_dict(), "optimizers": optimizers}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` gave."""
        self.network.load_state_dict(state["network"])
        for name, optimizer in self._optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])

    def _segmentation_loss(self, patch: Patch, *, helped: bool) -> dict[str, Tensor]:
        return segmentation_terms(
            self._segment,
            self._register,
            patch,
            settings=self._settings,
            classes=self.recipe.classes,
            helped=helped,
            cross_entropy=self.recipe.loss.cross_entropy,
        )

    def _registration_loss(self, patch: Patch, *, helped: bool) -> dict[str, Tensor]:
        return registration_terms(
            self._segment, self._register, patch, settings=self._settings, classes=self.recipe.classes, helped=helped
        )

    def _segment(self, image: Tensor) -> Tensor:
        with self._precision(image):
            logits: Tensor = self._networks["segmentation"](image)
        # Sums over 10^5 voxels need float32.
        return logits.float().softmax(1)

    def _register(self, fixed: Tensor, moving: Tensor) -> Tensor:
        with self._precision(fixed):
            dvf: Tensor = self._networks["registration"](fixed, moving)
        return dvf.float()

    def _precision(self, tensor: Tensor) -> torch.autocast:
        enabled = self.recipe.optimisation.precision == "bfloat16"
        return torch.autocast(tensor.device.type, torch.bfloat16, enabled=enabled)
