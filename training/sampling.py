"""Patches drawn equally often round targets, organs at risk and the rest of the body. Beljaards et al., MIDL 2020."""

from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from imaging.volume import AIR_HU
from training.losses import Patch
from training.pairs import CachedPair, to_network
from training.recipe import Recipe

T = TypeVar("T", bound=np.generic)


def draw_patch(pairs: tuple[CachedPair, ...], recipe: Recipe, rng: np.random.Generator) -> Patch:
    """One step's batch: (batch, 1, n, n, n) each, batch doubled where the recipe takes both roles.

    Every draw comes from `rng`, so its state is all that a resumed run needs.
    """
    drawn = [_draw_one(pairs, recipe, rng) for _ in range(recipe.sampling.patches)]
    images = np.stack([image for image, _ in drawn])  # (patches, 2, n, n, n)
    labels = np.stack([label for _, label in drawn])
    if recipe.sampling.roles == "both":
        images = np.concatenate([images, images[:, ::-1]])
        labels = np.concatenate([labels, labels[:, ::-1]])
    sides = [torch.from_numpy(np.ascontiguousarray(images[:, side, None])) for side in (0, 1)]
    label_sides = [torch.from_numpy(np.ascontiguousarray(labels[:, side, None])) for side in (0, 1)]
    return Patch(sides[0], sides[1], label_sides[0], label_sides[1])


def _draw_one(
    pairs: tuple[CachedPair, ...], recipe: Recipe, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    pair = pairs[rng.integers(len(pairs))]
    group = pair.centres[rng.integers(len(pair.centres))]
    centre = group[rng.integers(len(group))].astype(int)
    size = recipe.sampling.patch_size
    lower = centre - size // 2
    images = cut(pair.images, lower, size, outside=AIR_HU)
    labels = cut(pair.labels, lower, size, outside=0)
    if recipe.sampling.roles == "either" and rng.random() < 0.5:
        images, labels = images[::-1], labels[::-1]
    shift = rng.normal(0.0, recipe.sampling.hu_shift_sd, size=(2, 1, 1, 1))
    return to_network(images + shift, recipe), np.ascontiguousarray(labels)


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
