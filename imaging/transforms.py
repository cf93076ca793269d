"""Affine transform and displacement field, both pull-back: from the fixed (daily) to the moving (planning) patient."""

from dataclasses import dataclass

import numpy as np

from imaging.arrays import DvfVoxels, Matrix4, Points
from imaging.geometry import VolumeGeometry


@dataclass(frozen=True, eq=False)
class AffineTransform:
    """moving_point = matrix @ fixed_point, LPS millimetres, components (x, y, z, 1)."""

    matrix: Matrix4

    def __post_init__(self) -> None:
        if self.matrix.shape != (4, 4) or not np.allclose(self.matrix[3], [0, 0, 0, 1]):
            raise ValueError("an affine transform is a 4x4 matrix with last row 0 0 0 1")
        self.matrix.flags.writeable = False

    @classmethod
    def identity(cls) -> "AffineTransform":
        """The transform that moves nothing."""
        return cls(np.eye(4))

    def to_moving(self, fixed_mm: Points) -> Points:
        """Points (n, 3) of the fixed patient, carried to the moving one."""
        return fixed_mm @ self.matrix[:3, :3].T + self.matrix[:3, 3]

    def to_fixed(self, moving_mm: Points) -> Points:
        """Points (n, 3) of the moving patient, carried back to the fixed one."""
        return (moving_mm - self.matrix[:3, 3]) @ np.linalg.inv(self.matrix[:3, :3]).T.astype(np.float64)


@dataclass(frozen=True, eq=False)
class DisplacementField:
    """moving_point = fixed_point + vectors(fixed_point), trilinear between voxel centres, zero outside the grid.

    Attributes:
        vectors: (3, z, y, x) float32, millimetres, components (x, y, z).
        geometry: The grid of the fixed (daily) patient that carries the vectors.
    """

    vectors: DvfVoxels
    geometry: VolumeGeometry

    def __post_init__(self) -> None:
        if self.vectors.shape != (3, *self.geometry.shape):
            raise ValueError(f"vectors {self.vectors.shape} do not fill the grid {self.geometry.shape}")
        self.vectors.flags.writeable = False


@dataclass(frozen=True, eq=False)
class Deformation:
    """From the daily to the planning patient: planning_point = affine(p + sum of fields(p)).

    The fields add up on the affinely aligned daily patient; an empty tuple is the affine alone.
    """

    affine: AffineTransform
    fields: tuple[DisplacementField, ...] = ()
