"""Where the slices of a series are, from position and orientation alone. PS3.3 C.7.6.2.1.1, C.7.3.1.1.2.

Slice Thickness, Slice Location and Spacing Between Slices are never used: they are often wrong.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from imaging.dicom.slices import Slice
from imaging.errors import (
    DuplicatePosition,
    GantryTilt,
    MissingSlices,
    NonuniformSpacing,
    OrientationUnsupported,
    PatientPositionMismatch,
    ValueInvalid,
)
from imaging.geometry import VolumeGeometry

UNIT_TOLERANCE: Final = 1e-3
"""How far the direction cosines may be from orthonormal."""

OBLIQUE_TOLERANCE_RAD: Final = 5e-4
"""An axis within this angle of a patient axis is taken as parallel: 0.13 mm at 250 mm from the centre."""

TILT_TOLERANCE_DEG: Final = 0.1
SPACING_TOLERANCE_MM: Final = 0.01
SPACING_TOLERANCE_RATIO: Final = 0.01
GRID_TOLERANCE_RATIO: Final = 0.05
"""How far a slice may be from the uniform grid through all slices, in slice distances."""

SIDEWAYS_TOLERANCE_MM: Final = 0.05
LISTED_POSITIONS: Final = 10

AS_ACQUIRED: Final = {
    "HFS": (1, 0, 0, 0, 1, 0),
    "HFP": (-1, 0, 0, 0, -1, 0),
    "FFS": (-1, 0, 0, 0, 1, 0),
    "FFP": (1, 0, 0, 0, -1, 0),
    "HFDR": (0, 1, 0, -1, 0, 0),
    "HFDL": (0, -1, 0, 1, 0, 0),
    "FFDR": (0, -1, 0, -1, 0, 0),
    "FFDL": (0, 1, 0, 1, 0, 0),
}
"""Image Orientation (Patient) as seen on the scanner facing its front, per Patient Position."""

DISPLAY: Final = (1, 0, 0, 0, 1, 0)
"""Image Orientation (Patient) of slices turned for display, in any position."""


@dataclass(frozen=True)
class Layout:
    """How stored slices become the canonical volume: `order` sorts them by z, then each is transposed and flipped."""

    geometry: VolumeGeometry
    order: tuple[int, ...]
    transposed: bool
    flip_x: bool
    flip_y: bool


def axial_layout(slices: Sequence[Slice]) -> Layout:
    """Find the canonical grid of slices of equal size, orientation and spacing.

    Raises:
        GantryTilt: If the gantry was tilted, or the slices are sheared.
        OrientationUnsupported: If the slices are not axial.
        DuplicatePosition: If two slices lie in one plane.
        MissingSlices: If there are gaps of whole slices.
        NonuniformSpacing: If the distances differ otherwise.
        ValueInvalid: If the direction cosines are none, or a slice is shifted sideways.
    """
    first = slices[0]
    tilt = max(abs(one.tilt_deg) for one in slices)
    if tilt > TILT_TOLERANCE_DEG:
        raise GantryTilt(
            f"the gantry was tilted by {tilt:.1f} degrees; scan without tilt or send a series resampled to axial",
            tilt_deg=tilt,
        )
    axes = _patient_axes(first)
    positions = np.array([one.position_mm for one in slices], dtype=np.float64)
    order = np.argsort(positions[:, 2], kind="stable")
    positions = positions[order]
    _check_shear(positions)
    spacing_z = slice_spacing(positions[:, 2])
    row_sign, column_sign = axes[np.nonzero(axes)]
    transposed = axes[0, 0] == 0
    rows, columns = first.pixel_format.rows, first.pixel_format.columns
    between_rows, between_columns = first.spacing_mm
    reach = (columns - 1) * between_columns, (rows - 1) * between_rows
    # A negative axis puts the canonical first voxel at the far end of the stored one.
    corner = positions[0] + axes[0] * reach[0] * (row_sign < 0) + axes[1] * reach[1] * (column_sign < 0)
    origin = float(corner[0]), float(corner[1]), float(positions[0, 2])
    if transposed:
        shape, spacing = (len(slices), columns, rows), (between_rows, between_columns, spacing_z)
        flip_x, flip_y = bool(column_sign < 0), bool(row_sign < 0)
    else:
        shape, spacing = (len(slices), rows, columns), (between_columns, between_rows, spacing_z)
        flip_x, flip_y = bool(row_sign < 0), bool(column_sign < 0)
    geometry = VolumeGeometry(shape, origin, spacing)
    return Layout(geometry, tuple(int(index) for index in order), bool(transposed), flip_x, flip_y)


def check_patient_position(image: Slice) -> bool:
    """Whether the stated Patient Position could be compared with the orientation.

    The orientation decides where things are. A position that another orientation belongs to tells that one of the two
    was changed by hand.

    Raises:
        PatientPositionMismatch: If the orientation belongs to another position than the one stated.
    """
    expected = AS_ACQUIRED.get(image.patient_position)
    if expected is None:
        return False
    found = tuple(round(value) for value in (*image.row_direction, *image.column_direction))
    if found not in (expected, DISPLAY):
        stored_as = next(name for name, orientation in AS_ACQUIRED.items() if orientation == found)
        raise PatientPositionMismatch(
            f"Patient Position says {image.patient_position}, the slices are stored as {stored_as}; "
            "find out which is right and export the series anew"
        )
    return True


def slice_spacing(z_mm: NDArray[np.float64]) -> float:
    """The distance of slices at ascending positions `z_mm`, at least two, if it is uniform."""
    steps = np.diff(z_mm)
    typical = float(np.sort(steps)[(len(steps) - 1) // 2])
    same = steps < max(SPACING_TOLERANCE_MM, SPACING_TOLERANCE_RATIO * typical)
    if same.any():
        where = [round(float(z), 2) for z in z_mm[1:][same]]
        raise DuplicatePosition(
            f"{len(where)} slices lie in the plane of another, at z = {_listed(where)} mm; send one image per plane",
            positions_mm=where,
        )
    tolerance = max(SPACING_TOLERANCE_MM, SPACING_TOLERANCE_RATIO * typical)
    multiples = np.rint(steps / typical)
    gaps = (multiples >= 2) & (np.abs(steps - multiples * typical) <= multiples * tolerance)
    if gaps.any():
        missing = [
            round(float(z) + typical * number, 2)
            for z, count in zip(z_mm[:-1][gaps], multiples[gaps], strict=True)
            for number in range(1, min(int(count), LISTED_POSITIONS + 1))
        ]
        total = int((multiples[gaps] - 1).sum())
        raise MissingSlices(
            f"{total} slices are missing, at z = {_listed(missing)} mm; send the whole series",
            positions_mm=missing,
            count=total,
            spacing_mm=typical,
        )
    mean = float(z_mm[-1] - z_mm[0]) / len(steps)
    off_grid = np.abs(z_mm - (z_mm[0] + mean * np.arange(len(z_mm))))
    if np.abs(steps - typical).max() > tolerance or off_grid.max() > max(
        SPACING_TOLERANCE_MM, GRID_TOLERANCE_RATIO * mean
    ):
        raise NonuniformSpacing(
            f"slice distances range from {steps.min():.3f} to {steps.max():.3f} mm; reconstruct with equal distances",
            smallest_mm=float(steps.min()),
            largest_mm=float(steps.max()),
            tolerance_mm=tolerance,
        )
    return mean


def _listed(positions: list[float]) -> str:
    shown = ", ".join(f"{z:.2f}" for z in positions[:LISTED_POSITIONS])
    return shown + (", ..." if len(positions) > LISTED_POSITIONS else "")


def _patient_axes(image: Slice) -> NDArray[np.float64]:
    """(2, 3): the patient axis, with sign, that row and column direction run along."""
    directions = np.array([image.row_direction, image.column_direction], dtype=np.float64)
    lengths = np.linalg.norm(directions, axis=1)
    if np.abs(lengths - 1).max() > UNIT_TOLERANCE or abs(directions[0] @ directions[1]) > UNIT_TOLERANCE:
        raise ValueInvalid("Image Orientation (Patient) is no pair of orthogonal unit vectors; export the series anew")
    normal = np.cross(*directions)
    if np.abs(normal).argmax() != 2:
        raise OrientationUnsupported("the slices are sagittal or coronal; send the axial series")
    axes = np.zeros((2, 3))
    for axis, direction in zip(axes, directions, strict=True):
        axis[np.abs(direction).argmax()] = np.sign(direction[np.abs(direction).argmax()])
    off = float(np.arctan2(np.linalg.norm(np.cross(directions, axes), axis=1), (directions * axes).sum(axis=1)).max())
    if off > OBLIQUE_TOLERANCE_RAD:
        raise OrientationUnsupported(
            f"the slices are oblique by {np.degrees(off):.2f} degrees; send a series resampled to axial slices",
            angle_deg=float(np.degrees(off)),
        )
    return axes


def _check_shear(positions: NDArray[np.float64]) -> None:
    """Refuse slices whose corners do not lie above one another."""
    sideways = positions[:, :2] - positions[0, :2]
    span = positions[-1] - positions[0]
    shear = float(np.degrees(np.arctan2(np.linalg.norm(span[:2]), abs(span[2]))))
    if span[2] > 0 and shear > TILT_TOLERANCE_DEG:
        raise GantryTilt(
            f"the slices are sheared by {shear:.1f} degrees against their normal; "
            "scan without tilt or send a series resampled to axial slices",
            tilt_deg=shear,
        )
    expected = np.outer((positions[:, 2] - positions[0, 2]) / max(span[2], SPACING_TOLERANCE_MM), span[:2])
    off = np.linalg.norm(sideways - expected, axis=1)
    if off.max() > SIDEWAYS_TOLERANCE_MM:
        worst = int(off.argmax())
        raise ValueInvalid(
            f"the slice at z = {positions[worst, 2]:.2f} mm is shifted sideways by {off[worst]:.2f} mm; "
            "export the series anew",
            position_mm=float(positions[worst, 2]),
        )
