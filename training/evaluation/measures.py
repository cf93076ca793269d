"""Numbers beyond `imaging.metrics`: the path left to draw, and how a displacement field stretches space."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_erosion, distance_transform_edt

from imaging.arrays import FloatVoxels, MaskVoxels
from imaging.displacement import jacobian_determinant
from imaging.transforms import DisplacementField

ALONG_AXES = ((0, 2), (1, 1), (2, 0))
"""Array axis with its component."""


@dataclass(frozen=True)
class PathLength:
    """Outline that a physician would still have to draw.

    Attributes:
        pixels: Contour pixels of the truth that the answer does not have, summed over the axial planes.
        mm: The same times the pixel's side (the root of its area).
    """

    pixels: int
    mm: float


@dataclass(frozen=True)
class FieldMeasures:
    """How a displacement field stretches space in the region that was looked at.

    Attributes:
        folded: Part of the voxels at which space folds towards at least one of the eight neighbouring cells.
        sd_jacobian: Standard deviation of the Jacobian determinant, central differences.
        sd_log_jacobian: The same of its natural logarithm, over voxels with a positive determinant.
        voxels: How many voxels were looked at.
    """

    folded: float
    sd_jacobian: float
    sd_log_jacobian: float
    voxels: int


def added_path_length(
    answer: MaskVoxels, truth: MaskVoxels, *, spacing_mm: tuple[float, float, float], tolerance_mm: float = 0.0
) -> PathLength:
    """Added path length: contour of the truth that is not already there in the answer, plane by plane.

    The contour of a mask in an axial plane are its pixels with at least one of their four neighbours in the plane
    outside; beyond the edge of the array is outside. A contour pixel of the truth counts if the centre of the nearest
    contour pixel of the answer in the same plane is farther than the tolerance; in a plane without an answer all
    count. What has to be erased costs nothing, as in the definition.

    Args:
        answer: (z, y, x) mask that would be corrected.
        truth: (z, y, x) mask on the same grid.
        spacing_mm: Distance of voxel centres, components (x, y, z).
        tolerance_mm: Largest distance that nobody would correct; 0 is the published definition.

    Raises:
        ValueError: If the masks differ in shape.

    References:
        Vaassen et al., Physics and Imaging in Radiation Oncology 13, 2020.
    """
    if answer.shape != truth.shape:
        raise ValueError(f"masks {answer.shape} and {truth.shape} are not on one grid")
    x, y, _ = spacing_mm
    there, wanted = plane_contours(answer), plane_contours(truth)
    pixels = 0
    for drawn, needed in zip(there, wanted, strict=True):
        if not needed.any():
            continue
        if drawn.any():
            far = np.asarray(distance_transform_edt(~drawn, sampling=(y, x))) > tolerance_mm
            pixels += int(np.count_nonzero(needed & far))
        else:
            pixels += int(np.count_nonzero(needed))
    return PathLength(pixels, pixels * float(np.sqrt(x * y)))


def plane_contours(mask: MaskVoxels) -> MaskVoxels:
    """Pixels (z, y, x) of a mask with one of their four neighbours in the axial plane outside."""
    cross = np.zeros((1, 3, 3), dtype=np.bool_)
    cross[0, 1, :] = cross[0, :, 1] = True
    return mask & ~binary_erosion(mask, structure=cross)


def field_measures(field: DisplacementField) -> FieldMeasures:
    """Folding and spread of the local change of volume over the whole grid of a field.

    The folded part takes `imaging.displacement.jacobian_determinant`, the least of the eight determinants round a
    voxel, because central differences look over a fold of one cell; the spread takes central differences, as papers
    report it.
    """
    determinant = central_determinant(field)
    positive = determinant[determinant > 0]
    return FieldMeasures(
        folded=float(np.mean(jacobian_determinant(field) <= 0)),
        sd_jacobian=float(determinant.std()),
        sd_log_jacobian=float(np.log(positive).std()) if positive.size else float("nan"),
        voxels=int(determinant.size),
    )


def central_determinant(field: DisplacementField) -> FloatVoxels:
    """Jacobian determinant of p + field(p), (z, y, x), by central differences; one-sided at the faces of the grid.

    An axis of one voxel counts as unchanged.
    """
    rows = np.zeros((3, 3, *field.geometry.shape), dtype=np.float64)
    for axis, component in ALONG_AXES:
        if field.geometry.shape[axis] > 1:
            step = field.geometry.spacing_mm[component]
            rows[:, component] = np.gradient(field.vectors.astype(np.float64), step, axis=axis + 1)
        rows[component, component] += 1.0
    (a, b, c), (d, e, f), (g, h, i) = rows
    return np.asarray(a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g), dtype=np.float32)


def cut_to_box(
    field: DisplacementField, lower_mm: tuple[float, float, float], upper_mm: tuple[float, float, float]
) -> DisplacementField | None:
    """The voxels of a field with centres in a box (LPS millimetres); None if there are none."""
    grid = field.geometry
    begin, end = [0, 0, 0], [0, 0, 0]
    for axis, component in ALONG_AXES:
        origin, step = grid.origin_mm[component], grid.spacing_mm[component]
        begin[axis] = max(int(np.ceil((lower_mm[component] - origin) / step - 1e-9)), 0)
        end[axis] = min(int(np.floor((upper_mm[component] - origin) / step + 1e-9)) + 1, grid.shape[axis])
        if end[axis] <= begin[axis]:
            return None
    part = field.vectors[:, begin[0] : end[0], begin[1] : end[1], begin[2] : end[2]]
    cropped = grid.cropped((begin[0], begin[1], begin[2]), (end[0], end[1], end[2]))
    return DisplacementField(np.ascontiguousarray(part), cropped)
