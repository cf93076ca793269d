"""Where voxels are: an axial grid in LPS millimetres.

The readers bring every accepted CT, whatever the patient's position on the table, to one form: array axes
(z, y, x) run towards the patient's Superior, Posterior and Left, so voxel (k, j, i) has its centre at
`origin_mm + (i, j, k) * spacing_mm` (components x, y, z). DICOM PS3.3 C.7.6.2.1.1 is applied once, on reading.
"""

from dataclasses import dataclass

import numpy as np

from imaging.arrays import Matrix4, Points

Box = tuple[Points, Points]
"""Lower and upper corner (x, y, z), usually in LPS millimetres."""


@dataclass(frozen=True)
class VolumeGeometry:
    """A uniform grid whose axes run along +L, +P and +S.

    Attributes:
        shape: Number of voxels (z, y, x), each at least 1.
        origin_mm: Centre of voxel (0, 0, 0), components (x, y, z).
        spacing_mm: Distance of voxel centres, components (x, y, z), each positive.
    """

    shape: tuple[int, int, int]
    origin_mm: tuple[float, float, float]
    spacing_mm: tuple[float, float, float]

    def __post_init__(self) -> None:
        if min(self.shape) < 1:
            raise ValueError(f"shape {self.shape} has an empty axis")
        if not np.all(np.isfinite([*self.origin_mm, *self.spacing_mm])) or min(self.spacing_mm) <= 0:
            raise ValueError(f"origin {self.origin_mm} and spacing {self.spacing_mm} must be finite and positive")

    @property
    def voxel_cc(self) -> float:
        """Volume of one voxel in cubic centimetres."""
        return float(np.prod(self.spacing_mm)) / 1000.0

    @property
    def size_mm(self) -> tuple[float, float, float]:
        """Extent from the first to the last voxel centre, components (x, y, z)."""
        z, y, x = self.shape
        sx, sy, sz = self.spacing_mm
        return (x - 1) * sx, (y - 1) * sy, (z - 1) * sz

    @property
    def last_mm(self) -> tuple[float, float, float]:
        """Centre of the last voxel, components (x, y, z)."""
        x, y, z = (o + s for o, s in zip(self.origin_mm, self.size_mm, strict=True))
        return x, y, z

    @property
    def centre_mm(self) -> tuple[float, float, float]:
        """Middle between the first and the last voxel centre, components (x, y, z)."""
        x, y, z = (o + s / 2 for o, s in zip(self.origin_mm, self.size_mm, strict=True))
        return x, y, z

    @property
    def index_to_lps(self) -> Matrix4:
        """(4, 4) matrix from index (i, j, k, 1) in the order x, y, z to LPS millimetres."""
        matrix = np.diag([*self.spacing_mm, 1.0])
        matrix[:3, 3] = self.origin_mm
        return matrix

    @property
    def lps_to_index(self) -> Matrix4:
        """(4, 4) matrix from LPS millimetres to the continuous index (i, j, k, 1) in the order x, y, z."""
        matrix = np.diag([*(1 / np.asarray(self.spacing_mm)), 1.0])
        matrix[:3, 3] = -np.asarray(self.origin_mm) / self.spacing_mm
        return matrix

    def to_lps(self, index_xyz: Points) -> Points:
        """Points in LPS millimetres of continuous indices (n, 3) in the order (x, y, z)."""
        return np.asarray(index_xyz, dtype=np.float64) * self.spacing_mm + self.origin_mm

    def to_index(self, points_mm: Points) -> Points:
        """Continuous indices (n, 3) in the order (x, y, z) of points in LPS millimetres."""
        return (np.asarray(points_mm, dtype=np.float64) - self.origin_mm) / self.spacing_mm

    def axis_mm(self, axis: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """Voxel centres along one axis, 'x', 'y' or 'z', in LPS millimetres."""
        component = "xyz".index(axis)
        count = self.shape[2 - component]
        return self.origin_mm[component] + self.spacing_mm[component] * np.arange(count, dtype=np.float64)

    @property
    def box(self) -> Box:
        """The outermost voxel centres, lower and upper corner (x, y, z), LPS millimetres."""
        return np.asarray(self.origin_mm), np.asarray(self.last_mm)

    def edge_mm(self, voxels: int) -> float:
        """Edge of the even voxels of which so many fill this extent."""
        x, y, z = self.size_mm
        return float(np.cbrt(x * y * z / voxels))

    def covering(self, spacing_mm: tuple[float, float, float]) -> "VolumeGeometry":
        """A grid of another spacing over the same extent, centred on it, reaching at least the outer voxel centres."""
        counts = [int(np.ceil(size / new - 1e-9)) + 1 for size, new in zip(self.size_mm, spacing_mm, strict=True)]
        origin = [
            centre - (count - 1) * new / 2
            for centre, count, new in zip(self.centre_mm, counts, spacing_mm, strict=True)
        ]
        return VolumeGeometry((counts[2], counts[1], counts[0]), (origin[0], origin[1], origin[2]), spacing_mm)

    def in_blocks(self, voxels: int) -> "VolumeGeometry":
        """The grid of the centres of blocks of so many voxels along each axis; the last blocks may reach beyond it."""
        z, y, x = (-(-n // voxels) for n in self.shape)
        ox, oy, oz = (o + s * (voxels - 1) / 2 for o, s in zip(self.origin_mm, self.spacing_mm, strict=True))
        sx, sy, sz = (s * voxels for s in self.spacing_mm)
        return VolumeGeometry((z, y, x), (ox, oy, oz), (sx, sy, sz))

    def cropped(self, lower: tuple[int, int, int], upper: tuple[int, int, int]) -> "VolumeGeometry":
        """The part with array indices lower <= (z, y, x) < upper; bounds beyond the grid extend it."""
        origin = [o + s * lower[2 - c] for c, (o, s) in enumerate(zip(self.origin_mm, self.spacing_mm, strict=True))]
        return VolumeGeometry(
            (upper[0] - lower[0], upper[1] - lower[1], upper[2] - lower[2]),
            (origin[0], origin[1], origin[2]),
            self.spacing_mm,
        )


def bounds(points_mm: Points) -> Box:
    """Least and largest coordinates (k,) of points (n, k)."""
    # Along memory, because numpy takes the least of each column of a long narrow array very slowly.
    along = np.ascontiguousarray(points_mm.T)
    return along.min(axis=1), along.max(axis=1)
