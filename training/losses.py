"""What training minimises. One function per term; the weights are the recipe's.

Terms and weights follow Beljaards et al., MIDL 2020, with the shapes that the authors' code shows.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from training.networks.blocks import LEVELS, Level, LevelOutput
from training.patch import Patch
from training.recipe import LossWeights, NetworkSpec
from training.warp import at_level, warp

DICE_EPSILON = 1e-7
TASKS = {
    "similarity": ("ncc", "bending"),
    "registration": ("dice_registration",),
    "segmentation": ("dice_segmentation", "cross_entropy"),
}
"""The tasks of a joint network and the recipe's terms that make each up."""

VARIANCE_FLOOR = 1e-5
"""Local variance of the windowed image below which a window counts as flat; noise of 0.6 HU at a divisor of 200."""


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
    over is no match. MIDL 2020 names the term; the window is that of the authors' code, which counts voxels beyond the
    edge as zeros and gives a negative correlation no gradient: in these two ours differs.

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

    Second differences of neighbours; the authors' code takes central differences twice, which is blind to every other
    voxel.

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


def joint_terms(
    outputs: tuple[LevelOutput, ...], patch: Patch, weights: LossWeights, *, classes: int
) -> dict[str, Tensor]:
    """Every term that the recipe weighs, averaged over the levels with the recipe's shares, in float32.

    The moving labels are pulled as one-hot channels with trilinear weights: nearest-neighbour labels would give the
    displacement no gradient.

    Args:
        outputs: One per level of `LEVELS`.
        patch: What the network saw, and the truth.
        weights: Which terms, and the levels' shares; a term of weight 0 is not computed.
        classes: Organs and background.

    Returns:
        Scalars by the names of the recipe: dice_segmentation, cross_entropy, dice_registration, ncc, bending; those of
        a path that the network lacks are missing.
    """
    sums: dict[str, Tensor] = {}
    for level, output, share in zip(LEVELS, outputs, weights.levels, strict=True):
        terms: dict[str, Tensor] = {}
        if output.logits is not None:
            terms |= _segmentation_terms(output.logits.float(), patch, weights, level)
        if output.dvf is not None:
            terms |= _registration_terms(output.dvf.float(), patch, weights, level, classes=classes)
        sums = {name: sums.get(name, 0.0) + share * term for name, term in terms.items()}
    return sums


def task_losses(terms: dict[str, Tensor], weights: LossWeights) -> dict[str, Tensor]:
    """The tasks that a weighting weighs: similarity = NCC + bending, registration and segmentation overlap.

    Elmahdy et al., IEEE Access 2021; the factors inside a task are the recipe's.
    """
    tasks: dict[str, Tensor] = {}
    for task, members in TASKS.items():
        present = [getattr(weights, name) * terms[name] for name in members if name in terms]
        if present:
            tasks[task] = torch.stack(present).sum()
    return tasks


def task_names(weights: LossWeights, network: NetworkSpec) -> tuple[str, ...]:
    """Names of the tasks that `task_losses` will return for such a network."""
    has_path = {"segmentation": network.segments, "registration": network.registers, "similarity": network.registers}
    return tuple(
        task for task, members in TASKS.items() if has_path[task] and any(getattr(weights, name) for name in members)
    )


def _segmentation_terms(logits: Tensor, patch: Patch, weights: LossWeights, level: Level) -> dict[str, Tensor]:
    labels = at_level(patch.fixed_labels, _shape(logits), level)
    terms: dict[str, Tensor] = {}
    if weights.dice_segmentation:
        terms["dice_segmentation"] = dice_loss(logits.softmax(1), one_hot(labels, logits.shape[1]))
    if weights.cross_entropy:
        terms["cross_entropy"] = F.cross_entropy(logits, labels[:, 0].long())
    return terms


def _registration_terms(
    dvf: Tensor, patch: Patch, weights: LossWeights, level: Level, *, classes: int
) -> dict[str, Tensor]:
    shape = _shape(dvf)
    terms: dict[str, Tensor] = {}
    if weights.ncc:
        fixed, warped = at_level(patch.fixed.float(), shape, level), warp(patch.moving.float(), dvf, level)
        window = weights.ncc_window
        terms["ncc"] = local_ncc_loss(fixed, warped, window=window) if window else global_ncc_loss(fixed, warped)
    if weights.bending:
        terms["bending"] = bending_energy(dvf)
    if weights.dice_registration:
        truth = one_hot(at_level(patch.fixed_labels, shape, level), classes)
        organs = warp(one_hot(patch.moving_labels, classes)[:, 1:], dvf, level)
        carried = torch.cat([1 - organs.sum(1, keepdim=True), organs], dim=1)
        terms["dice_registration"] = dice_loss(carried, truth)
    return terms


def _shape(volume: Tensor) -> tuple[int, int, int]:
    return volume.shape[2], volume.shape[3], volume.shape[4]


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
