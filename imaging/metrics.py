"""How well two masks of one ROI agree: overlap and surface distance, defined so that a clinic can check them by hand.

Implementations of these numbers differ between institutions by tens of percent (PMC9679364), so each definition is
spelled out here and tested on closed-form shapes. They follow Beljaards et al., MIDL 2020: the surface is the set of
contour voxels, both directed lists of distances are pooled for the mean, and the 95 % Hausdorff distance is the larger
of the two directed 95th percentiles.
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import KDTree

from imaging.arrays import MaskVoxels, Points


@dataclass(frozen=True)
class SurfaceDistances:
    """Distances between the surfaces of two masks, in millimetres.

    Attributes:
        mean_mm: Mean of both directed lists of distances, pooled.
        hd95_mm: The larger of the two directed 95th percentiles (linear between ranks).
    """

    mean_mm: float
    hd95_mm: float


def dice(a: MaskVoxels, b: MaskVoxels) -> float:
    """Dice similarity: twice the common volume over the sum of both volumes.

    Returns:
        A number from 0 to 1; nan if both masks are empty, 0 if one of them is.

    Raises:
        ValueError: If the masks differ in shape or are not boolean.
    """
    _check(a, b)
    total = int(np.count_nonzero(a)) + int(np.count_nonzero(b))
    return 2.0 * int(np.count_nonzero(a & b)) / total if total else float("nan")


def surface_distances(a: MaskVoxels, b: MaskVoxels, *, spacing_mm: tuple[float, float, float]) -> SurfaceDistances:
    """Mean and 95 % Hausdorff distance between the surfaces of two masks on one grid.

    The surface of a mask are its voxels with at least one of their six face neighbours outside; beyond the edge of the
    array is outside. Each surface voxel of one mask contributes the distance from its centre to the centre of the
    nearest surface voxel of the other.

    Args:
        a: (z, y, x) mask.
        b: (z, y, x) mask on the same grid.
        spacing_mm: Distance of voxel centres, components (x, y, z).

    Returns:
        Both numbers; nan if both masks are empty, inf if exactly one is.

    Raises:
        ValueError: If the masks differ in shape, are not boolean or not three-dimensional.
    """
    _check(a, b)
    if a.ndim != 3:
        raise ValueError(f"surface distances need masks (z, y, x), not {a.ndim} axes")
    points_a, points_b = _surface_points(a, spacing_mm), _surface_points(b, spacing_mm)
    if not len(points_a) or not len(points_b):
        nothing = float("nan") if len(points_a) == len(points_b) else float("inf")
        return SurfaceDistances(nothing, nothing)
    a_to_b, b_to_a = _nearest(points_a, points_b), _nearest(points_b, points_a)
    return SurfaceDistances(
        mean_mm=float(np.concatenate([a_to_b, b_to_a]).mean()),
        hd95_mm=float(max(np.percentile(a_to_b, 95), np.percentile(b_to_a, 95))),
    )


def surface(mask: MaskVoxels) -> MaskVoxels:
    """The contour voxels of a mask: inside, with a face neighbour that is outside or beyond the array."""
    padded, inner = np.pad(mask, 1), mask.copy()
    for axis in range(mask.ndim):
        for start in (0, 2):
            beside = [slice(1, -1)] * mask.ndim
            beside[axis] = slice(start, start + mask.shape[axis])
            inner &= padded[tuple(beside)]
    return mask & ~inner


def bounding_box(mask: MaskVoxels) -> tuple[slice, slice, slice] | None:
    """The smallest box (z, y, x) that holds a mask, or None if it is empty."""
    slices: list[slice] = []
    part = mask
    for axis in range(3):
        hit = np.flatnonzero(part.any(axis=tuple(other for other in range(3) if other != axis)))
        if not len(hit):
            return None
        slices.append(slice(int(hit[0]), int(hit[-1]) + 1))
        part = part[(slice(None),) * axis + (slices[-1],)]
    return slices[0], slices[1], slices[2]


def _surface_points(mask: MaskVoxels, spacing_mm: tuple[float, float, float]) -> Points:
    """Centres of the contour voxels, (n, 3) millimetres from the centre of voxel (0, 0, 0)."""
    box = bounding_box(mask)
    if box is None:
        return np.empty((0, 3))
    index_zyx = np.argwhere(surface(mask[box])) + [part.start for part in box]
    return index_zyx[:, ::-1] * np.asarray(spacing_mm, dtype=np.float64)


def _nearest(points: Points, others: Points) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    # A tree over surface voxels costs with the surface, a distance map with the volume of the box round both masks.
    tree = KDTree(others, leafsize=32, balanced_tree=False, compact_nodes=False)
    distances, _ = tree.query(points)
    return np.asarray(distances, dtype=np.float64)


def _check(a: MaskVoxels, b: MaskVoxels) -> None:
    if a.shape != b.shape:
        raise ValueError(f"masks {a.shape} and {b.shape} are not on one grid")
    if a.dtype != np.bool_ or b.dtype != np.bool_:
        raise ValueError(f"masks must be boolean, not {a.dtype} and {b.dtype}")
