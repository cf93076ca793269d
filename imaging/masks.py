"""ROIs on a grid: packed bits for the plan, soft patches for what is drawn anew."""

from dataclasses import dataclass
from functools import cached_property

import numba
import numpy as np
from numpy.typing import NDArray

from imaging.arrays import FloatVoxels, RoiBits
from imaging.geometry import VolumeGeometry

ROIS_PER_WORD = 64

EMPTY, FULL = 1, 2

VoxelBox = tuple[tuple[int, int, int], tuple[int, int, int]]
"""Array indices (z, y, x) of its first and of its last voxel."""


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

    @cached_property
    def alike(self) -> NDArray[np.uint8]:
        """Per voxel, whether the eight words from it to the next along all axes are the same: `EMPTY`, `FULL`, or 0.

        Made when first asked for, so that a staged plan keeps it.
        """
        alike = np.zeros(self.bits.shape, dtype=np.uint8)
        _compare(self.bits, alike)
        return alike

    @property
    def box(self) -> VoxelBox | None:
        """The smallest box that holds all ROIs; None if all are empty."""
        spans = [_span(np.moveaxis(self.bits, axis, 0)) for axis in range(3)]
        (k0, k1), (j0, j1), (i0, i1) = spans
        return ((k0, j0, i0), (k1, j1, i1)) if k1 >= 0 else None


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


@numba.njit(cache=True, parallel=True)
def _compare(bits, alike):  # type: ignore[no-untyped-def]
    """Whether the eight words from each voxel to the next along all axes are the same."""
    for k in numba.prange(bits.shape[0] - 1):
        for j in range(bits.shape[1] - 1):
            a, b, c, d = bits[k, j], bits[k, j + 1], bits[k + 1, j], bits[k + 1, j + 1]
            line = alike[k, j]
            for i in range(line.size - 1):
                w = a[i]
                unlike = (a[i + 1] ^ w) | (b[i] ^ w) | (b[i + 1] ^ w)
                unlike |= (c[i] ^ w) | (c[i + 1] ^ w) | (d[i] ^ w) | (d[i + 1] ^ w)
                if unlike == np.uint64(0):
                    line[i] = EMPTY if w == np.uint64(0) else FULL


@numba.njit(cache=True, nogil=True)
def _span(slices):  # type: ignore[no-untyped-def]
    """First and last slice that is not all zero; (n, -1) if all are. Looks no farther than it has to."""
    first, last = 0, slices.shape[0] - 1
    while first <= last and not _any(slices[first]):
        first += 1
    while last > first and not _any(slices[last]):
        last -= 1
    return (first, last) if first <= last else (first, -1)


@numba.njit(cache=True, nogil=True)
def _any(plane):  # type: ignore[no-untyped-def]
    for j in range(plane.shape[0]):
        for i in range(plane.shape[1]):
            if plane[j, i] != 0:
                return True
    return False
