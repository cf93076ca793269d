"""A pair and a recipe small enough that every path of training runs in seconds."""

from pathlib import Path

import numpy as np

from imaging.geometry import VolumeGeometry
from imaging.transforms import AffineTransform
from training.pairs import AlignedPair, write_pair
from training.recipe import RECIPES, Recipe, read_recipe

SHAPE = (52, 56, 60)


def tiny_recipe() -> Recipe:
    """The shipped recipe with three narrow widths, small patches, float32 and four steps."""
    shipped = read_recipe(RECIPES / "prostate-ct.toml")
    return shipped.model_copy(
        update={
            "widths": (2, 3, 4),
            "sampling": shipped.sampling.model_copy(update={"patch_size": 48}),
            "optimisation": shipped.optimisation.model_copy(
                update={
                    "steps": 4,
                    "warmup_steps": 1,
                    "decay_steps": 2,
                    "precision": "float32",
                    "recalibration_patches": 2,
                }
            ),
        }
    )


def write_tiny_cohort(folder: Path) -> None:
    """Two pairs in folder/training."""
    (folder / "training").mkdir()
    for number in range(2):
        write_pair(tiny_pair(number), folder / "training", name=f"A-{number:05d}-1", targets=(3, 4), seed=number)


def tiny_pair(seed: int) -> AlignedPair:
    """Noise with four boxes of organs; the planning boxes lie two voxels farther along x."""
    rng = np.random.default_rng(seed)
    images = rng.normal(0, 60, size=(2, *SHAPE)).astype(np.int16)
    labels = np.zeros((2, *SHAPE), dtype=np.uint8)
    for label in range(1, 5):
        low = 16 + 4 * label
        labels[0, 20:32, low : low + 4, 20:36] = label
        labels[1, 20:32, low : low + 4, 22:38] = label
    images[labels > 0] += 150
    geometry = VolumeGeometry(SHAPE, (0.0, 0.0, 0.0), (2.0, 2.0, 2.0))
    return AlignedPair(images, labels, geometry, AffineTransform.identity())
