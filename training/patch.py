"""One batch of training."""

from typing import NamedTuple

import torch
from torch import Tensor


class Patch(NamedTuple):
    """Network inputs with the labels of both sides.

    Attributes:
        fixed: (batch, 1, z, y, x) float32, windowed.
        moving: The same of the other side.
        fixed_labels: (batch, 1, z, y, x) uint8, whole numbers.
        moving_labels: The same of the other side.
        fixed_labelled: (batch,) bool: whether a loss may look at the fixed labels.
        moving_labelled: (batch,) bool.
        planned_labels: The moving labels as the network is shown them: a plan may lack an organ.
    """

    fixed: Tensor
    moving: Tensor
    fixed_labels: Tensor
    moving_labels: Tensor
    fixed_labelled: Tensor
    moving_labelled: Tensor
    planned_labels: Tensor

    def to(self, device: torch.device) -> "Patch":
        """The same on another device."""
        return Patch(*(tensor.to(device) for tensor in self))
