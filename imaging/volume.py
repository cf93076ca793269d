"""A CT in Hounsfield units on its grid."""

from dataclasses import dataclass

from imaging.arrays import HuVoxels
from imaging.geometry import VolumeGeometry

AIR_HU = -1000
"""Stands for everything outside the field of view."""


@dataclass(frozen=True, eq=False)
class Volume:
    """Hounsfield units (z, y, x) int16 on a `VolumeGeometry`; the array is read-only."""

    hu: HuVoxels
    geometry: VolumeGeometry

    def __post_init__(self) -> None:
        if self.hu.shape != self.geometry.shape:
            raise ValueError(f"voxels {self.hu.shape} do not fill the grid {self.geometry.shape}")
        self.hu.flags.writeable = False
