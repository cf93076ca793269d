"""A CT in Hounsfield units on its grid."""

from dataclasses import dataclass
from functools import cached_property

from imaging.arrays import HuVoxels
from imaging.blocks import block_means
from imaging.geometry import Box, VolumeGeometry

AIR_HU = -1000
"""Stands for everything outside the field of view."""

COMPARED_MM = 4.0
"""Registration compares CTs on blocks of this size."""


@dataclass(frozen=True, eq=False)
class Volume:
    """Hounsfield units (z, y, x) int16 on a `VolumeGeometry`; the array is read-only."""

    hu: HuVoxels
    geometry: VolumeGeometry

    def __post_init__(self) -> None:
        if self.hu.shape != self.geometry.shape:
            raise ValueError(f"voxels {self.hu.shape} do not fill the grid {self.geometry.shape}")
        self.hu.flags.writeable = False

    @cached_property
    def compared(self) -> "Volume":
        """Means of blocks of at most `COMPARED_MM`; made when first asked for, so that a plan waits with them."""
        return self.coarsened((COMPARED_MM,) * 3)

    def coarsened(self, spacing_mm: tuple[float, float, float], within: Box | None = None) -> "Volume":
        """See `block_means`; this very volume where it is coarse already."""
        hu, geometry = block_means(self.hu, self.geometry, spacing_mm, within)
        return self if hu is self.hu else Volume(hu, geometry)
