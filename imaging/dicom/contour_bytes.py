"""Elements, items and Contour Data as bytes in Implicit VR Little Endian.

A pelvis has some 240 000 contour points; pydicom turns each coordinate into an object and needs seconds for them. Only
what is written of ROIs (`roi_items`) and the list of slices are bytes, everything else of an RTSTRUCT goes through
pydicom.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from imaging.arrays import PointsXy

LARGEST_COORDINATE_MM = 100_000.0
"""With two decimals a number below this has at most nine characters of the sixteen that a DS may have."""


@dataclass(frozen=True, eq=False)
class PlanarLoop:
    """One contour to be written.

    Attributes:
        plane: Index of the slice that it lies on.
        xy_mm: (n, 2) corners, first not repeated.
    """

    plane: int
    xy_mm: PointsXy


@dataclass(frozen=True, eq=False)
class EncodedLoops:
    """Loops after rounding to 0.01 mm; a loop that rounding left without area has no points.

    Attributes:
        data: Contour Data (3006,0050) per loop, of even length.
        points: Number of Contour Points (3006,0046) per loop.
        areas_mm2: Absolute shoelace area per loop.
    """

    data: tuple[bytes, ...]
    points: tuple[int, ...]
    areas_mm2: tuple[float, ...]


def element(tag: int, value: bytes, *, pad: bytes = b" ") -> bytes:
    """One data element of implicit VR; the value is padded to even length (PS3.5 6.2, 7.1.3)."""
    if len(value) % 2:
        value += pad
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(value)) + value


def item(value: bytes) -> bytes:
    """One sequence item of defined length (PS3.5 7.5)."""
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(value)) + value


def encode_loops(loops: Sequence[PlanarLoop], plane_z_mm: Sequence[float]) -> EncodedLoops:
    """Contour Data of all loops: x and y with two decimals, z as the slice has it.

    Neighbouring corners that fall together in 0.01 mm become one. Loops with fewer than three corners or without area
    come back with 0 points.

    Args:
        loops: Contours of any number of ROIs.
        plane_z_mm: z of every slice.

    Raises:
        ValueError: A coordinate is not finite or beyond `LARGEST_COORDINATE_MM`.
    """
    if not loops:
        return EncodedLoops((), (), ())
    corners = np.concatenate([loop.xy_mm for loop in loops])
    if not np.all(np.abs(corners) < LARGEST_COORDINATE_MM):
        raise ValueError(f"a contour leaves the {LARGEST_COORDINATE_MM:.0f} mm around the origin, or is not finite")
    hundredths = np.rint(corners * 100).astype(np.int64)
    ends = np.cumsum([len(loop.xy_mm) for loop in loops])
    z_texts = [_decimal(z) for z in plane_z_mm]
    z_bytes = np.frombuffer(b"".join(z_texts), np.uint8)
    z_ends = np.cumsum([len(text) for text in z_texts])
    table = np.stack([[loop.plane for loop in loops], ends], axis=1)
    out = np.empty(len(corners) * (2 * 11 + max(map(len, z_texts)) + 1) + len(loops), np.uint8)
    stops, counts, areas = _format(hundredths, table, z_bytes, z_ends, out)
    written = out[: stops[-1]].tobytes()
    starts = [0, *stops[:-1].tolist()]
    data = tuple(written[a:b] for a, b in zip(starts, stops.tolist(), strict=True))
    return EncodedLoops(data, tuple(counts.tolist()), tuple((np.abs(areas) / 1e4).tolist()))


def _decimal(value: float) -> bytes:
    """A DS of at most four decimals, without trailing zeros; '-0' is '0'."""
    text = f"{value:.4f}".rstrip("0").rstrip(".")
    return b"0" if text == "-0" else text.encode()


@njit(cache=True, nogil=True)
def _number(out: NDArray[np.uint8], at: int, hundredths: int) -> int:
    """Write a decimal with two digits after the point and a backslash; returns the position after it."""
    if hundredths < 0:
        out[at] = 45
        at += 1
        hundredths = -hundredths
    whole, digits = hundredths // 100, 1
    rest = whole
    while rest >= 10:
        rest //= 10
        digits += 1
    for k in range(digits - 1, -1, -1):
        out[at + k] = 48 + whole % 10
        whole //= 10
    at += digits
    out[at] = 46
    out[at + 1] = 48 + hundredths // 10 % 10
    out[at + 2] = 48 + hundredths % 10
    out[at + 3] = 92
    return at + 4


@njit(cache=True, nogil=True)
def _format(
    points: NDArray[np.int64],
    loops: NDArray[np.int64],
    z_bytes: NDArray[np.uint8],
    z_ends: NDArray[np.int64],
    out: NDArray[np.uint8],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Write x\\y\\z\\x\\y\\z per loop (plane, end); returns where it stops, its points, its signed area times 10000."""
    stops, counts, areas = np.zeros(len(loops), np.int64), np.zeros(len(loops), np.int64), np.zeros(len(loops))
    at, start = 0, 0
    for loop in range(len(loops)):
        plane, end = loops[loop]
        begin, count, area = at, 0, 0.0
        x0, y0 = points[start, 0], points[start, 1]
        z_start, z_end = z_ends[plane - 1] if plane > 0 else 0, z_ends[plane]
        for i in range(start, end):
            before = i - 1 if i > start else end - 1
            ax, ay, bx, by = points[before, 0], points[before, 1], points[i, 0], points[i, 1]
            if ax == bx and ay == by:
                continue
            area += 0.5 * ((ax - x0) * (by - y0) - (bx - x0) * (ay - y0))
            at = _number(out, at, bx)
            at = _number(out, at, by)
            for k in range(z_start, z_end):
                out[at] = z_bytes[k]
                at += 1
            out[at] = 92
            at += 1
            count += 1
        if count < 3 or area == 0.0:
            at, count = begin, 0
        else:
            at -= 1
            if (at - begin) % 2:
                out[at] = 32
                at += 1
        stops[loop], counts[loop], areas[loop] = at, count, area
        start = end
    return stops, counts, areas
