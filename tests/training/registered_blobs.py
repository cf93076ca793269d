"""A pair of scans whose true displacement is known, with four organs; nothing of it comes from a patient."""

from dataclasses import dataclass, field

import numpy as np
from scipy.ndimage import gaussian_filter

from imaging.arrays import LabelVoxels
from imaging.geometry import VolumeGeometry
from imaging.resampling import resample_deformed
from imaging.transforms import AffineTransform, DisplacementField
from imaging.volume import Volume

SHAPE = (44, 50, 56)
SPACING_MM = 3.0
GRID = VolumeGeometry(SHAPE, (-80.0, -70.0, -60.0), (SPACING_MM,) * 3)


@dataclass(frozen=True, eq=False)
class Scan:
    volume: Volume
    labels: LabelVoxels


@dataclass(frozen=True, eq=False)
class BlobCase:
    """A held-out case; the affine is the identity."""

    planning: Scan
    daily: Scan
    name: str = "blobs-1"
    patient: str = "blobs"
    affine: AffineTransform = field(default_factory=AffineTransform.identity)


def smooth_field(amplitude_mm: float) -> DisplacementField:
    """Sine waves, one along a different axis for each component, so that mixed-up axes are noticed."""
    z, y, x = np.meshgrid(*(np.linspace(0, np.pi, n) for n in SHAPE), indexing="ij")
    vectors = amplitude_mm * np.stack([np.sin(z), -np.sin(x), 0.5 * np.sin(y)])
    return DisplacementField(vectors.astype(np.float32), GRID)


def shift_field(shift_mm: tuple[float, float, float]) -> DisplacementField:
    """The same shift (x, y, z) everywhere."""
    vectors = np.broadcast_to(np.array(shift_mm, np.float32)[:, None, None, None], (3, *SHAPE))
    return DisplacementField(vectors.copy(), GRID)


def blob_case(truth: DisplacementField) -> BlobCase:
    """Daily voxel p is planning voxel p + truth(p), sampled by the resampler of the service."""
    planning = Scan(Volume(_texture(), GRID), _organs())
    daily_hu, _ = resample_deformed(planning.volume, truth, affine=AffineTransform.identity())
    index = np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij"))
    there = np.rint(index + truth.vectors[::-1] / SPACING_MM).astype(int)
    k, j, i = (np.clip(at, 0, n - 1) for at, n in zip(there, SHAPE, strict=True))
    return BlobCase(planning, Scan(Volume(np.rint(daily_hu).astype(np.int16), GRID), planning.labels[k, j, i]))


def _texture() -> np.ndarray[tuple[int, int, int], np.dtype[np.int16]]:
    """Lumps of fat, water, muscle and bone, their edges a little soft."""
    lumps = gaussian_filter(np.random.default_rng(3).normal(size=SHAPE), 2.5)
    kind = np.digitize(lumps / lumps.std(), [-0.7, 0.0, 0.9])
    return np.rint(gaussian_filter(np.choose(kind, [-100.0, 0.0, 60.0, 250.0]), 0.7)).astype(np.int16)


def _organs() -> LabelVoxels:
    labels = np.zeros(SHAPE, np.uint8)
    for label, first in enumerate((14, 20, 26, 32), start=1):
        labels[16:28, 18:32, first : first + 6] = label
    return labels
