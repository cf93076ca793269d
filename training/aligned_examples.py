"""Well-aligned examples for the critic: Theta of JRS-GAN, the fixed image made over as a moving image on its place.

Elmahdy et al., MICCAI 2019, shows the critic (I_f, Theta(I_f), S_f) as what a perfect registration would look like.
What Theta does is not told in what could be found; this one is ours. Draws and their application are apart, so that a
test can apply a known one.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from imaging.manifest import HuWindow
from training.adversarial_settings import AlignedExampleSettings
from training.losses import one_hot
from training.networks.blocks import LEVELS
from training.patch import Patch
from training.warp import at_level, warp

Shape = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Perturbation:
    """One drawn Theta per example of a batch, on the full-resolution output grid; values in units of the window.

    Attributes:
        jitter: (batch, 3, z, y, x) displacement in voxels, components (x, y, z).
        contrast: (batch, organs, 1, 1, 1) added within each organ.
        gain: (batch, 1, 1, 1, 1) factor of all values.
        offset: (batch, 1, 1, 1, 1) added to all values.
        noise: (batch, 1, z, y, x) added voxel by voxel.
        blur: (batch, 1, 1, 1, 1) share of the smoothed image.
    """

    jitter: Tensor
    contrast: Tensor
    gain: Tensor
    offset: Tensor
    noise: Tensor
    blur: Tensor

    def to(self, device: torch.device) -> "Perturbation":
        """The same on another device."""
        parts = (self.jitter, self.contrast, self.gain, self.offset, self.noise, self.blur)
        return Perturbation(*(part.to(device) for part in parts))


def draw_perturbation(
    settings: AlignedExampleSettings,
    window: HuWindow,
    *,
    batch: int,
    organs: int,
    shape: Shape,
    generator: torch.Generator,
) -> Perturbation:
    """Draw a Theta for every example of a batch.

    Args:
        settings: How large everything may be, HU and voxels.
        window: Whose divisor turns HU into network units.
        batch: Number of examples.
        organs: Number of organs.
        shape: (z, y, x) of the full-resolution output.
        generator: On the CPU, so that a seed means the same on every machine.
    """

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand((batch, 1, 1, 1, 1), generator=generator)

    noise_sd = uniform(*settings.noise_hu) / window.divisor
    return Perturbation(
        jitter=_smooth_displacement(settings, batch, shape, generator),
        contrast=torch.randn((batch, organs, 1, 1, 1), generator=generator) * settings.contrast_hu / window.divisor,
        gain=1 + uniform(-settings.gain, settings.gain),
        offset=uniform(-settings.offset_hu, settings.offset_hu) / window.divisor,
        noise=torch.randn((batch, 1, *shape), generator=generator) * noise_sd,
        blur=uniform(0.0, settings.blur),
    )


def aligned_triple(patch: Patch, perturbation: Perturbation, window: HuWindow, *, classes: int) -> Tensor:
    """(I_f, Theta(I_f), S_f) of a patch, on the full-resolution output grid.

    Image and labels are jittered together: a displacement below a voxel is no misalignment, and interpolated values are
    what the generator's warp shows as well. Sharp labels and unsmoothed noise would tell the critic which is which
    without a look at the alignment.

    Args:
        patch: Whose fixed side, with labels, is taken.
        perturbation: On the device of the patch.
        window: Values beyond it are cut, as they are in every network input.
        classes: Organs and background.

    Returns:
        (batch, 2 + organs, z, y, x), as `adversarial_losses.warped_triple`.
    """
    fixed = patch.fixed.float()
    shape = (perturbation.noise.shape[2], perturbation.noise.shape[3], perturbation.noise.shape[4])
    channels = torch.cat([fixed, one_hot(patch.fixed_labels, classes)[:, 1:]], dim=1)
    jittered = warp(channels, perturbation.jitter, LEVELS[0])
    image, organs = jittered[:, :1], jittered[:, 1:]
    image = image + (perturbation.contrast * organs).sum(dim=1, keepdim=True)
    image = perturbation.gain * image + perturbation.offset + perturbation.noise
    image = torch.lerp(image, _smoothed(image), perturbation.blur)
    image = image.clamp(window.lower / window.divisor, window.upper / window.divisor)
    return torch.cat([at_level(fixed, shape, LEVELS[0]), image, organs], dim=1)


def _smooth_displacement(
    settings: AlignedExampleSettings, batch: int, shape: Shape, generator: torch.Generator
) -> Tensor:
    """Trilinear between control points, so no displacement is longer than the longest of the points'."""
    counts = tuple(math.ceil((size - 1) / settings.jitter_spacing_voxels) + 1 for size in shape)
    draws = 2 * torch.rand((batch, 3, *counts), generator=generator) - 1
    points = draws * settings.jitter_voxels / math.sqrt(3)
    return F.interpolate(points, size=shape, mode="trilinear", align_corners=True)


def _smoothed(image: Tensor) -> Tensor:
    """Weights 1-2-1 along each axis of (batch, 1, z, y, x); the edge repeats."""
    kernel = torch.tensor([0.25, 0.5, 0.25], device=image.device)
    for axis in range(3):
        padding = [0] * 6
        padding[2 * (2 - axis)] = padding[2 * (2 - axis) + 1] = 1
        weights = kernel.view([3 if other == axis else 1 for other in range(3)])[None, None]
        image = F.conv3d(F.pad(image, padding, mode="replicate"), weights)
    return image
