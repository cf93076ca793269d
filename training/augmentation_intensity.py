"""Random grey values of one side of a patch: how a scanner shows it, and what its rectum holds.

Images are windowed: HU clipped to the window and divided by its divisor. A clipped voxel, such as air, stays clipped,
because the true value lies far beyond the window.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from imaging.manifest import HuWindow
from training.augmentation_motion import Side, draw_side
from training.augmentation_settings import Augmentation

GAS_EDGE_MM = 1.0
"""Over which a pocket's edge fades, like the blur of a scanner."""

STOOL_GRAIN_MM = 4.0

ROUNDING_HU = 0.01
"""What dividing by the divisor and multiplying again may move a clipped voxel."""


@dataclass(frozen=True)
class Scan:
    """How one image is shown.

    Attributes:
        gain: Factor on HU.
        offset_hu: Added afterwards.
        gamma: Power on the grey value from 0 to 1 within the window.
        blur_mm: Width of a Gaussian.
        noise_hu: Standard deviation of the noise.
        grain_mm: Width of the Gaussian that the noise was smoothed with; its standard deviation stays.
        seed: Of the noise.
    """

    gain: float = 1.0
    offset_hu: float = 0.0
    gamma: float = 1.0
    blur_mm: float = 0.0
    noise_hu: float = 0.0
    grain_mm: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Pocket:
    """An ellipsoid of gas.

    Attributes:
        where: From 0 to 1, which voxel of the lumen is its centre, in the order of the array.
        radii_mm: Semi-axes along x, y, z.
    """

    where: float
    radii_mm: tuple[float, float, float]


@dataclass(frozen=True)
class Gas:
    """Gas pockets in the rectum of one side."""

    side: Side
    hu: float
    pockets: tuple[Pocket, ...]


@dataclass(frozen=True)
class Stool:
    """A filling of the whole rectum of one side."""

    side: Side
    hu: float
    texture_hu: float
    seed: int


def draw_scan(settings: Augmentation, rng: np.random.Generator) -> Scan | None:
    """How one image is shown; None if as it is."""
    noisy = rng.random() < settings.noise_probability
    blurred = rng.random() < settings.blur_probability
    scan = Scan(
        gain=1 + rng.normal(0, settings.gain_sd) if settings.gain_sd else 1.0,
        offset_hu=rng.normal(0, settings.offset_hu_sd) if settings.offset_hu_sd else 0.0,
        gamma=math.exp(rng.normal(0, settings.gamma_log_sd)) if settings.gamma_log_sd else 1.0,
        blur_mm=rng.uniform(0, settings.blur_mm) if blurred else 0.0,
        noise_hu=rng.uniform(0, settings.noise_hu) if noisy else 0.0,
        grain_mm=rng.uniform(0, settings.noise_grain_mm) if noisy else 0.0,
        seed=int(rng.integers(2**31)) if noisy else 0,
    )
    return None if scan == Scan() else scan


def draw_gas(settings: Augmentation, rng: np.random.Generator) -> Gas | None:
    """Pockets on one side, or none."""
    if rng.random() >= settings.gas_probability:
        return None
    side, hu = draw_side(rng), rng.uniform(*settings.gas_hu)
    pockets = []
    for _ in range(rng.integers(1, settings.gas_pockets + 1)):
        where = rng.random()
        x, y, z = rng.uniform(*settings.gas_radius_mm, size=3).tolist()
        pockets.append(Pocket(where, (x, y, z)))
    return Gas(side, hu, tuple(pockets))


def draw_stool(settings: Augmentation, rng: np.random.Generator) -> Stool | None:
    """A filling on one side, or none."""
    if rng.random() >= settings.stool_probability:
        return None
    return Stool(draw_side(rng), rng.uniform(*settings.stool_hu), settings.stool_texture_hu, int(rng.integers(2**31)))


def shown(image: Tensor, scan: Scan, *, spacing_mm: float, window: HuWindow) -> Tensor:
    """One image (1, 1, z, y, x) as another scanner shows it: blur, gain and offset, gamma, noise."""
    if scan.blur_mm:
        image = _smooth(image, scan.blur_mm / spacing_mm, mode="replicate")
    hu = image * window.divisor
    clipped = (hu <= window.lower + ROUNDING_HU) | (hu >= window.upper - ROUNDING_HU)
    changed = scan.gain * hu + scan.offset_hu
    if scan.gamma != 1:
        width = window.upper - window.lower
        share = ((changed - window.lower) / width).clamp(0, 1)
        changed = window.lower + width * share**scan.gamma
    if scan.noise_hu:
        changed = changed + scan.noise_hu * _noise(image, scan.seed, scan.grain_mm / spacing_mm)
    return torch.where(clipped, image, changed.clamp(window.lower, window.upper) / window.divisor)


def with_stool(
    image: Tensor, labels: Tensor, stool: Stool, *, spacing_mm: float, window: HuWindow, label: int
) -> Tensor:
    """One image (1, 1, z, y, x) whose rectum is filled; outside the label nothing changes."""
    filling = stool.hu + stool.texture_hu * _noise(image, stool.seed, STOOL_GRAIN_MM / spacing_mm)
    return _mixed(image, filling, _faded(_lumen(labels, label)), window)


def with_gas(image: Tensor, labels: Tensor, gas: Gas, *, spacing_mm: float, window: HuWindow, label: int) -> Tensor:
    """One image (1, 1, z, y, x) with gas pockets; outside the label nothing changes."""
    lumen = _lumen(labels, label)
    voxels = lumen[0, 0].nonzero().float()  # (n, 3) indices z, y, x
    if not len(voxels):
        return image
    axes = [torch.arange(count, device=image.device, dtype=torch.float32) for count in image.shape[2:]]
    share = torch.zeros_like(image)
    for pocket in gas.pockets:
        centre = voxels[min(int(pocket.where * len(voxels)), len(voxels) - 1)]
        radii = [radius / spacing_mm for radius in reversed(pocket.radii_mm)]
        z, y, x = (((axis - middle) / radius) ** 2 for axis, middle, radius in zip(axes, centre, radii, strict=True))
        beyond = (z[:, None, None] + y[None, :, None] + x).sqrt() - 1  # 0 on the surface, in units of the radius
        edge = GAS_EDGE_MM / spacing_mm / (sum(radii) / 3)
        share = torch.maximum(share, torch.sigmoid(-beyond / edge)[None, None])
    return _mixed(image, torch.full_like(image, gas.hu), share * _faded(lumen), window)


def _lumen(labels: Tensor, label: int) -> Tensor:
    """(1, 1, z, y, x) of 0 and 1: the label without its outermost voxels, which hold the wall."""
    outside = (labels != label).float()
    return 1 - F.max_pool3d(outside, 3, stride=1, padding=1)


def _faded(lumen: Tensor) -> Tensor:
    """A soft edge that ends inside the label: the mean over 3^3 voxels reaches as far as the wall was thick."""
    return F.avg_pool3d(lumen, 3, stride=1, padding=1)


def _mixed(image: Tensor, hu: Tensor, share: Tensor, window: HuWindow) -> Tensor:
    """Mixed in HU and then clipped, as a scanner's partial volume is; where the share is 0, bit by bit as before."""
    mixed = ((1 - share) * image * window.divisor + share * hu).clamp(window.lower, window.upper) / window.divisor
    return torch.where(share > 0, mixed, image)


def _noise(like: Tensor, seed: int, grain: float) -> Tensor:
    """Standard normal noise of a shape and device, smoothed over `grain` voxels; differs between kinds of device."""
    generator = torch.Generator(like.device).manual_seed(seed)
    noise = torch.randn(like.shape, generator=generator, device=like.device, dtype=like.dtype)
    if not grain:
        return noise
    kernel = _kernel(grain, like)
    # Noise that goes round the patch has the same standard deviation everywhere.
    return _smooth(noise, grain, mode="circular") / kernel.square().sum().pow(1.5)


def _smooth(volume: Tensor, width: float, *, mode: str) -> Tensor:
    kernel = _kernel(width, volume)
    reach = len(kernel) // 2
    for axis in range(3):
        shape, padding = [1, 1, 1, 1, 1], [0] * 6
        shape[2 + axis] = len(kernel)
        padding[4 - 2 * axis] = padding[5 - 2 * axis] = reach
        volume = F.conv3d(F.pad(volume, padding, mode=mode), kernel.view(shape))
    return volume


def _kernel(width: float, like: Tensor) -> Tensor:
    """A Gaussian that is cut at three widths, with sum 1."""
    reach = min(math.ceil(3 * width), min(like.shape[2:]) - 1)
    position = torch.arange(-reach, reach + 1, device=like.device, dtype=like.dtype)
    kernel = torch.exp(-(position**2) / (2 * width**2)) if width > 0 else (position == 0).to(like.dtype)
    return kernel / kernel.sum()
