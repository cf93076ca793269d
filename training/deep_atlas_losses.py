"""What the two networks of DeepAtlas minimise. Xu and Niethammer, MICCAI 2019; weights are those of the settings.

With I_f, I_m the images, S_f, S_m the drawn contours, F the segmentation network, phi the registration network's
transform and L = 1 - Dice, lambda_a and lambda_sp for anatomy and supervision:

    drawn on   registration (times lambda_a)   segmentation
    both       L(S_m o phi, S_f)               lambda_sp L(F(I_f), S_f)
    moving     L(S_m o phi, F(I_f))            lambda_a L(S_m o phi, F(I_f)) + lambda_sp L(F(I_m), S_m)
    fixed      L(F(I_m) o phi, S_f)            lambda_a L(F(I_m) o phi, S_f) + lambda_sp L(F(I_f), S_f)
    neither    L(F(I_m) o phi, F(I_f))         0

Volumes are (batch, classes, z, y, x) in float32, background first, summing to 1 over the classes; a loss is (batch,).
Contours are pulled trilinearly: nearest neighbours would give the displacement no gradient.
"""

import torch
from torch import Tensor

from training.deep_atlas_settings import DeepAtlasSettings
from training.losses import bending_energy, global_ncc_loss, local_ncc_loss, one_hot

DICE_EPSILON = 1e-6
"""The authors'; their code adds it twice below and so says 1/2 for a class that neither side has. Here it is 1."""


LEAST_PROBABILITY = 1e-30
"""Whose logarithm is taken for anything smaller."""


def overlap_loss(first: Tensor, second: Tensor) -> Tensor:
    """L = 1 - mean over classes of (2 sum(p q) + eps) / (sum p + sum q + eps), sums over the space of each patch.

    All classes count the same and the background is one of them, as in the authors' code.

    Returns:
        (batch,) from 0 to 1; a class that both sides lack counts as a full overlap.
    """
    axes = (2, 3, 4)
    both = (first * second).sum(axes)
    dice = (2 * both + DICE_EPSILON) / (first.sum(axes) + second.sum(axes) + DICE_EPSILON)
    return 1 - dice.mean(1)


def contours(labels: Tensor, labelled: Tensor, probabilities: Tensor) -> Tensor:
    """The drawn contours as channels, or the segmentation network's answer where nothing may be looked at.

    Args:
        labels: (batch, 1, z, y, x) whole numbers.
        labelled: (batch,) bool.
        probabilities: (batch, classes, z, y, x).
    """
    drawn = one_hot(labels, probabilities.shape[1])
    return torch.where(labelled.view(-1, 1, 1, 1, 1), drawn, probabilities)


def anatomy_loss(carried: Tensor, fixed: Tensor) -> Tensor:
    """L(S_m o phi, S_f): overlap of what phi carries over with what is there; each side drawn or predicted."""
    return overlap_loss(carried, fixed)


def supervised_loss(
    predicted: Tensor, drawn: Tensor, settings: DeepAtlasSettings, *, cross_entropy: float = 0.0
) -> Tensor:
    """lambda_sp L(F(I), S), the whole loss where both contours are drawn: the registration has nothing to teach then.

    The fixed side stands for both, since roles are swapped. The paper's images show every organ; a patch may lack one,
    and the overlap then has no gradient, so a share of cross-entropy may be added, which is ours.

    Args:
        predicted: F(I).
        drawn: S.
        settings: Gives lambda_sp.
        cross_entropy: Factor of -mean over voxels of log p(drawn class), inside lambda_sp; 0 in the paper.
    """
    loss = overlap_loss(predicted, drawn)
    if cross_entropy:
        likelihood = (predicted * drawn).sum(1).clamp(min=LEAST_PROBABILITY)
        loss = loss - cross_entropy * likelihood.log().mean((1, 2, 3))
    return settings.lambda_supervised * loss


def moving_drawn_loss(
    fixed_predicted: Tensor,
    moving_predicted: Tensor,
    moving_drawn: Tensor,
    carried: Tensor,
    settings: DeepAtlasSettings,
    *,
    cross_entropy: float = 0.0,
) -> Tensor:
    """lambda_a L(S_m o phi, F(I_f)) + lambda_sp L(F(I_m), S_m): the carried contour teaches the daily scan.

    Args:
        fixed_predicted: F(I_f).
        moving_predicted: F(I_m), on the moving grid.
        moving_drawn: S_m, on the moving grid.
        carried: S_m o phi, on the fixed grid.
        settings: Gives the weights.
        cross_entropy: As in `supervised_loss`.
    """
    anatomy = settings.lambda_anatomy * anatomy_loss(carried, fixed_predicted)
    return anatomy + supervised_loss(moving_predicted, moving_drawn, settings, cross_entropy=cross_entropy)


def fixed_drawn_loss(
    fixed_predicted: Tensor,
    fixed_drawn: Tensor,
    carried_predicted: Tensor,
    settings: DeepAtlasSettings,
    *,
    cross_entropy: float = 0.0,
) -> Tensor:
    """lambda_a L(F(I_m) o phi, S_f) + lambda_sp L(F(I_f), S_f): the warp carries the error back to the moving scan.

    Args:
        fixed_predicted: F(I_f).
        fixed_drawn: S_f.
        carried_predicted: F(I_m) o phi, on the fixed grid.
        settings: Gives the weights.
        cross_entropy: As in `supervised_loss`.
    """
    anatomy = settings.lambda_anatomy * anatomy_loss(carried_predicted, fixed_drawn)
    return anatomy + supervised_loss(fixed_predicted, fixed_drawn, settings, cross_entropy=cross_entropy)


def similarity_loss(fixed: Tensor, warped: Tensor, settings: DeepAtlasSettings) -> Tensor:
    """1 - NCC of two images (batch, 1, z, y, x), of the whole patch or in a window; a scalar from 0 to 2."""
    window = settings.ncc_window
    return local_ncc_loss(fixed, warped, window=window) if window else global_ncc_loss(fixed, warped)


def smoothness_loss(dvf: Tensor, settings: DeepAtlasSettings) -> Tensor:
    """Bending energy or squared gradient, as the settings say, of a displacement (batch, 3, z, y, x) in voxels."""
    return bending_energy(dvf) if settings.smoothness == "bending" else gradient_energy(dvf)


def gradient_energy(dvf: Tensor) -> Tensor:
    """Mean of (x^2 + y^2 + z^2) / 3 over voxels and components, of first derivatives.

    Balakrishnan et al., CVPR 2018. The authors of DeepAtlas add the neighbours on two of the axes where they mean to
    subtract them, and leave the differences over two voxels undivided; here all three are derivatives.

    Args:
        dvf: (batch, 3, z, y, x) in voxels, at least 2 per axis.

    Returns:
        A scalar from 0, which every constant displacement has.
    """
    return torch.stack([dvf.diff(dim=axis).square().mean() for axis in (2, 3, 4)]).mean()
