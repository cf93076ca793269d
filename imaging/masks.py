"""ROIs on a grid: packed bits for the plan, soft patches for what is drawn anew."""

from dataclasses import dataclass

from imaging.arrays import FloatVoxels, RoiBits
from imaging.geometry import VolumeGeometry

ROIS_PER_WORD = 64


@dataclass(frozen=True, eq=False)
class PackedMasks:
    """Up to 64 ROIs as the bits of one integer volume: bit b belongs to `roi_numbers[b]`."""

    bits: RoiBits
    roi_numbers: tuple[int, ...]
    geometry: VolumeGeometry

    def __post_init__(self) -> None:
        if self.bits.shape != self.geometry.shape or len(self.roi_numbers) > ROIS_PER_WORD:
            raise ValueError(f"{len(self.roi_numbers)} ROIs on {self.bits.shape} do not fit {self.geometry.shape}")
        self.bits.flags.writeable = False


@dataclass(frozen=True, eq=False)
class RoiPatch:
    """One ROI on a box of a grid.

    Attributes:
        roi_number: Whose it is.
        lower: Array index (z, y, x) of the box's first voxel in `geometry`.
        inside: (z, y, x) float32 from 0 to 1; the boundary runs where it is 0.5, linearly between voxel centres.
            Outside the box it is 0.
        geometry: The whole grid.
    """

    roi_number: int
    lower: tuple[int, int, int]
    inside: FloatVoxels
    geometry: VolumeGeometry
