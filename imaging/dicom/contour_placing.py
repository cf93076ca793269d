"""Stored loops to contours on the slices of the planning CT."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from imaging.arrays import Points
from imaging.dicom.contour_reading import StoredContours
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
    apart: dict[int, int] = field(default_factory=dict)


def place(
    stored: StoredContours, geometry: VolumeGeometry, image_uids: Sequence[str]
) -> tuple[dict[int, tuple[Contour, ...]], Corrections]:
    """Put every loop on the plane that it lies in; returns contours per ROI number.

    A loop of fewer than three corners or without area is dropped. A loop at most half a slice off is moved onto the
    nearest plane; of two such loops of one ROI from different z, those nearest to the plane stay, since even-odd
    filling would cancel them.

    Raises:
        ValueInvalid: If a loop is not axial.
        StructureReferenceMismatch: If a loop lies beyond the scan, or on another slice than the one it names.
    """
    found = Corrections()
    if not stored.roi_numbers:
        return {}, found
    planes = {uid: index for index, uid in enumerate(image_uids)}
    placed: dict[int, list[tuple[int, float, Contour]]] = {}
    z_planes = geometry.axis_mm("z").tolist()
    measures = _measure(stored, geometry)
    corners = np.ascontiguousarray(stored.points_mm[:, :2])
    starts = stored.starts.tolist()
    lower, upper = _image_bounds(geometry)
    outside_points = 0
    for index, (number, uid) in enumerate(zip(stored.roi_numbers, stored.image_uids, strict=True)):
        named = planes.get(uid)
        found.without_image += not uid
        found.unknown_image += bool(uid) and named is None
        loop = slice(starts[index], starts[index + 1])
        xy = corners[loop]
        if measures.repeats[index]:
            xy = xy[measures.distinct[loop]]
        if len(xy) < 3 or (measures.areas_mm2[index] < SMALLEST_AREA_MM2 and _is_flat(xy)):
            found.degenerate += 1
            continue
        z_mm, plane = _plane_of(measures.lowest_mm[index], measures.highest_mm[index], named, geometry)
        off = z_mm - z_planes[plane]
        if abs(off) > ON_PLANE_MM:
            found.snapped += 1
            found.largest_snap_mm = max(found.largest_snap_mm, abs(off))
        if measures.outside[index]:
            outside_points += measures.outside[index]
            found.outside[number] = found.outside.get(number, 0) + 1
            if np.any(xy.max(axis=0) < lower) or np.any(xy.min(axis=0) > upper):
                found.apart[number] = found.apart.get(number, 0) + 1
                continue
        placed.setdefault(number, []).append((plane, off, Contour(z_planes[plane], xy)))
    if 2 * outside_points > len(corners):
        raise StructureReferenceMismatch(
            f"{outside_points} of {len(corners)} contour points lie outside the planning CT; send the right CT"
        )
    return {number: _one_height_per_plane(entries, found) for number, entries in placed.items()}, found


@dataclass(frozen=True)
class _Measures:
    """Per loop, as plain lists, which Python reads faster than arrays; `distinct` is per corner."""

    lowest_mm: list[float]
    highest_mm: list[float]
    repeats: list[int]
    distinct: NDArray[np.bool_]
    areas_mm2: list[float]
    outside: list[int]


def _measure(stored: StoredContours, geometry: VolumeGeometry) -> _Measures:
    loops = len(stored.roi_numbers)
    heights, areas = np.empty((loops, 2)), np.empty(loops)
    counts = np.empty((loops, 2), np.int64)
    distinct = np.empty(len(stored.points_mm), np.bool_)
    _measure_loops(stored.points_mm, stored.starts, _image_bounds(geometry), (heights, areas, counts, distinct))
    return _Measures(
        heights[:, 0].tolist(),
        heights[:, 1].tolist(),
        counts[:, 0].tolist(),
        distinct,
        areas.tolist(),
        counts[:, 1].tolist(),
    )


@njit(cache=True, nogil=True)
def _measure_loops(
    points_mm: Points,
    starts: NDArray[np.int64],
    bounds: tuple[NDArray[np.float64], NDArray[np.float64]],
    measures: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64], NDArray[np.bool_]],
) -> None:
    """Fill, per loop, lowest and highest z, area in mm2, and how many corners repeat the one before or lie outside."""
    heights, areas, counts, distinct = measures
    lower, upper = bounds
    for loop in range(len(starts) - 1):
        first, last = starts[loop], starts[loop + 1] - 1
        before_x, before_y = points_mm[last, 0], points_mm[last, 1]
        lowest = highest = points_mm[first, 2]
        doubled, repeats, outside = 0.0, 0, 0
        for corner in range(first, last + 1):
            x, y, z = points_mm[corner, 0], points_mm[corner, 1], points_mm[corner, 2]
            lowest, highest = min(lowest, z), max(highest, z)
            distinct[corner] = x != before_x or y != before_y
            repeats += not distinct[corner]
            outside += x < lower[0] or x > upper[0] or y < lower[1] or y > upper[1]
            # Relative to the loop's own first corner, so that a small loop far from the origin keeps its area.
            from_x, from_y = points_mm[first, 0], points_mm[first, 1]
            doubled += (before_x - from_x) * (y - from_y) - (x - from_x) * (before_y - from_y)
            before_x, before_y = x, y
        heights[loop, 0], heights[loop, 1] = lowest, highest
        areas[loop] = 0.5 * abs(doubled)
        counts[loop, 0], counts[loop, 1] = repeats, outside


def _plane_of(lowest: float, highest: float, named: int | None, geometry: VolumeGeometry) -> tuple[float, int]:
    """Height of a loop and index of the nearest plane."""
    if highest - lowest > PLANAR_TOLERANCE_MM:
        raise ValueInvalid(
            f"a contour is not axial, its z varies by {highest - lowest:.2f} mm; contour on axial slices",
            variation_mm=highest - lowest,
        )
    z_mm = 0.5 * (lowest + highest)
    position = (z_mm - geometry.origin_mm[2]) / geometry.spacing_mm[2]
    plane = min(max(round(position), 0), geometry.shape[0] - 1)
    if abs(position - plane) > HALF_SLICE:
        raise StructureReferenceMismatch(
            f"a contour at z = {z_mm:.2f} mm lies beyond the planning CT, which reaches from "
            f"{geometry.origin_mm[2]:.2f} to {geometry.last_mm[2]:.2f} mm; send the whole CT that it was drawn on",
            position_mm=z_mm,
        )
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


def _is_flat(xy: NDArray[np.float64]) -> bool:
    """Whether a loop without net area encloses nothing; one that crosses itself does enclose something."""
    extent = np.ptp(xy, axis=0)
    breadth = np.linalg.svd(xy - xy.mean(axis=0), compute_uv=False)[1]
    return bool(breadth <= SMALLEST_AREA_MM2 or extent.prod() <= SMALLEST_AREA_MM2)


def _image_bounds(geometry: VolumeGeometry) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Outer edges (x, y) of the first and last pixel."""
    half = 0.5 * np.array(geometry.spacing_mm[:2])
    return np.array(geometry.origin_mm[:2]) - half, np.array(geometry.last_mm[:2]) + half
