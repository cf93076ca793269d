"""Pulling the moving image and labels onto the fixed grid inside the loss, with a gradient to the displacement.

Points are in voxels of the whole input patch, components (x, y, z); sampling is trilinear and the edge repeats. A level
samples the whole input, not the part under its output, so that a displacement may fetch from the margin.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from training.networks import Level


def level_points(shape: tuple[int, int, int], level: Level, *, device: torch.device) -> Tensor:
    """Where the output voxels of a level lie in the input, (z, y, x, 3) voxels, components (x, y, z)."""
    axes = [torch.arange(count, device=device, dtype=torch.float32) * level.stride + level.border for count in shape]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    return torch.stack([x, y, z], dim=-1)


def sample(volume: Tensor, points: Tensor) -> Tensor:
    """Trilinear values of a volume at points.

    Args:
        volume: (batch, channels, z, y, x) float32.
        points: (batch or 1, z', y', x', 3) voxels of `volume`, components (x, y, z); beyond the edge the edge counts.

    Returns:
        (batch, channels, z', y', x').
    """
    depth, height, width = volume.shape[2:]
    size = torch.tensor([width, height, depth], device=volume.device, dtype=points.dtype)
    grid = (2 * points / (size - 1) - 1).expand(volume.shape[0], -1, -1, -1, -1)
    return F.grid_sample(volume, grid, mode="bilinear", padding_mode="border", align_corners=True)


def warp(volume: Tensor, dvf: Tensor, level: Level) -> Tensor:
    """`volume` pulled through a displacement onto the output grid of a level.

    Args:
        volume: (batch, channels, z, y, x) on the input grid of the network.
        dvf: (batch, 3, z', y', x') in voxels of the level, components (x, y, z): moving = fixed + dvf(fixed).
        level: Where the output voxels lie and how long their voxel is.
    """
    shape = (dvf.shape[2], dvf.shape[3], dvf.shape[4])
    points = level_points(shape, level, device=dvf.device) + level.stride * dvf.float().permute(0, 2, 3, 4, 1)
    return sample(volume, points)


def at_level(volume: Tensor, shape: tuple[int, int, int], level: Level) -> Tensor:
    """The part of an input volume (batch, channels, z, y, x) on the output voxels of a level, without smoothing."""
    steps = tuple(slice(level.border, level.border + count * level.stride, level.stride) for count in shape)
    return volume[(slice(None), slice(None), *steps)]
