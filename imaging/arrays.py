"""Names of the array shapes that the signatures of the project use.

Arrays are ordered (z, y, x); vector components are ordered (x, y, z), in LPS millimetres.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

HuVoxels: TypeAlias = NDArray[np.int16]
"""(z, y, x) Hounsfield units, rounded to whole numbers."""

MaskVoxels: TypeAlias = NDArray[np.bool_]
"""(z, y, x) or (y, x), True inside."""

RoiBits: TypeAlias = NDArray[np.uint64]
"""(z, y, x); bit b is set where the voxel centre lies in the b-th ROI."""

RoiSamples: TypeAlias = NDArray[np.uint64]
"""(z, y, x, samples); the same for several points of each voxel."""

LabelVoxels: TypeAlias = NDArray[np.uint8]
"""(z, y, x) integer labels, 0 is background."""

FloatVoxels: TypeAlias = NDArray[np.float32]
"""(z, y, x) or (channels, z, y, x)."""

DvfVoxels: TypeAlias = NDArray[np.float32]
"""(3, z, y, x) displacement in millimetres, components (x, y, z), pull-back."""

Points: TypeAlias = NDArray[np.float64]
"""(n, 3) points, components (x, y, z)."""

PointsXy: TypeAlias = NDArray[np.float64]
"""(n, 2) points in one axial plane, components (x, y), LPS millimetres."""

Matrix4: TypeAlias = NDArray[np.float64]
"""(4, 4) homogeneous matrix acting on columns (x, y, z, 1)."""
