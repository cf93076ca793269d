"""DeepAtlas: two U-Nets that train each other and work alone.

Xu and Niethammer, "DeepAtlas: joint semi-supervised learning of image registration and segmentation", MICCAI 2019.
Layers and channels are those of the authors' repository; with the widths (16, 32, 64) they are the same to the number.
Convolutions are padded with zeros, so an output near the edge knows less, and both networks answer on the whole input;
`DeepAtlasNetwork` leaves away what the others of the family do not reach either.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.networks.blocks import DVF_COMPONENTS, LEVELS, LevelOutput
from training.recipe import Widths

FIRST_FLOW_SD = 1e-5
"""Of the last weights of a new registration network: it starts by moving nothing. As VoxelMorph; the authors of
DeepAtlas draw these like all others."""


class RegistrationUNet(nn.Module):
    """VoxelMorph's first U-Net (Balakrishnan et al., CVPR 2018), with ReLU and without normalisation.

    Encoder a, b, b, b, b channels at resolutions 1 to 1/16, decoder b, b, b, a/2, a/2, and a displacement from the
    last map joined to the first. It is in voxels, where the authors' is in shares of the image, so that it means the
    same in a patch of any size.

    Args:
        widths: (a, b, c) as elsewhere in the family; c plays no part here.
    """

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        a, b, _ = widths
        thin = max(1, a // 2)
        self.encoder = nn.ModuleList([_rectified(2, a), *(_rectified(inputs, b, stride=2) for inputs in (a, b, b, b))])
        self.decoder = nn.ModuleList(
            [
                _rectified(b, b),  # at 1/8
                _rectified(b + b, b),  # at 1/4
                _rectified(b + b, b),  # at 1/2
                _rectified(b + b, thin),  # at 1/2
                _rectified(thin, thin),  # at 1
            ]
        )
        self.flow = nn.Conv3d(thin + a, DVF_COMPONENTS, 3, padding=1)
        _initialise(self)
        nn.init.normal_(self.flow.weight, std=FIRST_FLOW_SD)

    def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """Register `moving` to `fixed`.

        Args:
            fixed: (batch, 1, z, y, x), windowed.
            moving: The same shape.

        Returns:
            (batch, 3, z, y, x) in voxels, components (x, y, z), pull-back: moving = fixed + dvf(fixed).
        """
        skips = [self.encoder[0](torch.cat([moving, fixed], dim=1))]
        for halving in self.encoder[1:]:
            skips.append(halving(skips[-1]))
        full, half, quarter, eighth, sixteenth = skips
        x = self.decoder[0](_doubled(sixteenth, like=eighth))
        x = self.decoder[1](_doubled(torch.cat([x, eighth], dim=1), like=quarter))
        x = self.decoder[2](_doubled(torch.cat([x, quarter], dim=1), like=half))
        x = self.decoder[3](torch.cat([x, half], dim=1))
        x = self.decoder[4](_doubled(x, like=full))
        dvf: Tensor = self.flow(torch.cat([x, full], dim=1))
        return dvf


class SegmentationUNet(nn.Module):
    """The authors' light U-Net: three max-pools, transposed convolutions, batch normalisation, LeakyReLU 0.01.

    Args:
        classes: Organs and background.
        widths: (a, b, c): the encoder has a/2 and a channels at full resolution, a and b at half, b and c at a quarter
            and c at an eighth; the decoder c, b and a.
    """

    def __init__(self, classes: int, widths: Widths) -> None:
        super().__init__()
        a, b, c = widths
        self.encoder = nn.ModuleList([_pair(1, max(1, a // 2), a), _pair(a, a, b), _pair(b, b, c), _pair(c, c, c)])
        self.pool = nn.MaxPool3d(2, ceil_mode=True)
        self.enlarge = nn.ModuleList([_enlarging(c, c), _enlarging(c, c), _enlarging(b, b)])
        self.decoder = nn.ModuleList([_pair(c + c, c, c), _pair(b + c, b, b), _pair(a + b, a, a)])
        self.head = nn.Conv3d(a, classes, 1)
        _initialise(self)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (batch, classes, z, y, x), background first, of a windowed CT (batch, 1, z, y, x)."""
        x = self.encoder[0](image)
        skips = []
        for block in self.encoder[1:]:
            skips.append(x)
            x = block(self.pool(x))
        for enlarge, block, skip in zip(self.enlarge, self.decoder, reversed(skips), strict=True):
            x = block(torch.cat([_fitted(enlarge(x), like=skip), skip], dim=1))
        logits: Tensor = self.head(x)
        return logits


class DeepAtlasNetwork(nn.Module):
    """Both networks, answering like the rest of the family at full resolution.

    Args:
        classes: Organs and background.
        widths: (16, 32, 64) for the authors' channels.
    """

    def __init__(self, classes: int, *, widths: Widths) -> None:
        super().__init__()
        self.segmentation = SegmentationUNet(classes, widths)
        self.registration = RegistrationUNet(widths)

    def forward(self, fixed: Tensor, moving: Tensor, moving_labels: Tensor) -> tuple[LevelOutput, ...]:  # noqa: ARG002
        """Segment `fixed` and register `moving` to it.

        Args:
            fixed: (batch, 1, z, y, x) daily CT, windowed; every size more than 40.
            moving: (batch, 1, z, y, x) planning CT on the same grid.
            moving_labels: Not looked at: neither network sees contours.

        Returns:
            One output, of `LEVELS[0]`: sizes n - 40.
        """
        border = LEVELS[0].border
        logits, dvf = self.segmentation(fixed), self.registration(fixed, moving)
        return (LevelOutput(inner(logits, border), inner(dvf, border)),)

    def shared_parameters(self) -> list[nn.Parameter]:
        """None: the two networks share no layer."""
        return []


def inner(volume: Tensor, border: int) -> Tensor:
    """`volume` (batch, channels, z, y, x) without `border` voxels on each side; 0 leaves it whole."""
    z, y, x = (slice(border, size - border) for size in volume.shape[2:])
    return volume[:, :, z, y, x]


def _rectified(inputs: int, outputs: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv3d(inputs, outputs, 3, stride=stride, padding=1), nn.ReLU())


def _pair(inputs: int, middle: int, outputs: int) -> nn.Sequential:
    """Two 3^3 convolutions, each normalised before its activation."""
    layers = []
    for before, after in ((inputs, middle), (middle, outputs)):
        layers += [nn.Conv3d(before, after, 3, padding=1), nn.BatchNorm3d(after), nn.LeakyReLU()]
    return nn.Sequential(*layers)


def _enlarging(inputs: int, outputs: int) -> nn.Sequential:
    """A 2^3 transposed convolution that doubles the map."""
    convolution = nn.ConvTranspose3d(inputs, outputs, 2, stride=2)
    return nn.Sequential(convolution, nn.BatchNorm3d(outputs), nn.LeakyReLU())


def _doubled(coarse: Tensor, *, like: Tensor) -> Tensor:
    """Every voxel twice per axis. A strided convolution rounds odd sizes up, so its double may be one too long."""
    return _fitted(F.interpolate(coarse, scale_factor=2.0, mode="nearest"), like=like)


def _fitted(volume: Tensor, *, like: Tensor) -> Tensor:
    """The first voxels of `volume`, as many per axis as `like` has: cut at the end, voxel 2i stays on voxel i."""
    z, y, x = like.shape[2:]
    return volume[:, :, :z, :y, :x]


def _initialise(network: nn.Module) -> None:
    """Glorot's normal weights and zero biases, as in the authors' repository."""
    for module in network.modules():
        if isinstance(module, nn.Conv3d | nn.ConvTranspose3d) and module.bias is not None:
            nn.init.xavier_normal_(module.weight)
            nn.init.zeros_(module.bias)
