"""JRS-GAN: a registration network and a critic of its warped images and contours learn against each other.

Elmahdy et al., MICCAI 2019 (arXiv 1906.12223); the losses are in `training.adversarial_losses`.
"""

from typing import Any

import torch
from torch import Tensor

from training.adversarial_losses import adversarial_loss, clip_weights, critic_loss, gradient_penalty, warped_triple
from training.adversarial_settings import AdversarialSettings
from training.aligned_examples import aligned_triple, draw_perturbation
from training.distributed import average_gradients, broadcast_module
from training.learners.schedule import learning_rate
from training.losses import joint_terms, task_losses
from training.networks.build import build_network
from training.networks.critic import PatchCritic
from training.patch import Patch
from training.recipe import Recipe


class AdversarialLearner:
    """The generator is the network of the recipe; see `Learner` for the methods.

    A step warps its patch once. The critic is updated `critic_steps` times on that warp, each time beside newly drawn
    well-aligned examples; then the generator is updated once. The critic sees the full resolution only, the terms of
    the recipe's loss all levels. Draws come from torch's CPU generator, which the training loop seeds at every step.

    Raises:
        ValueError: If the recipe has no adversarial settings, or weighs tasks otherwise than equally.
    """

    def __init__(self, recipe: Recipe, device: torch.device) -> None:
        if recipe.adversarial is None:
            raise ValueError("a recipe without [adversarial] has no critic; take the joint learner")
        if recipe.weighting != "equal":
            raise ValueError("the generator's terms have the fixed weights of the paper: weighting must be 'equal'")
        self.recipe = recipe
        self._settings: AdversarialSettings = recipe.adversarial
        # The network comes first, so that it starts as the one of the same recipe without a critic.
        network = build_network(recipe.network, recipe.classes)
        critic = PatchCritic(recipe.classes - 1, widths=self._settings.critic_widths)
        self.network = network.to(device=device, memory_format=torch.channels_last_3d)
        self.critic = critic.to(device)
        broadcast_module(self.network)
        broadcast_module(self.critic)
        settings = recipe.optimisation
        self._parameters = list(self.network.parameters())
        self._optimizer = torch.optim.RAdam(self._parameters, lr=settings.learning_rate, betas=(0.9, settings.beta2))
        self._critic_optimizer = _critic_optimizer(self.critic, self._settings)

    def step(self, patch: Patch, number: int) -> dict[str, Tensor]:
        """All updates of the critic, then one of the generator.

        Raises:
            ValueError: If a label may not be looked at: the critic's triples need those of both sides.
        """
        if not bool((patch.fixed_labelled & patch.moving_labelled).all()):
            raise ValueError("JRS-GAN compares contours of both sides; every patch must be labelled")
        recipe, settings = self.recipe, self.recipe.optimisation
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(number, settings)
        self.network.train()
        with torch.autocast(patch.fixed.device.type, torch.bfloat16, enabled=settings.precision == "bfloat16"):
            outputs = self.network(patch.fixed, patch.moving, patch.planned_labels.float())
        warped = warped_triple(patch, outputs[0].dvf.float(), classes=recipe.classes)
        critic_scalars: dict[str, Tensor] = {}
        for _ in range(self._settings.critic_steps):
            critic_scalars = self._update_critic(patch, warped.detach())

        terms = joint_terms(outputs, patch, recipe.loss, classes=recipe.classes)
        plain = torch.stack(list(task_losses(terms, recipe.loss).values())).sum()
        self.critic.requires_grad_(requires_grad=False)  # its weights need no gradient here
        adversarial = adversarial_loss(self.critic(warped))
        self.critic.requires_grad_(requires_grad=True)
        total = plain + self._settings.lambda_adversarial * adversarial
        self._optimizer.zero_grad(set_to_none=True)
        total.backward()
        average_gradients(self._parameters)
        torch.nn.utils.clip_grad_norm_(self._parameters, settings.gradient_norm)
        self._optimizer.step()
        scalars = {"total": total, "without critic": plain, "adversarial": adversarial} | terms
        return {name: scalar.detach() for name, scalar in scalars.items()} | critic_scalars

    def state_dict(self) -> dict[str, Any]:
        """Both networks and both optimisers."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "critic": self.critic.state_dict(),
            "critic_optimizer": self._critic_optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` gave."""
        self.network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.critic.load_state_dict(state["critic"])
        self._critic_optimizer.load_state_dict(state["critic_optimizer"])

    def _update_critic(self, patch: Patch, warped: Tensor) -> dict[str, Tensor]:
        """One update beside newly drawn well-aligned examples of the same patch, in float32."""
        settings, window = self._settings, self.recipe.hu_window
        drawn = draw_perturbation(
            settings.aligned_example,
            window,
            batch=len(warped),
            organs=self.recipe.classes - 1,
            shape=(warped.shape[2], warped.shape[3], warped.shape[4]),
            generator=torch.default_generator,
        ).to(warped.device)
        aligned = aligned_triple(patch, drawn, window, classes=self.recipe.classes)
        distance = critic_loss(self.critic(aligned), self.critic(warped))
        scalars = {"critic": distance.detach()}
        loss = distance
        if settings.lipschitz == "gradient-penalty":
            share = torch.rand((len(warped), 1, 1, 1, 1), generator=torch.default_generator).to(warped.device)
            penalty = gradient_penalty(self.critic, aligned, warped, share)
            scalars["gradient penalty"] = penalty.detach()
            loss = distance + settings.gradient_penalty * penalty
        self._critic_optimizer.zero_grad(set_to_none=True)
        loss.backward()
        average_gradients(self.critic.parameters())
        self._critic_optimizer.step()
        if settings.lipschitz == "weight-clipping":
            clip_weights(self.critic, settings.weight_limit)
        return scalars


def _critic_optimizer(critic: PatchCritic, settings: AdversarialSettings) -> torch.optim.Optimizer:
    """The ones of Gulrajani 2017 and of Arjovsky 2017: momentum unsettles a critic that is chased."""
    if settings.lipschitz == "gradient-penalty":
        return torch.optim.Adam(critic.parameters(), lr=settings.critic_learning_rate, betas=(0.0, 0.9))
    return torch.optim.RMSprop(critic.parameters(), lr=settings.critic_learning_rate)
