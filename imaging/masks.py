"""ROIs on a grid: packed bits for the plan, soft patches for what is drawn anew."""

from dataclasses import dataclass
from functools import cached_property

import numba
import numpy as np
from numpy.typing import NDArray

from imaging.arrays import FloatVoxels, RoiBits, RoiSamples
from imaging.geometry import VolumeGeometry

ROIS_PER_WORD = 64

EMPTY, FULL = 1, 2

_BLOCK_MM = 4.0

VoxelBox = tuple[tuple[int, int, int], tuple[int, int, int]]
"""Array indices (z, y, x) of its first and of its last voxel."""


@dataclass(frozen=True, eq=False)
class Survey:
    """What can be said of packed masks before anybody looks at them closely.

    Attributes:
        alike: (z, y, x) whether all words from a voxel to the next along all axes are the same: `EMPTY`, `FULL`, or 0.
        held: (z, y, x) bits of what each block of voxels holds.
        block: Voxels (z, y, x) per block.
    """

    alike: NDArray[np.uint8]
    held: RoiBits
    block: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class PackedMasks:
    """Up to 64 ROIs as the bits of one integer volume: bit b belongs to `roi_numbers[b]`.

    Attributes:
        bits: What holds each voxel's centre.
        roi_numbers: Whose the bits are.
        geometry: The grid.
        points: What holds several points of each voxel, so that their share says where within it a boundary runs;
            None if the centres are all that is known.
    """

    bits: RoiBits
    roi_numbers: tuple[int, ...]
    geometry: VolumeGeometry
    points: RoiSamples | None = None

    def __post_init__(self) -> None:
        if self.bits.shape != self.geometry.shape or len(self.roi_numbers) > ROIS_PER_WORD:
            raise ValueError(f"{len(self.roi_numbers)} ROIs on {self.bits.shape} do not fit {self.geometry.shape}")
        if self.samples.shape[:-1] != self.geometry.shape:
            raise ValueError(f"points of {self.samples.shape[:-1]} voxels do not fit {self.geometry.shape}")
        self.bits.flags.writeable = self.samples.flags.writeable = False

    @property
    def samples(self) -> RoiSamples:
        """The points of each voxel, or its centre as the only one."""
        return self.bits[..., None] if self.points is None else self.points

    @cached_property
    def survey(self) -> "Survey":
        """Where the masks are all the same, and where they hold what.

        Made when first asked for, so that a staged plan keeps it.
        """
        block = np.array([max(1, round(_BLOCK_MM / spacing)) for spacing in self.geometry.spacing_mm[::-1]])
        alike = np.zeros(self.bits.shape, dtype=np.uint8)
        held = np.zeros(-(-np.array(self.bits.shape) // block), dtype=np.uint64)
        _survey(self.samples, alike, block, held)
        return Survey(alike, held, block)

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
def _survey(samples, alike, block, held):  # type: ignore[no-untyped-def]
    depth, height, width, count = samples.shape
    rows = samples.reshape(depth, height, width * count)
    for kb in numba.prange(held.shape[0]):
        unlike = np.empty(width, dtype=np.uint64)
        for k in range(kb * block[0], min((kb + 1) * block[0], depth)):
            for j in range(height):
                a, line = rows[k, j], held[kb, j // block[1]]
                for ib in range(line.size):
                    word = line[ib]
                    for n in range(ib * block[2] * count, min((ib + 1) * block[2], width) * count):
                        word |= a[n]
                    line[ib] = word
                if k + 1 == depth or j + 1 == height:
                    continue
                b, c, d, same = rows[k, j + 1], rows[k + 1, j], rows[k + 1, j + 1], alike[k, j]
                for i in range(width):
                    word, found = a[i * count], np.uint64(0)
                    for n in range(i * count, (i + 1) * count):
                        found |= (a[n] ^ word) | (b[n] ^ word) | (c[n] ^ word) | (d[n] ^ word)
                    unlike[i] = found
                for i in range(width - 1):
                    word = a[i * count]
                    if unlike[i] | unlike[i + 1] | (word ^ a[(i + 1) * count]) == np.uint64(0):
                        same[i] = EMPTY if word == np.uint64(0) else FULL


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
