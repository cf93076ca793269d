"""A made-up trunk with organs, moved by a known smooth field: small, quick and exactly known."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from imaging.displacement import to_planning
from imaging.geometry import VolumeGeometry
from imaging.masks import PackedMasks
from imaging.transforms import AffineTransform, Deformation, DisplacementField
from imaging.volume import Volume

GRID = VolumeGeometry((28, 60, 76), (-150.0, -118.0, -56.0), (4.0, 4.0, 4.0))


@dataclass(frozen=True, eq=False)
class MadeUpCase:
    planning: Volume
    daily: Volume
    masks: tuple[PackedMasks, ...]
    daily_organ: np.ndarray
    truth: Deformation


def organ(points: np.ndarray) -> np.ndarray:
    """Inside of the organ on planning points, above 0 inside."""
    return 1 - np.sqrt((((points - [20.0, 5.0, 0.0]) / [34.0, 26.0, 24.0]) ** 2).sum(axis=-1))


def hounsfield(points: np.ndarray, *, organ_hu: float) -> np.ndarray:
    """A trunk with fat, muscle folds, two bones and one organ, drawn without voxels."""
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    out = np.full(x.shape, -1000.0)
    trunk = (x / 130) ** 2 + (y / 95) ** 2
    out[trunk < 1] = -100
    inner = (x / 112) ** 2 + (y / 78) ** 2 < 1
    folds = np.sin(x / 11 + np.sin(z / 17)) * np.cos(y / 13 - z / 19) + 0.5 * np.sin(z / 9 + x / 23)
    out[inner] = np.where(folds[inner] > 0.2, 60.0, -60.0)
    for centre in (-60.0, 60.0):
        out[((x - centre) / 14) ** 2 + ((y - 40) / 18) ** 2 + (z / 40) ** 2 < 1] = 700
    out[organ(points) > 0] = organ_hu
    return out


def rendered(to_plan: Deformation, *, organ_hu: float, noise: np.random.Generator) -> Volume:
    fine = VolumeGeometry(tuple(2 * n for n in GRID.shape), (-151.0, -119.0, -57.0), (2.0, 2.0, 2.0))
    k, j, i = np.indices(fine.shape)
    points = to_planning(to_plan, fine.to_lps(np.stack([i, j, k], axis=-1).reshape(-1, 3)))
    hu = hounsfield(points, organ_hu=organ_hu).reshape(fine.shape)
    z, y, x = GRID.shape
    hu = hu.reshape(z, 2, y, 2, x, 2).mean(axis=(1, 3, 5)) + noise.normal(0, 10, GRID.shape)
    return Volume(np.round(hu).astype(np.int16), GRID)


def smooth_field(seed: int, size_mm: float) -> DisplacementField:
    rng = np.random.default_rng(seed)
    wide = GRID.cropped((-3, -3, -3), (31, 63, 79))
    vectors = np.stack([ndimage.gaussian_filter(rng.normal(0, 1, wide.shape), 7.0) for _ in range(3)])
    return DisplacementField((vectors * size_mm / vectors.std() / 1.7).astype(np.float32), wide)


def made_up_case(*, seed: int = 4, size_mm: float = 7.0, daily_organ_hu: float = 20.0) -> MadeUpCase:
    still = Deformation(AffineTransform.identity())
    truth = Deformation(AffineTransform.identity(), (smooth_field(seed, size_mm),))
    planning = rendered(still, organ_hu=20.0, noise=np.random.default_rng(1))
    daily = rendered(truth, organ_hu=daily_organ_hu, noise=np.random.default_rng(2))
    k, j, i = np.indices(GRID.shape)
    points = GRID.to_lps(np.stack([i, j, k], axis=-1).reshape(-1, 3))
    packed = PackedMasks((organ(points) > 0).reshape(GRID.shape).astype(np.uint64), (1,), GRID)
    return MadeUpCase(planning, daily, (packed,), (organ(to_planning(truth, points)) > 0).reshape(GRID.shape), truth)
