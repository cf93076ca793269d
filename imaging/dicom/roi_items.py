"""What an RTSTRUCT says of one ROI: its item in each of three sequences, as bytes in Implicit VR Little Endian.

PS3.3 C.8.8.5 (Structure Set ROI Sequence), C.8.8.6 (ROI Contour Sequence), C.8.8.8 (RT ROI Observations Sequence). One
that stands in several answers is encoded once.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from pydicom.charset import convert_encodings, encode_string

from imaging.dicom.contour_bytes import EncodedLoops, PlanarLoop, element, encode_loops, item
from imaging.dicom.objects import CtSeries
from imaging.dicom.texts import long_string
from imaging.holes import containment, to_keyholes
from imaging.rasterize import SAME_PLANE_MM
from imaging.structures import Contour, Roi

Holes: TypeAlias = Literal["keyhole", "xor"]

EMPTY_ROI = "EMPTY: no result on this CT"


class EncodedRoi(NamedTuple):
    """One ROI as its items of Structure Set ROI, ROI Contour and RT ROI Observations Sequence."""

    described: bytes
    contours: bytes
    observed: bytes


@dataclass(frozen=True, eq=False)
class _DrawnRoi:
    """An ROI with its loops as they will be written."""

    roi: Roi
    loops: tuple[PlanarLoop, ...]
    signs: tuple[int, ...]
    geometric_type: str


def encode_rois(
    rois: Sequence[Roi],
    *,
    daily: CtSeries,
    holes: Holes,
    charset: str | Sequence[str] | None,
    algorithm: bytes,
    made_by: str,
) -> dict[Roi, EncodedRoi]:
    """The items of each ROI.

    Args:
        rois: On the daily CT. One without contours says that it is empty.
        daily: The CT that was contoured.
        holes: How a hole is written: joined to the outer loop by a corridor of no width, or as CLOSEDPLANAR_XOR.
        charset: Specific Character Set of the object that they go into.
        algorithm: Item of ROI Generation Algorithm Identification Sequence.
        made_by: ROI Generation Description of an ROI that brings none.

    Raises:
        ValueError: A contour lies on none of the slices or has a coordinate that is not finite.
    """
    geometry = daily.volume.geometry
    encodings = convert_encodings(charset or "ISO_IR 6")
    drawn = [_drawn(roi, daily, holes) for roi in rois]
    every = encode_loops([loop for one in drawn for loop in one.loops], geometry.axis_mm("z").tolist())
    images = [element(0x30060016, reference) for reference in image_items(daily)]
    frame_of_reference = element(0x30060024, daily.frame_of_reference_uid.encode(), pad=b"\0")
    identification = element(0x30060037, algorithm)
    encoded, start = {}, 0
    for one in drawn:
        roi, end = one.roi, start + len(one.loops)
        own = EncodedLoops(every.data[start:end], every.points[start:end], every.areas_mm2[start:end])
        volume_cc = float(np.dot(one.signs, own.areas_mm2)) * geometry.spacing_mm[2] / 1000.0
        empty = not any(own.points)
        described = (
            element(0x30060022, b"%d" % roi.number),
            frame_of_reference,
            element(0x30060026, encode_string(long_string(roi.name), encodings)),
            b"" if empty else element(0x3006002C, b"%.4f" % volume_cc),
            element(0x30060036, b"AUTOMATIC"),
            identification,
            element(0x30060038, encode_string(_generation(roi, empty=empty, made_by=made_by), encodings)),
        )
        encoded[roi] = EncodedRoi(item(b"".join(described)), _contours(one, own, images), _observed(roi, encodings))
        start = end
    return encoded


def image_items(daily: CtSeries) -> list[bytes]:
    """Per slice, its item of a Contour Image Sequence."""
    sop_class = element(0x00081150, str(daily.header.SOPClassUID).encode(), pad=b"\0")
    return [item(sop_class + element(0x00081155, uid.encode(), pad=b"\0")) for uid in daily.sop_instance_uids]


def _drawn(roi: Roi, daily: CtSeries, holes: Holes) -> _DrawnRoi:
    """The ROI's loops per slice, holes joined or marked."""
    by_plane: dict[int, list[Contour]] = {}
    for plane, contour in zip(_planes(roi.contours, daily), roi.contours, strict=True):
        by_plane.setdefault(plane, []).append(contour)
    loops, signs, any_hole = [], [], False
    for plane in sorted(by_plane):
        corners = [contour.xy_mm for contour in by_plane[plane]]
        if holes == "keyhole":
            corners = to_keyholes(corners)
            signs += [1] * len(corners)
        else:
            nested = containment(corners).sum(axis=1) % 2
            any_hole = any_hole or bool(nested.any())
            signs += [-1 if odd else 1 for odd in nested]
        loops += [PlanarLoop(plane, xy) for xy in corners]
    # One ROI never mixes the two types.
    return _DrawnRoi(roi, tuple(loops), tuple(signs), "CLOSEDPLANAR_XOR" if any_hole else "CLOSED_PLANAR")


def _planes(contours: Sequence[Contour], daily: CtSeries) -> list[int]:
    """The slice of each contour."""
    geometry = daily.volume.geometry
    z_mm = np.array([contour.z_mm for contour in contours])
    position = (z_mm - geometry.origin_mm[2]) / geometry.spacing_mm[2]
    plane = np.rint(position)
    on_one = (
        (plane >= 0)
        & (plane < geometry.shape[0])
        & (np.abs(position - plane) * geometry.spacing_mm[2] <= SAME_PLANE_MM)
    )
    if not on_one.all():
        raise ValueError(f"a contour at z {z_mm[~on_one][0]:.2f} mm lies on none of the {geometry.shape[0]} slices")
    return [int(at) for at in plane]


def _contours(one: _DrawnRoi, loops: EncodedLoops, images: Sequence[bytes]) -> bytes:
    """One item of ROI Contour Sequence; without Contour Sequence where there is nothing to draw."""
    geometric_type = element(0x30060042, one.geometric_type.encode())
    contours: list[bytes] = []
    for loop, data, points in zip(one.loops, loops.data, loops.points, strict=True):
        if not points:
            continue
        contours.append(
            item(
                images[loop.plane]
                + geometric_type
                + element(0x30060046, b"%d" % points)
                + element(0x30060048, b"%d" % (len(contours) + 1))
                + element(0x30060050, data)
            )
        )
    content = b""
    if one.roi.colour is not None:
        content += element(0x3006002A, b"\\".join(b"%d" % min(255, max(0, part)) for part in one.roi.colour))
    if contours:
        content += element(0x30060040, b"".join(contours))
    return item(content + element(0x30060084, b"%d" % one.roi.number))


def _generation(roi: Roi, *, empty: bool, made_by: str) -> str:
    generation = roi.generation
    if empty and not generation.upper().startswith("EMPTY"):
        generation = f"{EMPTY_ROI}; {generation}" if generation else EMPTY_ROI
    return long_string(generation or made_by)


def _observed(roi: Roi, encodings: list[str]) -> bytes:
    codes = b"".join(_code(*code, encodings) for code in roi.codes if all(code))
    interpreted = roi.interpreted_type.upper()
    known = interpreted if re.fullmatch(r"[A-Z0-9_ ]{0,16}", interpreted) else ""
    # An ROI has one observation, so its number, unique among ROIs, is unique among observations too.
    number = b"%d" % roi.number
    return item(
        element(0x30060082, number)
        + element(0x30060084, number)
        + (element(0x30060086, codes) if codes else b"")
        + element(0x300600A4, known.encode())
        + element(0x300600A6, b"")
    )


def _code(value: str, scheme: str, meaning: str, encodings: list[str]) -> bytes:
    short = len(value) <= 16
    coded = encode_string(value, encodings)
    return item(
        (element(0x00080100, coded) if short else b"")
        + element(0x00080102, encode_string(scheme[:16], encodings))
        + element(0x00080104, encode_string(long_string(meaning), encodings))
        + (b"" if short else element(0x00080119, coded))
    )
