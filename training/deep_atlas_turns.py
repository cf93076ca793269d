"""The loss of one turn of DeepAtlas: which network is asked what, and where its answer comes without a gradient.

Xu and Niethammer, MICCAI 2019; the table of cases is in `training.deep_atlas_losses`. Both networks answer on the whole
patch; a border that saw padding, and whose match may be cut off, is left out of every loss.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from training.deep_atlas_losses import (
    anatomy_loss,
    contours,
    fixed_drawn_loss,
    moving_drawn_loss,
    similarity_loss,
    smoothness_loss,
    supervised_loss,
)
from training.deep_atlas_settings import DeepAtlasSettings
from training.losses import one_hot
from training.networks.blocks import Level
from training.networks.deep_atlas import inner
from training.patch import Patch
from training.warp import warp

Segment = Callable[[Tensor], Tensor]
"""A CT (batch, 1, z, y, x) to probabilities (batch, classes, z, y, x) in float32."""

Register = Callable[[Tensor, Tensor], Tensor]
"""A fixed and a moving CT to the displacement (batch, 3, z, y, x) in voxels, float32."""


def registration_terms(
    segment: Segment, register: Register, patch: Patch, *, settings: DeepAtlasSettings, classes: int, helped: bool
) -> dict[str, Tensor]:
    """The registration network's turn: similarity, smoothness and anatomy, for which missing contours are predicted.

    Args:
        segment: The frozen network; it gets no gradient.
        register: The one that learns.
        patch: The batch.
        settings: Weights, border.
        classes: Organs and background.
        helped: Whether `segment` is asked; alone, only pairs with both contours drawn have an anatomy loss.

    Returns:
        'total', 'ncc', 'smoothness', and 'anatomy' where any pair has one; unweighted but for the total.
    """
    border = settings.loss_border
    level = Level("patch", 1, border)
    dvf = inner(register(patch.fixed, patch.moving), border)
    warped = warp(patch.moving.float(), dvf, level)
    terms = {
        "ncc": similarity_loss(inner(patch.fixed.float(), border), warped, settings),
        "smoothness": smoothness_loss(dvf, settings),
    }
    total = settings.lambda_similarity * terms["ncc"] + settings.lambda_smoothness * terms["smoothness"]
    judged = torch.ones_like(patch.fixed_labelled) if helped else patch.fixed_labelled & patch.moving_labelled
    if judged.any():
        seen = Patch(*(tensor[judged] for tensor in patch))
        fixed = _contours(segment, seen.fixed, seen.fixed_labels, seen.fixed_labelled, classes=classes)
        moving = _contours(segment, seen.moving, seen.moving_labels, seen.moving_labelled, classes=classes)
        carried = warp(moving, dvf[judged], level)
        terms["anatomy"] = anatomy_loss(carried, inner(fixed, border)).sum() / len(judged)
        total = total + settings.lambda_anatomy * terms["anatomy"]
    return {"total": total} | terms


def segmentation_terms(
    segment: Segment,
    register: Register,
    patch: Patch,
    *,
    settings: DeepAtlasSettings,
    classes: int,
    helped: bool,
    cross_entropy: float = 0.0,
) -> dict[str, Tensor]:
    """The segmentation network's turn: the mean over the batch of the case that each pair is.

    Args:
        segment: The one that learns.
        register: The frozen network; it gets no gradient.
        patch: The batch.
        settings: Weights, border.
        classes: Organs and background.
        helped: Whether `register` is asked; alone, the network learns from the sides with a drawn contour only.
        cross_entropy: As in `supervised_loss`.

    Returns:
        'total', without a gradient where nothing is labelled.
    """
    drawn = list(zip(patch.fixed_labelled.tolist(), patch.moving_labelled.tolist(), strict=True))
    seen_fixed = [i for i, (fixed, moving) in enumerate(drawn) if fixed or (moving and helped)]
    seen_moving = [i for i, (fixed, moving) in enumerate(drawn) if fixed != moving and (moving or helped)]
    if not seen_fixed and not seen_moving:
        return {"total": torch.zeros((), device=patch.fixed.device)}
    # One batch, so that the normalisation sees daily and planning scans together.
    answers = segment(torch.cat([patch.fixed[seen_fixed], patch.moving[seen_moving]])).split(1)
    fixed_answers = dict(zip(seen_fixed, answers[: len(seen_fixed)], strict=True))
    moving_answers = dict(zip(seen_moving, answers[len(seen_fixed) :], strict=True))
    losses = [
        _case_loss(
            register,
            Patch(*(tensor[i : i + 1] for tensor in patch)),
            fixed_answers.get(i),
            moving_answers.get(i),
            settings=settings,
            classes=classes,
            cross_entropy=cross_entropy,
        )
        for i, (fixed, moving) in enumerate(drawn)
        if fixed or moving
    ]
    return {"total": torch.cat(losses).sum() / len(drawn)}


def _case_loss(
    register: Register,
    pair: Patch,
    fixed_answer: Tensor | None,
    moving_answer: Tensor | None,
    *,
    settings: DeepAtlasSettings,
    classes: int,
    cross_entropy: float,
) -> Tensor:
    """The loss (1,) of one pair with a drawn contour; an answer is None where nothing is asked of that side."""
    border = settings.loss_border
    fixed_drawn, moving_drawn = one_hot(pair.fixed_labels, classes), one_hot(pair.moving_labels, classes)
    if fixed_answer is None or moving_answer is None:
        answer, truth = (fixed_answer, fixed_drawn) if moving_answer is None else (moving_answer, moving_drawn)
        assert answer is not None
        return supervised_loss(inner(answer, border), inner(truth, border), settings, cross_entropy=cross_entropy)
    with torch.no_grad():
        dvf = inner(register(pair.fixed, pair.moving), border)
    level = Level("patch", 1, border)
    fixed_inner = inner(fixed_answer, border)
    if bool(pair.fixed_labelled):
        truth, carried = inner(fixed_drawn, border), warp(moving_answer, dvf, level)
        return fixed_drawn_loss(fixed_inner, truth, carried, settings, cross_entropy=cross_entropy)
    moving_inner, truth = inner(moving_answer, border), inner(moving_drawn, border)
    carried = warp(moving_drawn, dvf, level)
    return moving_drawn_loss(fixed_inner, moving_inner, truth, carried, settings, cross_entropy=cross_entropy)


def _contours(segment: Segment, image: Tensor, labels: Tensor, labelled: Tensor, *, classes: int) -> Tensor:
    """(batch, classes, z, y, x) drawn or, where that is missing, what the frozen segmentation network says."""
    if labelled.all():
        return one_hot(labels, classes)
    with torch.no_grad():
        return contours(labels, labelled, segment(image))
