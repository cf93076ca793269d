"""What training minimises. One function per term; the weights are the recipe's.

Terms and weights follow Beljaards et al., MIDL 2020, with the shapes that the authors' code shows.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from training.networks import LEVELS, LevelOutput
from training.recipe import LossWeights
from training.warp import at_level, warp

DICE_EPSILON = 1e-7
VARIANCE_FLOOR = 1e-5
"""Local variance of the windowed image below which a window counts as flat; noise of 0.6 HU at a divisor of 200."""


class Patch(NamedTuple):
    """Network inputs with the fixed labels, (batch, 1, z, y, x) each; labels are whole numbers in uint8."""

    fixed: Tensor
    moving: Tensor
    fixed_labels: Tensor
    moving_labels: Tensor

    def to(self, device: torch.device) -> "Patch":
        """The same on another device."""
        return Patch(*(tensor.to(device) for tensor in self))


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """Labels (batch, 1, z, y, x) as (batch, classes, z, y, x) float32 of 0 and 1."""
    numbers = torch.arange(classes, device=labels.device).view(1, -1, 1, 1, 1)
    return (labels == numbers).float()


def dice_per_class(predicted: Tensor, truth: Tensor) -> Tensor:
    """2 sum(p t) / (sum p + sum t), sums over batch and space.

    Args:
        predicted: (batch, classes, z, y, x) from 0 to 1.
        truth: The same shape, one-hot.

    Returns:
        (classes,) from 0 to 1; 0 where a class is absent from both.
    """
    axes = (0, 2, 3, 4)
    both = (predicted * truth).sum(axes)
    return 2 * both / (predicted.sum(axes) + truth.sum(axes) + DICE_EPSILON)


def dice_loss(predicted: Tensor, truth: Tensor) -> Tensor:
    """1 - mean Dice over the organs, from 0 to 1; plain denominator, channel 0 (background) left out. MIDL 2020."""
    return 1 - dice_per_class(predicted, truth)[1:].mean()


def local_ncc_loss(fixed: Tensor, warped: Tensor, *, window: int = 9) -> Tensor:
    """1 - mean over voxels of cov(I, J) / sqrt(var(I) var(J)) in a window around each.

    Moments are means over `window`^3 voxels, those beyond the edge counting as absent. Not squared: a contrast turned
    over is no match. MIDL 2020 names the term; window and form are those of the authors' code.

    Args:
        fixed: (batch, 1, z, y, x) float32.
        warped: The same shape.
        window: Odd number of voxels.

    Returns:
        A scalar from 0 (equal up to gain and offset) to 2; a flat window adds 1.
    """
    # The mean of the patch is taken off first: variances as differences of squares lose digits otherwise.
    fixed, warped = fixed - fixed.mean(), warped - warped.mean()
    stack = torch.cat([fixed, warped, fixed * fixed, warped * warped, fixed * warped], dim=1)
    i, j, ii, jj, ij = _box_mean(stack, window).unbind(dim=1)
    variance_i, variance_j = (ii - i * i).clamp(min=VARIANCE_FLOOR), (jj - j * j).clamp(min=VARIANCE_FLOOR)
    return 1 - ((ij - i * j) / torch.sqrt(variance_i * variance_j)).mean()


def global_ncc_loss(fixed: Tensor, warped: Tensor) -> Tensor:
    """1 - mean over the batch of the correlation coefficient of whole patches, from 0 to 2. Shapes as the local one."""
    i, j = (t.flatten(1) - t.flatten(1).mean(dim=1, keepdim=True) for t in (fixed, warped))
    floor = VARIANCE_FLOOR * i.shape[1]
    variance = (i * i).sum(1).clamp(min=floor) * (j * j).sum(1).clamp(min=floor)
    return 1 - ((i * j).sum(1) / torch.sqrt(variance)).mean()


def bending_energy(dvf: Tensor) -> Tensor:
    """Mean of xx^2 + yy^2 + zz^2 + 2 (xy^2 + xz^2 + yz^2) over voxels and components. Rueckert et al., TMI 1999.

    Args:
        dvf: (batch, 3, z, y, x) in voxels, at least 3 per axis.

    Returns:
        A scalar from 0, which every affine field has.
    """
    energy = torch.zeros((), device=dvf.device)
    for axis in (2, 3, 4):
        length = dvf.shape[axis]
        second = dvf.narrow(axis, 2, length - 2) - 2 * dvf.narrow(axis, 1, length - 2) + dvf.narrow(axis, 0, length - 2)
        energy = energy + second.square().mean()
    for first, other in ((2, 3), (2, 4), (3, 4)):
        mixed = _central(_central(dvf, first), other)
        energy = energy + 2 * mixed.square().mean()
    return energy


class Terms(NamedTuple):
    """The loss of a patch, term by term, each averaged over the levels with the recipe's level weights."""

    total: Tensor
    dice_segmentation: Tensor
    cross_entropy: Tensor
    dice_registration: Tensor
    ncc: Tensor
    bending: Tensor


def joint_loss(outputs: tuple[LevelOutput, ...], patch: Patch, weights: LossWeights) -> Terms:
    """The weighted sum of all terms over the three levels, in float32.

    The moving labels are pulled as one-hot channels with trilinear weights: nearest-neighbour labels would give the
    displacement no gradient.
    """
    classes = outputs[0].logits.shape[1]
    fixed, moving = patch.fixed.float(), patch.moving.float()
    moving_channels = torch.cat([moving, one_hot(patch.moving_labels, classes)[:, 1:]], dim=1)
    sums = torch.zeros(5, device=fixed.device)
    for level, output, share in zip(LEVELS, outputs, weights.levels, strict=True):
        logits, dvf = output.logits.float(), output.dvf.float()
        shape = (logits.shape[2], logits.shape[3], logits.shape[4])
        labels = at_level(patch.fixed_labels, shape, level)
        truth = one_hot(labels, classes)
        warped = warp(moving_channels, dvf, level)
        carried = torch.cat([1 - warped[:, 1:].sum(1, keepdim=True), warped[:, 1:]], dim=1)
        fixed_here = at_level(fixed, shape, level)
        ncc = (
            local_ncc_loss(fixed_here, warped[:, :1], window=weights.ncc_window)
            if weights.ncc_window
            else global_ncc_loss(fixed_here, warped[:, :1])
        )
        terms = torch.stack(
            [
                dice_loss(logits.softmax(1), truth),
                F.cross_entropy(logits, labels[:, 0].long()),
                dice_loss(carried, truth),
                ncc,
                bending_energy(dvf),
            ]
        )
        sums = sums + share * terms
    factors = torch.tensor(
        [weights.dice_segmentation, weights.cross_entropy, weights.dice_registration, weights.ncc, weights.bending],
        device=sums.device,
    )
    return Terms((factors * sums).sum(), *sums.unbind())


def _box_mean(volume: Tensor, window: int) -> Tensor:
    """Mean over a cube of voxels inside the volume, one axis at a time; a short axis takes a shorter odd window."""
    for axis in range(3):
        kernel, padding = [1, 1, 1], [0, 0, 0]
        kernel[axis] = min(window, (volume.shape[2 + axis] - 1) | 1)
        padding[axis] = kernel[axis] // 2
        volume = F.avg_pool3d(volume, kernel, stride=1, padding=padding, count_include_pad=False)
    return volume


def _central(field: Tensor, axis: int) -> Tensor:
    length = field.shape[axis]
    return (field.narrow(axis, 2, length - 2) - field.narrow(axis, 0, length - 2)) / 2
