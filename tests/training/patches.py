"""Patches made by hand."""

import torch
from torch import Tensor

from training.patch import Patch


def fully_labelled(fixed: Tensor, moving: Tensor, fixed_labels: Tensor, moving_labels: Tensor) -> Patch:
    """A patch whose labels may all be used; shapes as in `Patch`."""
    every = torch.ones(len(fixed), dtype=torch.bool)
    return Patch(fixed, moving, fixed_labels, moving_labels, every, every, moving_labels)
