"""Patches drawn equally often round targets, organs at risk and the rest of the body. Beljaards et al., MIDL 2020."""

from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from imaging.volume import AIR_HU
from training.augmentation import apply, draw
from training.deep_atlas_settings import Side, is_labelled, pairs_to_draw_from
from training.pairs import BODY_HU, CachedPair, to_network
from training.patch import Patch
from training.recipe import Recipe

T = TypeVar("T", bound=np.generic)

SIDES: tuple[Side, Side] = ("fixed", "moving")


def draw_patch(
    pairs: tuple[CachedPair, ...],
    recipe: Recipe,
    rng: np.random.Generator,
    *,
    number: int = 0,
    device: torch.device | None = None,
) -> Patch:
    """One step's batch: (batch, 1, n, n, n) each, batch doubled where the recipe takes both roles.

    Args:
        pairs: Who is learned from.
        recipe: Patches, roles, augmentation, and whose labels may be looked at.
        rng: Every draw comes from it.
        number: Which step it is for.
        device: Where the augmentation runs, by default the CPU.
    """
    settings = recipe.deep_atlas
    names = [pair.name for pair in pairs]
    steps = recipe.optimisation.steps
    usable = (
        range(len(pairs)) if settings is None else pairs_to_draw_from(names, number, steps=steps, settings=settings)
    )
    drawn = []
    for _ in range(recipe.sampling.patches):
        pair = pairs[usable[rng.integers(len(usable))]]
        known = [settings is None or is_labelled(pair.name, side, settings, cohort=names) for side in SIDES]
        drawn.append(_draw_one(pair, np.array(known), recipe, rng))
    images, labels, labelled = (np.stack(parts) for parts in zip(*drawn, strict=True))  # (patches, 2, ...)
    if recipe.sampling.roles == "both":
        images, labels, labelled = (np.concatenate([part, part[:, ::-1]]) for part in (images, labels, labelled))
    images = to_network(images, recipe)
    fixed, moving = (torch.from_numpy(np.ascontiguousarray(images[:, side, None])) for side in (0, 1))
    fixed_labels, moving_labels = (torch.from_numpy(np.ascontiguousarray(labels[:, side, None])) for side in (0, 1))
    flags = torch.from_numpy(np.ascontiguousarray(labelled))
    patch = Patch(fixed, moving, fixed_labels, moving_labels, flags[:, 0], flags[:, 1], moving_labels)
    changes = draw(recipe.augmentation, rng, patches=len(fixed), organs=len(recipe.organs))
    patch = patch if device is None else patch.to(device)
    return apply(patch, changes, spacing_mm=recipe.spacing_mm, hu_window=recipe.hu_window)


def _draw_one(
    pair: CachedPair, labelled: NDArray[np.bool_], recipe: Recipe, rng: np.random.Generator
) -> tuple[NDArray[np.int16], NDArray[np.uint8], NDArray[np.bool_]]:
    centre = _centre(pair, labelled, rng)
    size = recipe.sampling.patch_size
    lower = centre - size // 2
    images = cut(pair.images, lower, size, outside=AIR_HU)
    labels = cut(pair.labels, lower, size, outside=0)
    if recipe.sampling.roles == "either" and rng.random() < 0.5:
        images, labels, labelled = images[::-1], labels[::-1], labelled[::-1]
    return images, labels, labelled


def _centre(pair: CachedPair, labelled: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.int_]:
    """A voxel to centre on; contours that are hidden from training do not tell where to look either."""
    fixed_labelled, moving_labelled = labelled
    if fixed_labelled:
        group = pair.centres[rng.integers(len(pair.centres))]
        return group[rng.integers(len(group))].astype(int)
    organs = pair.labels[1] > 0 if moving_labelled else None
    inside = organs if organs is not None and rng.integers(3) else pair.images[0] > BODY_HU
    flat = np.flatnonzero(inside)
    return np.array(np.unravel_index(flat[rng.integers(len(flat))], inside.shape))


def cut(array: NDArray[T], lower: NDArray[np.int_], size: int, *, outside: int) -> NDArray[T]:
    """The cube [lower, lower + size) of the last three axes (z, y, x); what lies beyond the array is `outside`."""
    out = np.full((*array.shape[:-3], size, size, size), outside, dtype=array.dtype)
    source, target = [], []
    for start, count in zip(lower, array.shape[-3:], strict=True):
        first, last = max(int(start), 0), min(int(start) + size, count)
        source.append(slice(first, max(last, first)))
        target.append(slice(first - int(start), max(last, first) - int(start)))
    every = (slice(None),) * (array.ndim - 3)
    out[(*every, *target)] = array[(*every, *source)]
    return out
