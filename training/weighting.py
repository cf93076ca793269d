"""How the tasks of a joint network are weighed against each other, whatever the network.

A task is a name and a scalar loss, for instance similarity (NCC + 0.5 bending energy), Dice of the carried labels, Dice
of the segmentation. A rule turns the losses of a step into the one scalar that is minimised. With several processes the
rules see the losses of all of them, so every process holds the same weights.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from training.distributed import average
from training.weighting_settings import WeightingKind, WeightingSettings

SMALLEST_LOSS = 1e-8
"""Losses below it count as this much where a rule divides by one."""

SMALLEST_WEIGHT = 1e-3
"""GradNorm's weights stay above it: a weight below zero would drive its task the wrong way."""


class TaskWeighting(Protocol):
    """One rule with its state.

    Attributes:
        names: The tasks, in the order of every state.
    """

    names: tuple[str, ...]

    def combine(self, losses: Mapping[str, Tensor], *, shared: Sequence[nn.Parameter], number: int) -> Tensor:
        """The scalar to minimise at step `number`; call it once per step, before `backward`.

        Args:
            losses: A scalar per task, with its graph.
            shared: Parameters that all tasks use. Only GradNorm reads them.
            number: Step, from 0.

        Raises:
            ValueError: If the losses are not those of the tasks, or GradNorm is given nothing shared.
        """

    def parameters(self) -> tuple[nn.Parameter, ...]:
        """What the optimiser of the network learns along with it."""

    def weights(self) -> dict[str, float]:
        """The factor of each task at the next step, to be logged."""

    def state_dict(self) -> dict[str, Any]:
        """Everything a continued run needs, as tensors and plain numbers."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state of the same rule and the same tasks."""


def make_weighting(
    kind: WeightingKind, tasks: Iterable[str], settings: WeightingSettings, *, device: torch.device | None = None
) -> TaskWeighting:
    """The rule that a recipe names.

    Args:
        kind: Its name.
        tasks: Names of the losses.
        settings: Numbers of the rules.
        device: Where the network is; the CPU by default.
    """
    names, device = tuple(tasks), device or torch.device("cpu")
    if kind == "uncertainty":
        return UncertaintyWeighting(names, device=device)
    if kind == "dwa":
        return DynamicWeightAveraging(
            names, epoch_steps=settings.epoch_steps, temperature=settings.temperature, device=device
        )
    if kind == "gradnorm":
        return GradNorm(names, alpha=settings.alpha, learning_rate=settings.learning_rate, device=device)
    return EqualWeighting(names)


class EqualWeighting:
    """The plain sum: every weight is 1."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names

    def combine(self, losses: Mapping[str, Tensor], *, shared: Sequence[nn.Parameter], number: int) -> Tensor:  # noqa: ARG002
        """sum_i L_i."""
        return _stacked(losses, self.names).sum()

    def parameters(self) -> tuple[nn.Parameter, ...]:
        """None."""
        return ()

    def weights(self) -> dict[str, float]:
        """1 each."""
        return dict.fromkeys(self.names, 1.0)

    def state_dict(self) -> dict[str, Any]:
        """Empty."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to do."""


class UncertaintyWeighting:
    """Homoscedastic uncertainty: sum_i L_i / sigma_i^2 + log sigma_i. Kendall et al., CVPR 2018.

    Learned is s_i = log sigma_i^2, from 0, so the sum reads exp(-s_i) L_i + s_i / 2. It may become negative. A task at
    rest has sigma_i^2 = 2 L_i.
    """

    def __init__(self, names: tuple[str, ...], *, device: torch.device) -> None:
        self.names = names
        self.log_variances = nn.Parameter(torch.zeros(len(names), device=device))  # (tasks,)

    def combine(self, losses: Mapping[str, Tensor], *, shared: Sequence[nn.Parameter], number: int) -> Tensor:  # noqa: ARG002
        """sum_i exp(-s_i) L_i + s_i / 2, with a gradient to the s_i."""
        return (torch.exp(-self.log_variances) * _stacked(losses, self.names) + self.log_variances / 2).sum()

    def parameters(self) -> tuple[nn.Parameter, ...]:
        """The log variances."""
        return (self.log_variances,)

    def weights(self) -> dict[str, float]:
        """exp(-s_i), above 0."""
        return _named(self.names, torch.exp(-self.log_variances.detach()))

    def state_dict(self) -> dict[str, Any]:
        """The log variances."""
        return {"log_variances": self.log_variances.detach().clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the log variances; the optimiser keeps its hold on the parameter."""
        with torch.no_grad():
            self.log_variances.copy_(state["log_variances"])


class DynamicWeightAveraging:
    """Tasks whose loss falls more slowly weigh more. Liu et al., CVPR 2019.

    In epoch t, w_i = K exp(r_i / T) / sum_j exp(r_j / T) with r_i = L_i(t - 1) / L_i(t - 2), L_i(t) the mean loss of an
    epoch and K the number of tasks. In the first two epochs every weight is 1. The weights always sum to K.
    """

    def __init__(self, names: tuple[str, ...], *, epoch_steps: int, temperature: float, device: torch.device) -> None:
        self.names = names
        self._epoch_steps, self._temperature = epoch_steps, temperature
        self._epoch, self._count = 0, 0
        self._sums = torch.zeros(len(names), device=device)
        self._means: list[Tensor] = []  # of the last two epochs, older first
        self._weights = torch.ones(len(names), device=device)

    def combine(self, losses: Mapping[str, Tensor], *, shared: Sequence[nn.Parameter], number: int) -> Tensor:  # noqa: ARG002
        """sum_i w_i L_i; the first step of an epoch sets its weights."""
        stacked = _stacked(losses, self.names)
        epoch = number // self._epoch_steps
        if epoch != self._epoch:
            self._begin(epoch)
        self._sums += stacked.detach().float()
        self._count += 1
        return (self._weights * stacked).sum()

    def parameters(self) -> tuple[nn.Parameter, ...]:
        """None: the weights follow from the losses."""
        return ()

    def weights(self) -> dict[str, float]:
        """From 0 to the number of tasks."""
        return _named(self.names, self._weights)

    def state_dict(self) -> dict[str, Any]:
        """Weights, means of the last two epochs, and the sums of the epoch that is running."""
        return {
            "epoch": self._epoch,
            "count": self._count,
            "sums": self._sums.clone(),
            "means": [mean.clone() for mean in self._means],
            "weights": self._weights.clone(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on in the middle of an epoch."""
        device = self._sums.device
        self._epoch, self._count = state["epoch"], state["count"]
        # Copies: the sums are added to in place, which must not reach into the state that was given.
        self._sums = state["sums"].to(device).clone()
        self._means = [mean.to(device).clone() for mean in state["means"]]
        self._weights = state["weights"].to(device).clone()

    def _begin(self, epoch: int) -> None:
        if self._count:
            self._means = [*self._means, average(self._sums / self._count)][-2:]
        if len(self._means) == 2:
            older, newer = (mean.clamp(min=SMALLEST_LOSS) for mean in self._means)
            self._weights = len(self.names) * torch.softmax(newer / older / self._temperature, dim=0)
        self._epoch, self._count = epoch, 0
        self._sums = torch.zeros_like(self._sums)


class GradNorm:
    """Tasks pull equally hard at the shared parameters, those behind in training harder. Chen et al., ICML 2018.

    G_i = |grad of w_i L_i| over the shared parameters; target_i = mean_j G_j * (R_i / mean_j R_j)^alpha with
    R_i = L_i(t) / L_i(0), taken as constant; sum_i |G_i - target_i| is minimised over the w_i. Its derivative to w_i is
    sign(G_i - target_i) |grad L_i|, so no second derivatives are needed. After each step the w_i are scaled to sum to
    the number of tasks. Step t uses the weights that step t - 1 left; they begin at 1.

    Costs one backward pass per task from the loss to the shared parameters.
    """

    def __init__(self, names: tuple[str, ...], *, alpha: float, learning_rate: float, device: torch.device) -> None:
        self.names = names
        self._alpha = alpha
        self._weights = nn.Parameter(torch.ones(len(names), device=device))
        self._first: Tensor | None = None
        # Gradient norms have no scale of their own; Adam's steps do not depend on it.
        self._optimizer = torch.optim.Adam([self._weights], lr=learning_rate)

    def combine(self, losses: Mapping[str, Tensor], *, shared: Sequence[nn.Parameter], number: int) -> Tensor:  # noqa: ARG002
        """sum_i w_i L_i with constant w_i; moves them afterwards."""
        stacked = _stacked(losses, self.names)
        if not shared:
            raise ValueError("GradNorm needs the parameters that the tasks share")
        used = self._weights.detach().clone()
        norms = torch.stack([_gradient_norm(losses[name], shared) for name in self.names])
        self._move(average(stacked.detach().float()), average(norms))
        return (used * stacked).sum()

    def parameters(self) -> tuple[nn.Parameter, ...]:
        """None: the weights have an optimiser of their own."""
        return ()

    def weights(self) -> dict[str, float]:
        """Above 0, with the number of tasks as their sum."""
        return _named(self.names, self._weights.detach())

    def state_dict(self) -> dict[str, Any]:
        """Weights, losses of the first step, and Adam's moments."""
        return {
            "weights": self._weights.detach().clone(),
            "first": None if self._first is None else self._first.clone(),
            "optimizer": self._optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on as if never stopped."""
        with torch.no_grad():
            self._weights.copy_(state["weights"])
        self._first = None if state["first"] is None else state["first"].to(self._weights.device)
        self._optimizer.load_state_dict(state["optimizer"])

    def _move(self, losses: Tensor, norms: Tensor) -> None:
        """One step of the weights.

        Args:
            losses: (tasks,) values of this step.
            norms: (tasks,) gradient norms of the unweighted losses.
        """
        losses = losses.clamp(min=SMALLEST_LOSS)
        if self._first is None:
            self._first = losses
        left = losses / self._first
        weighted = self._weights.detach() * norms
        target = weighted.mean() * (left / left.mean()) ** self._alpha
        self._weights.grad = torch.sign(weighted - target) * norms
        self._optimizer.step()
        with torch.no_grad():
            self._weights.clamp_(min=SMALLEST_WEIGHT)
            self._weights.mul_(len(self.names) / self._weights.sum())


def _stacked(losses: Mapping[str, Tensor], names: tuple[str, ...]) -> Tensor:
    """(tasks,) in the order of the names."""
    if set(losses) != set(names):
        raise ValueError(f"losses of {sorted(losses)} given, tasks are {sorted(names)}")
    return torch.stack([losses[name] for name in names])


def _named(names: tuple[str, ...], values: Tensor) -> dict[str, float]:
    return dict(zip(names, values.tolist(), strict=True))


def _gradient_norm(loss: Tensor, shared: Sequence[nn.Parameter]) -> Tensor:
    """Euclidean norm over all shared parameters of d loss / d parameter; one that the task does not reach adds 0."""
    gradients = torch.autograd.grad(loss, list(shared), retain_graph=True, allow_unused=True)
    squares = [gradient.float().square().sum() for gradient in gradients if gradient is not None]
    return torch.stack(squares).sum().sqrt() if squares else torch.zeros((), device=loss.device)
