"""Stored loops to contours on the slices of the planning CT."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from imaging.dicom.contour_reading import StoredContour
from imaging.errors import StructureReferenceMismatch, ValueInvalid
from imaging.geometry import VolumeGeometry
from imaging.structures import Contour

PLANAR_TOLERANCE_MM: Final = 0.1
"""How much z may vary within one contour; systems that write two decimals stay below."""

ON_PLANE_MM: Final = 0.01
SMALLEST_AREA_MM2: Final = 0.01
HALF_SLICE: Final = 0.5 + 1e-6


@dataclass
class Corrections:
    """What was changed while placing the loops of one structure set, and how often."""

    snapped: int = 0
    largest_snap_mm: float = 0.0
    degenerate: int = 0
    between_planes: int = 0
    unknown_image: int = 0
    without_image: int = 0
    outside: dict[int, int] = field(default_factory=dict)


def place(
    loops: Sequence[StoredContour], geometry: VolumeGeometry, image_uids: Sequence[str]
) -> tuple[dict[int, tuple[Contour, ...]], Corrections]:
    """Put every loop on the plane that it lies in; returns contours per ROI number.

    A loop of fewer than three corners or without area is dropped. A loop at most half a slice off is moved onto the
    nearest plane; of two such loops of one ROI from different z, those nearest to the plane stay, since even-odd
    filling would cancel them.

    Raises:
        ValueInvalid: If a loop is not axial.
        StructureReferenceMismatch: If a loop lies beyond the scan, or on another slice than the one it names.
    """
    planes = {uid: index for index, uid in enumerate(image_uids)}
    found = Corrections()
    placed: dict[int, list[tuple[int, float, Contour]]] = {}
    z_planes = geometry.axis_mm("z")
    lower, upper = _image_bounds(geometry)
    outside_points = total_points = 0
    for loop in loops:
        if loop.image_uid:
            found.unknown_image += loop.image_uid not in planes
        else:
            found.without_image += 1
        xy = _distinct_corners(loop.points_mm[:, :2])
        if len(xy) < 3 or _is_flat(xy):
            found.degenerate += 1
            continue
        z_mm, plane = _plane_of(loop, geometry, planes)
        off = z_mm - float(z_planes[plane])
        if abs(off) > ON_PLANE_MM:
            found.snapped += 1
            found.largest_snap_mm = max(found.largest_snap_mm, abs(off))
        beyond = int(((xy < lower) | (xy > upper)).any(axis=1).sum())
        outside_points, total_points = outside_points + beyond, total_points + len(xy)
        if beyond:
            found.outside[loop.roi_number] = found.outside.get(loop.roi_number, 0) + 1
        contour = Contour(float(z_planes[plane]), xy)
        placed.setdefault(loop.roi_number, []).append((plane, off, contour))
    if 2 * outside_points > max(total_points, 1):
        raise StructureReferenceMismatch(
            f"{outside_points} of {total_points} contour points lie outside the planning CT; send the right CT"
        )
    return {number: _one_height_per_plane(entries, found) for number, entries in placed.items()}, found


def _plane_of(loop: StoredContour, geometry: VolumeGeometry, planes: dict[str, int]) -> tuple[float, int]:
    z = loop.points_mm[:, 2]
    lowest, highest = float(z.min()), float(z.max())
    if highest - lowest > PLANAR_TOLERANCE_MM:
        raise ValueInvalid(
            f"a contour is not axial, its z varies by {highest - lowest:.2f} mm; contour on axial slices",
            variation_mm=highest - lowest,
        )
    z_mm = 0.5 * (lowest + highest)
    position = (z_mm - geometry.origin_mm[2]) / geometry.spacing_mm[2]
    plane = min(max(round(position), 0), geometry.shape[0] - 1)
    beyond = abs(position - plane)
    if beyond > HALF_SLICE:
        raise StructureReferenceMismatch(
            f"a contour at z = {z_mm:.2f} mm lies beyond the planning CT, which reaches from "
            f"{geometry.origin_mm[2]:.2f} to {geometry.last_mm[2]:.2f} mm; send the whole CT that it was drawn on",
            position_mm=z_mm,
        )
    named = planes.get(loop.image_uid)
    if named is not None and abs(position - named) > HALF_SLICE:
        raise StructureReferenceMismatch(
            f"a contour at z = {z_mm:.2f} mm names the slice at "
            f"{geometry.origin_mm[2] + named * geometry.spacing_mm[2]:.2f} mm; export the structure set anew",
            position_mm=z_mm,
        )
    return z_mm, plane


def _one_height_per_plane(entries: list[tuple[int, float, Contour]], found: Corrections) -> tuple[Contour, ...]:
    nearest: dict[int, float] = {}
    for plane, off, _ in entries:
        if abs(off) < abs(nearest.get(plane, np.inf)):
            nearest[plane] = off
    kept = [contour for plane, off, contour in entries if abs(off - nearest[plane]) <= PLANAR_TOLERANCE_MM]
    found.between_planes += len(entries) - len(kept)
    return tuple(kept)


def _distinct_corners(xy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Without a corner that repeats the one before it, or the first at the end."""
    keep = np.any(xy != np.roll(xy, 1, axis=0), axis=1)
    return np.ascontiguousarray(xy if keep.all() else xy[keep])


def _is_flat(xy: NDArray[np.float64]) -> bool:
    """Whether the loop encloses nothing. One that crosses itself can without having a net area."""
    x, y = (xy - xy[0]).T
    area = abs(0.5 * float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))))
    if area >= SMALLEST_AREA_MM2:
        return False
    extent = np.ptp(xy, axis=0)
    crossing = np.linalg.svd(xy - xy.mean(axis=0), compute_uv=False)[1] > SMALLEST_AREA_MM2
    return not (crossing and extent.prod() > SMALLEST_AREA_MM2)


def _image_bounds(geometry: VolumeGeometry) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Outer edges (x, y) of the first and last pixel."""
    half = 0.5 * np.array(geometry.spacing_mm[:2])
    return np.array(geometry.origin_mm[:2]) - half, np.array(geometry.last_mm[:2]) + half
