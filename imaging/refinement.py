"""The training-free refinement: pulls the moving (planning) CT onto the fixed (daily) one by what places look like.

Two searches, on 8 mm with a reach of 24 mm and on 4 mm with a reach of 8 mm, find the large displacements, a few
sub-voxel steps on 4 mm follow. Every image that is compared is sampled anew from the native CT under the field so far,
and its descriptors computed anew, so nothing is interpolated twice. The displacement between edges comes from their
neighbours by normalised convolution (Knutsson and Westin, CVPR 1993) and Gaussian smoothing of the field. What was
tried instead is in docs/decisions/0002-refinement.md.
"""

import numpy as np

from imaging.arrays import DvfVoxels
from imaging.displacement import vectors_reaching
from imaging.geometry import VolumeGeometry
from imaging.matching import STRIDE, search, sub_voxel_step
from imaging.resampling import resample_deformed, resample_reaching
from imaging.similarity import NOISE_HU, Descriptors, describe
from imaging.smoothing import smooth
from imaging.transforms import AffineTransform, DisplacementField
from imaging.volume import Volume

SEARCHES_MM = ((8.0, 3), (4.0, 2))
"""Grid spacing and reach in voxels of the searches, in turn."""

SEARCH_SIGMA_MM = 10.0
STEPS = 4
STEP_SIGMA_MM = 10.0
"""Over which distance sure places lead unsure ones."""

FIELD_SIGMA_MM = 4.0
COMPARED_SIGMA_BLOCKS = 0.7
LEAST_WEIGHT = 0.5
"""Added to the summed weights: where nothing is sure, nothing moves."""


def refine(
    *,
    fixed: Volume,
    moving: Volume,
    affine: AffineTransform,
    grid: VolumeGeometry,
    start: DvfVoxels | None = None,
) -> DisplacementField:
    """The whole displacement on the affinely aligned fixed patient, `start` included.

    Args:
        fixed: The daily CT.
        moving: The planning CT.
        affine: From the fixed to the moving patient.
        grid: Even 4 to 6 mm grid of the fixed patient on which to work.
        start: (3, z, y, x) millimetres on `grid` from which to begin, or None for the affine alone.
    """
    field = DisplacementField(np.zeros((3, *grid.shape), dtype=np.float32) if start is None else start, grid)
    for spacing_mm, reach in SEARCHES_MM:
        field = _searched(fixed, moving, affine, field, spacing_mm=spacing_mm, reach=reach)
    return _stepped(fixed, moving, affine, field, grid)


def described_at(volume: Volume, grid: VolumeGeometry, *, noise_hu: float = NOISE_HU) -> Descriptors:
    """Descriptors of a CT on a grid of the same patient."""
    return describe(resample_reaching(volume, grid), noise_hu=noise_hu)


def _searched(
    fixed: Volume,
    moving: Volume,
    affine: AffineTransform,
    field: DisplacementField,
    *,
    spacing_mm: float,
    reach: int,
) -> DisplacementField:
    level = field.geometry.covering((spacing_mm,) * 3)
    so_far = vectors_reaching(field, level)
    there, _ = resample_deformed(moving.coarsened((spacing_mm,) * 3), DisplacementField(so_far, level), affine=affine)
    here = described_at(fixed.coarsened((spacing_mm,) * 3), level)
    found = search(here, describe(there), reach=reach) * np.float32(spacing_mm)
    return DisplacementField(smooth(so_far + found, SEARCH_SIGMA_MM / spacing_mm), level)


def _stepped(
    fixed: Volume, moving: Volume, affine: AffineTransform, field: DisplacementField, grid: VolumeGeometry
) -> DisplacementField:
    """Sub-voxel steps of images on `grid`; the field itself lives on blocks of it, for it is smoother than they are."""
    here = described_at(fixed, grid)
    blocks = grid.in_blocks(STRIDE)
    block_mm = min(blocks.spacing_mm)
    field = DisplacementField(vectors_reaching(field, blocks), blocks)
    for _ in range(STEPS):
        so_far = DisplacementField(vectors_reaching(field, grid), grid)
        there, seen = resample_deformed(moving, so_far, affine=affine)
        step, weight = sub_voxel_step(here, describe(there), seen, window=COMPARED_SIGMA_BLOCKS)
        led = smooth(step * weight, STEP_SIGMA_MM / block_mm)
        led /= smooth(weight, STEP_SIGMA_MM / block_mm) + np.float32(LEAST_WEIGHT)
        vectors = smooth(field.vectors + led * np.float32(min(grid.spacing_mm)), FIELD_SIGMA_MM / block_mm)
        field = DisplacementField(vectors, blocks)
    return DisplacementField(vectors_reaching(field, grid), grid)
