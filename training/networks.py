"""The cross-stitch network: one path segments the daily CT, the other registers the planning CT to it.

Beljaards, Elmahdy et al., "A cross-stitch architecture for joint registration and segmentation in adaptive
radiotherapy", MIDL 2020, figure 4. 7.8e5 parameters; valid convolutions, so an input of n voxels per axis gives n - 40.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MARGIN = 20
"""Input voxels per side that the full-resolution output does not reach."""

SIZE_MULTIPLE = 4
"""Two halvings that must come out even."""

PAPER_WIDTHS = (16, 32, 64)
PAPER_PARAMETERS = 779_576
SEGMENTATION_INPUTS = 1
REGISTRATION_INPUTS = 3
DVF_COMPONENTS = 3


@dataclass(frozen=True)
class Level:
    """One of the three resolutions at which both paths answer.

    Output voxel i lies on input voxel `stride * i + border`, on every axis. A displacement is in voxels of the level.
    """

    name: str
    stride: int
    border: int


LEVELS = (Level("high", 1, MARGIN), Level("mid", 2, 18), Level("low", 4, 14))
"""Full resolution first."""


class LevelOutput(NamedTuple):
    """What both paths say at one level.

    Attributes:
        logits: (batch, classes, z, y, x), background first, before the softmax.
        dvf: (batch, 3, z, y, x) in voxels of the level, components (x, y, z), pull-back.
    """

    logits: Tensor
    dvf: Tensor


class Block(nn.Sequential):
    """3^3 convolution, LeakyReLU 0.2, batch normalisation after the activation, as the authors' first models had it."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1) -> None:
        # Padding 1 on both sides centres a halved voxel on 2i + 2 of its input; TensorFlow's SAME pads one side only.
        convolution = nn.Conv3d(inputs, outputs, 3, stride=stride, padding=1 if stride == 2 else 0)
        super().__init__(convolution, nn.LeakyReLU(0.2), nn.BatchNorm3d(outputs, eps=1e-3, momentum=0.1))


class CrossStitch(nn.Module):
    """Two paths exchange features: one 2x2 matrix per channel, no bias. Misra et al., CVPR 2016."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.empty(2, 2, channels))
        nn.init.trunc_normal_(self.alpha, mean=0.5, std=0.25, a=0.0, b=1.0)

    def forward(self, segmentation: Tensor, registration: Tensor) -> tuple[Tensor, Tensor]:
        """Both maps (batch, channels, z, y, x), mixed."""
        alpha = self.alpha.view(2, 2, 1, -1, 1, 1, 1).to(segmentation.dtype)
        return (
            alpha[0, 0] * segmentation + alpha[0, 1] * registration,
            alpha[1, 0] * segmentation + alpha[1, 1] * registration,
        )


class TaskPath(nn.Module):
    """The fourteen layers of one task and its three heads; the stitches between the paths are not in here."""

    def __init__(self, inputs: int, outputs: int, widths: tuple[int, int, int]) -> None:
        super().__init__()
        a, b, c = widths
        self.down1 = nn.Sequential(Block(inputs, a), Block(a, a))
        self.halve1 = Block(a, a, stride=2)
        self.down2 = nn.Sequential(Block(a, b), Block(b, b))
        self.halve2 = Block(b, b, stride=2)
        self.bottom = nn.Sequential(Block(b, c), Block(c, c))
        self.up1 = nn.Sequential(Block(c + b, b), Block(b, b))
        self.up2 = nn.Sequential(Block(b + a, a), Block(a, a))
        self.low, self.mid, self.high = (nn.Conv3d(width, outputs, 1) for width in (c, b, a))

    def initialise(self) -> None:
        """Convolutions N(0, 0.02), biases zero."""
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)


def cropped(volume: Tensor, border: int) -> Tensor:
    """`volume` (batch, channels, z, y, x) without `border` voxels on each side."""
    return volume[:, :, border:-border, border:-border, border:-border]


def joined(coarse: Tensor, skip: Tensor, border: int) -> Tensor:
    """`coarse` doubled by nearest neighbours, its channels followed by those of the cropped skip connection."""
    return torch.cat([F.interpolate(coarse, scale_factor=2.0, mode="nearest"), cropped(skip, border)], dim=1)


class CrossStitchNetwork(nn.Module):
    """Both paths with units after layers 3, 6, 9 and 12.

    Layers 9 and 12 double the map. The unit is linear per channel and the doubling repeats voxels, so mixing before
    doubling is the same function for an eighth of the work.

    Args:
        classes: Organs and background.
        widths: Channels at full, half and quarter resolution; the paper's by default.
    """

    def __init__(self, classes: int = 5, *, widths: tuple[int, int, int] = PAPER_WIDTHS) -> None:
        super().__init__()
        self.segmentation = TaskPath(SEGMENTATION_INPUTS, classes, widths)
        self.registration = TaskPath(REGISTRATION_INPUTS, DVF_COMPONENTS, widths)
        self.stitch3, self.stitch6, self.stitch9, self.stitch12 = (
            CrossStitch(width) for width in (widths[0], widths[1], widths[2], widths[1])
        )
        self.segmentation.initialise()
        self.registration.initialise()

    def forward(self, fixed: Tensor, moving: Tensor, moving_labels: Tensor) -> tuple[LevelOutput, ...]:
        """Segment `fixed` and register `moving` to it.

        Args:
            fixed: (batch, 1, z, y, x) daily CT, windowed; every size a multiple of 4 and more than 40.
            moving: (batch, 1, z, y, x) planning CT on the same grid.
            moving_labels: (batch, 1, z, y, x) planned organs as whole numbers.

        Returns:
            One output per level in the order of `LEVELS`; for sizes n: n - 40, n/2 - 18 and n/4 - 7.
        """
        s, r = self.segmentation, self.registration
        skip_s1 = s.down1(fixed)  # (batch, 16, n-4)
        skip_r1 = r.down1(torch.cat([fixed, moving, moving_labels], dim=1))
        xs, xr = self.stitch3(s.halve1(skip_s1), r.halve1(skip_r1))  # (batch, 16, n/2-2)
        skip_s2, skip_r2 = s.down2(xs), r.down2(xr)  # (batch, 32, n/2-6)
        xs, xr = self.stitch6(s.halve2(skip_s2), r.halve2(skip_r2))  # (batch, 32, n/4-3)
        xs, xr = s.bottom(xs), r.bottom(xr)  # (batch, 64, n/4-7)
        low = LevelOutput(s.low(xs), r.low(xr))
        xs, xr = self.stitch9(xs, xr)
        xs, xr = s.up1(joined(xs, skip_s2, 4)), r.up1(joined(xr, skip_r2, 4))  # (batch, 32, n/2-18)
        mid = LevelOutput(s.mid(xs), r.mid(xr))
        xs, xr = self.stitch12(xs, xr)
        xs, xr = s.up2(joined(xs, skip_s1, 16)), r.up2(joined(xr, skip_r1, 16))  # (batch, 16, n-40)
        return LevelOutput(s.high(xs), r.high(xr)), mid, low


def parameter_count(module: nn.Module) -> int:
    """Trainable numbers."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
