"""Pairs and a recipe small enough that every path of training runs in seconds."""

import numpy as np
from numpy.typing import NDArray

from training.pairs import CachedPair
from training.recipe import RECIPES, Recipe, read_recipe

SHAPE = (52, 56, 60)


def tiny_recipe(system: str = "cross-stitch-b", **changes: object) -> Recipe:
    """A shipped system at the smoke scale: three narrow widths, small patches, float32 and four steps."""
    recipe = read_recipe(RECIPES / f"{system}.toml", RECIPES / "scales" / "smoke.toml")
    return recipe.model_copy(update=changes)


def with_steps(recipe: Recipe, steps: int) -> Recipe:
    """The recipe with another length."""
    return recipe.model_copy(update={"optimisation": recipe.optimisation.model_copy(update={"steps": steps})})


def tiny_pairs() -> tuple[CachedPair, ...]:
    """Two pairs of two patients."""
    return tuple(tiny_pair(seed) for seed in range(2))


def tiny_pair(seed: int) -> CachedPair:
    """Noise with four boxes of organs; the planning boxes lie two voxels farther along x."""
    rng = np.random.default_rng(seed)
    images = rng.normal(0, 60, size=(2, *SHAPE)).astype(np.int16)
    labels = np.zeros((2, *SHAPE), dtype=np.uint8)
    for label in range(1, 5):
        low = 16 + 4 * label
        labels[0, 20:32, low : low + 4, 20:36] = label
        labels[1, 20:32, low : low + 4, 22:38] = label
    images[labels > 0] += 150
    groups = (labels[0] > 2, (labels[0] > 0) & (labels[0] < 3), labels[0] == 0)
    centres = np.stack([_drawn(group, rng) for group in groups])
    return CachedPair(f"{seed:08x}-1", f"{seed:08x}", images, labels, centres, f"{seed:064x}")


def _drawn(group: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.int16]:
    return rng.permutation(np.argwhere(group))[:64].astype(np.int16)
