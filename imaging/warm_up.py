"""Compiles every kernel of registration and propagation on a tiny case, so that the first patient does not wait."""

import numpy as np

from imaging.alignment import align
from imaging.deformation import choose_deformation
from imaging.displacement import to_daily, to_planning
from imaging.geometry import VolumeGeometry
from imaging.masks import PackedMasks
from imaging.propagation import part_outside, propagate
from imaging.resampling import resample
from imaging.transforms import AffineTransform, DisplacementField
from imaging.volume import AIR_HU, Volume


def warm_up() -> None:
    """Run alignment, refinement and propagation once; seconds to a minute on a fresh cache, else well below one."""
    geometry = VolumeGeometry((16, 32, 40), (0.0, 0.0, 0.0), (4.0, 4.0, 4.0))
    k, j, i = np.indices(geometry.shape)
    body = ((j - 16) / 12) ** 2 + ((i - 20) / 16) ** 2 < 1
    organ = ((k - 6) / 5) ** 2 + ((j - 13) / 5) ** 2 + ((i - 23) / 6) ** 2 < 1
    hu = np.where(body, 20 + 3 * k, AIR_HU)
    hu[organ] = 200
    volume = Volume(hu.astype(np.int16), geometry)
    masks = (PackedMasks(organ.astype(np.uint64), (1,), geometry),)
    affine = align(fixed=volume, moving=volume)
    network = DisplacementField(np.full((3, *geometry.shape), 0.5, dtype=np.float32), geometry)
    chosen = choose_deformation(daily=volume, planning=volume, affine=affine, network=network, masks=masks)
    propagate(masks, chosen.deformation, geometry)
    part_outside(masks, chosen.deformation, geometry)
    points = np.array([geometry.centre_mm])
    to_daily(chosen.deformation, to_planning(chosen.deformation, points))
    resample(volume, geometry.covering((9.0, 9.0, 9.0)), to_source=AffineTransform.identity(), antialias=True)
