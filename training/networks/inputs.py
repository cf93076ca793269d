"""Which images a path sees: the input variants of the papers."""

from collections.abc import Sequence

import torch
from torch import Tensor

from training.recipe import Channel


def stacked(channels: Sequence[Channel], fixed: Tensor, moving: Tensor, moving_labels: Tensor) -> Tensor:
    """The named ones of three tensors (batch, 1, z, y, x) as (batch, len(channels), z, y, x), in the order named."""
    named = {"fixed": fixed, "moving": moving, "moving_labels": moving_labels}
    return torch.cat([named[channel] for channel in channels], dim=1)
