"""What JRS-GAN adds to the registration losses: a critic's distance between warped and well-aligned triples.

Elmahdy et al., MICCAI 2019 (arXiv 1906.12223). With D the mean of the critic's map over its places, triples being
(fixed image, moving image, segmentation), phi the generator's deformation and Theta of `training.aligned_examples`:

    critic      L_D = E[D(I_f, I_m o phi, S_m o phi)] - E[D(I_f, Theta(I_f), S_f)]
    generator   L_G = (1 - DSC(S_m o phi, S_f)) + (1 - NCC(I_m o phi, I_f)) + lambda_1 bending + lambda_2 L_adv
                L_adv = -E[D(I_f, I_m o phi, S_m o phi)]

The first three terms of L_G are those of `training.losses`.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from training.losses import one_hot
from training.networks.blocks import LEVELS
from training.patch import Patch
from training.warp import at_level, warp


def warped_triple(patch: Patch, dvf: Tensor, *, classes: int) -> Tensor:
    """What the generator made of a patch, for the critic: (I_f, I_m o phi, S_m o phi).

    The labels are pulled as one-hot channels with trilinear weights, so that the critic's opinion of a contour reaches
    the displacement.

    Args:
        patch: Both sides with labels.
        dvf: (batch, 3, z, y, x) of the full resolution, voxels.
        classes: Organs and background.

    Returns:
        (batch, 2 + organs, z, y, x) on the full-resolution output grid; organs from 0 to 1, without the background.
    """
    moving = torch.cat([patch.moving.float(), one_hot(patch.moving_labels, classes)[:, 1:]], dim=1)
    shape = (dvf.shape[2], dvf.shape[3], dvf.shape[4])
    return torch.cat([at_level(patch.fixed.float(), shape, LEVELS[0]), warp(moving, dvf, LEVELS[0])], dim=1)


def critic_loss(aligned: Tensor, warped: Tensor) -> Tensor:
    """L_D = mean score of warped triples - mean score of aligned ones. Arjovsky et al., ICML 2017.

    Args:
        aligned: (batch, 1, z, y, x) scores.
        warped: Scores of the same shape.

    Returns:
        A scalar without bounds, 0 for a critic that cannot tell; its negative estimates the Wasserstein distance
        between both kinds of triples, in units of the critic's slope.
    """
    return warped.mean() - aligned.mean()


def adversarial_loss(warped: Tensor) -> Tensor:
    """L_adv = -mean of the scores (batch, 1, z, y, x) of warped triples; without bounds. Arjovsky et al., ICML 2017."""
    return -warped.mean()


def gradient_penalty(critic: Callable[[Tensor], Tensor], aligned: Tensor, warped: Tensor, share: Tensor) -> Tensor:
    """Mean over the batch of (|grad_x D(x)| - 1)^2 at x = share * aligned + (1 - share) * warped.

    D(x) is the mean of an example's scores, and the gradient is taken over all channels and voxels of the example.
    Gulrajani et al., "Improved training of Wasserstein GANs", NeurIPS 2017.

    Args:
        critic: From triples to score maps; must not mix the examples of a batch.
        aligned: (batch, channels, z, y, x).
        warped: The same shape.
        share: (batch, 1, 1, 1, 1) from 0 to 1, drawn by the caller.

    Returns:
        A scalar, 0 or more; carries a gradient to the critic and none to the triples.
    """
    between = torch.lerp(warped.detach(), aligned.detach(), share).requires_grad_()
    scores = critic(between).flatten(1).mean(dim=1)
    (slope,) = torch.autograd.grad(scores.sum(), between, create_graph=True)
    return (torch.linalg.vector_norm(slope.flatten(1), dim=1) - 1).square().mean()


def clip_weights(critic: nn.Module, limit: float) -> None:
    """Cut every weight and bias to [-limit, limit], in place: a bounded slope in a crude way. Arjovsky et al., 2017."""
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.clamp_(-limit, limit)
