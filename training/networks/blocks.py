"""The parts that every network of the family is made of: blocks, levels, the encoder and the decoder of a path.

Beljaards, Elmahdy et al., "A cross-stitch architecture for joint registration and segmentation in adaptive
radiotherapy", MIDL 2020, figure 4. Valid convolutions, so an input of n voxels per axis gives n - 40.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.recipe import MARGIN, Widths

DVF_COMPONENTS = 3


@dataclass(frozen=True)
class Level:
    """One of the three resolutions at which a path answers.

    Output voxel i lies on input voxel `stride * i + border`, on every axis. A displacement is in voxels of the level.
    """

    name: str
    stride: int
    border: int


LEVELS = (Level("high", 1, MARGIN), Level("mid", 2, 18), Level("low", 4, 14))
"""Full resolution first."""


class LevelOutput(NamedTuple):
    """What a network says at one level; None where it has no such path.

    Attributes:
        logits: (batch, classes, z, y, x), background first, before the softmax.
        dvf: (batch, 3, z, y, x) in voxels of the level, components (x, y, z), pull-back.
    """

    logits: Tensor | None
    dvf: Tensor | None


class Block(nn.Sequential):
    """3^3 convolution, LeakyReLU 0.2, batch normalisation after the activation, as the authors' first models had it."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1) -> None:
        # Padding 1 on both sides centres a halved voxel on 2i + 2 of its input; TensorFlow's SAME pads one side only.
        convolution = nn.Conv3d(inputs, outputs, 3, stride=stride, padding=1 if stride == 2 else 0)
        super().__init__(convolution, nn.LeakyReLU(0.2), nn.BatchNorm3d(outputs, eps=1e-3, momentum=0.1))


class Encoder(nn.Module):
    """Layers 1 to 5: two at full resolution, a halving, two at half resolution."""

    def __init__(self, inputs: int, widths: Widths) -> None:
        super().__init__()
        a, b, _ = widths
        self.down1 = nn.Sequential(Block(inputs, a), Block(a, a))
        self.halve1 = Block(a, a, stride=2)
        self.down2 = nn.Sequential(Block(a, b), Block(b, b))

    def forward(self, volume: Tensor) -> tuple[Tensor, Tensor]:
        """The two skip connections, (batch, a, n-4) and (batch, b, n/2-6)."""
        skip1 = self.down1(volume)
        return skip1, self.down2(self.halve1(skip1))


class Decoder(nn.Module):
    """Layers 6 to 14 with the heads of the three levels, coarse to fine."""

    def __init__(self, outputs: int, widths: Widths) -> None:
        super().__init__()
        a, b, c = widths
        self.halve2 = Block(b, b, stride=2)
        self.bottom = nn.Sequential(Block(b, c), Block(c, c))
        self.up1 = nn.Sequential(Block(c + b, b), Block(b, b))
        self.up2 = nn.Sequential(Block(b + a, a), Block(a, a))
        self.low, self.mid, self.high = (nn.Conv3d(width, outputs, 1) for width in (c, b, a))

    def forward(self, skip1: Tensor, skip2: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The outputs of the levels in the order of `LEVELS`: n - 40, n/2 - 18 and n/4 - 7 voxels per axis."""
        low = self.bottom(self.halve2(skip2))
        mid = self.up1(joined(low, skip2, 4))
        high = self.up2(joined(mid, skip1, 16))
        return self.high(high), self.mid(mid), self.low(low)


class TaskPath(nn.Module):
    """The fourteen layers of one task and its three heads."""

    def __init__(self, inputs: int, outputs: int, widths: Widths) -> None:
        super().__init__()
        self.encoder = Encoder(inputs, widths)
        self.decoder = Decoder(outputs, widths)

    def forward(self, volume: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The outputs of the levels in the order of `LEVELS`, for an input (batch, channels, n, n, n)."""
        outputs: tuple[Tensor, Tensor, Tensor] = self.decoder(*self.encoder(volume))
        return outputs


def initialise(network: nn.Module) -> None:
    """Convolutions N(0, 0.02), biases zero."""
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def cropped(volume: Tensor, border: int) -> Tensor:
    """`volume` (batch, channels, z, y, x) without `border` voxels on each side."""
    return volume[:, :, border:-border, border:-border, border:-border]


def joined(coarse: Tensor, skip: Tensor, border: int) -> Tensor:
    """`coarse` doubled by nearest neighbours, its channels followed by those of the cropped skip connection."""
    return torch.cat([F.interpolate(coarse, scale_factor=2.0, mode="nearest"), cropped(skip, border)], dim=1)


def last_convolution(module: nn.Module) -> nn.Parameter:
    """The weights of the last convolution in a module, where task weighting measures its gradients."""
    return [part for part in module.modules() if isinstance(part, nn.Conv3d)][-1].weight


def parameter_count(module: nn.Module) -> int:
    """Trainable numbers."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
