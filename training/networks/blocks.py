"""The parts that every network of the family is made of: blocks, levels, the encoder and the decoder of a path.

Beljaards, Elmahdy et al., "A cross-stitch architecture for joint registration and segmentation in adaptive
radiotherapy", MIDL 2020, figure 4. Valid convolutions, so an input of n voxels per axis gives n - 40.
"""

from dataclasses import dataclass
from typing import NamedTuple

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


class Up(nn.Sequential):
    """Two blocks on a coarse map, doubled by nearest neighbours, and the channels of the cropped skip connection.

    The doubled map is never made. At most 8 of the 27 voxels that the first convolution reads of it differ, so that
    convolution is the sum of one of the skip connection and a transposed one of the coarse map: 8 products for 27.

    Args:
        coarse: Channels of the coarse map.
        fine: Channels of the skip connection, and of the output.
        border: Voxels that the skip connection is larger on each side than the doubled map.
    """

    def __init__(self, coarse: int, fine: int, *, border: int) -> None:
        super().__init__(Block(coarse + fine, fine), Block(fine, fine))
        self.border = border

    def forward(self, coarse: Tensor, skip: Tensor) -> Tensor:
        """(batch, fine, 2n - 4) of a coarse map (batch, coarse, n)."""
        (convolution, *rest), second = self
        weight, channels = convolution.weight, coarse.shape[1]
        doubled = F.conv_transpose3d(coarse, doubling_kernel(weight[:, :channels]), stride=2, padding=2)
        volume = doubled + F.conv3d(cropped(skip, self.border), weight[:, channels:], convolution.bias)
        for layer in (*rest, second):
            volume = layer(volume)
        return volume


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
        self.up1 = Up(c, b, border=4)
        self.up2 = Up(b, a, border=16)
        self.low, self.mid, self.high = (nn.Conv3d(width, outputs, 1) for width in (c, b, a))

    def forward(self, skip1: Tensor, skip2: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The outputs of the levels in the order of `LEVELS`: n - 40, n/2 - 18 and n/4 - 7 voxels per axis."""
        low = self.bottom(self.halve2(skip2))
        mid = self.up1(low, skip2)
        high = self.up2(mid, skip1)
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


def doubling_kernel(weight: Tensor) -> Tensor:
    """The kernel (inputs, outputs, 4, 4, 4) whose transposed convolution of stride 2 and padding 2 equals the valid
    convolution with `weight` (outputs, inputs, 3, 3, 3) of a map doubled by nearest neighbours."""
    kernel = weight.transpose(0, 1).flip(2, 3, 4)
    for axis in range(3):
        before = [0] * (2 * axis)
        kernel = F.pad(kernel, [*before, 0, 1]) + F.pad(kernel, [*before, 1, 0])
    return kernel


def last_convolution(module: nn.Module) -> nn.Parameter:
    """The weights of the last convolution in a module, where task weighting measures its gradients."""
    return [part for part in module.modules() if isinstance(part, nn.Conv3d)][-1].weight


def parameter_count(module: nn.Module) -> int:
    """Trainable numbers."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
