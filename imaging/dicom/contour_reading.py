"""Contours of an RTSTRUCT straight from their bytes. PS3.3 C.8.8.6."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataelem import RawDataElement

from imaging.arrays import Points
from imaging.dicom import tags
from imaging.dicom.attributes import items, raw_value, whole_number
from imaging.dicom.contour_walk import walk
from imaging.dicom.decimal_strings import count_numbers, parse_spans
from imaging.dicom.limits import ReadLimits
from imaging.errors import TooLarge, ValueInvalid

CLOSED_TYPES: Final = frozenset((b"CLOSED_PLANAR", b"CLOSEDPLANAR_XOR"))
OPEN_TYPES: Final = frozenset((b"POINT", b"OPEN_PLANAR", b"OPEN_NONPLANAR"))
_PADDING: Final = b" \0"


@dataclass(frozen=True, eq=False)
class StoredContours:
    """The closed loops of an RTSTRUCT in the order of the file.

    Attributes:
        roi_numbers: Per loop, Referenced ROI Number.
        image_uids: Per loop, the image that it names first, '' if none.
        starts: (n + 1,) row of `points_mm` at which each loop starts, and their end.
        points_mm: (m, 3) corners of all loops, LPS.
        passed_over: Points and open contours per ROI number.
        colours: ROI Display Color per ROI number, as stored.
    """

    roi_numbers: tuple[int, ...]
    image_uids: tuple[str, ...] = field(repr=False)
    starts: NDArray[np.int64]
    points_mm: Points
    passed_over: dict[int, int]
    colours: dict[int, bytes]


@dataclass(frozen=True)
class _RoiEntry:
    number: bytes
    colour: bytes


@dataclass(frozen=True)
class _ContourEntry:
    roi: _RoiEntry
    kind: bytes
    count: bytes
    image_uid: bytes


@dataclass(frozen=True, eq=False)
class ContourEntries:
    """Every item of ROI Contour Sequence and every contour in it, as stored.

    Attributes:
        rois: The items.
        contours: All contours of all items.
        body: Bytes that hold the values of Contour Data.
        spans: (n, 2) where in `body` the value of each contour starts and ends.
    """

    rois: Sequence[_RoiEntry]
    contours: Sequence[_ContourEntry]
    body: bytes = field(repr=False)
    spans: NDArray[np.int64]


def read_contours(dataset: Dataset, *, limits: ReadLimits) -> StoredContours:
    """Read every closed loop of an RTSTRUCT, by ROI number.

    Raises:
        ValueInvalid: If a number is none, or their count is not what the contour says.
        TooLarge: If there are more contours or points than `limits` allow.
    """
    entries = contour_entries(dataset)
    numbers = {roi: _roi_number(roi.number) for roi in entries.rois}
    found = count_numbers(entries.body, entries.spans)
    roi_numbers: list[int] = []
    image_uids: list[str] = []
    kept: list[int] = []
    points_of_all = 0
    passed_over: dict[int, int] = {}
    for index, (contour, coordinates) in enumerate(zip(entries.contours, found.tolist(), strict=True)):
        number = numbers[contour.roi]
        kind = contour.kind.strip(_PADDING).upper()
        if kind not in CLOSED_TYPES:
            if kind not in OPEN_TYPES:
                raise ValueInvalid("a contour has no known Contour Geometric Type; export the structure set anew")
            passed_over[number] = passed_over.get(number, 0) + 1
            continue
        count = _checked_count(contour.count, coordinates)
        if count:
            roi_numbers.append(number)
            image_uids.append(contour.image_uid.rstrip(_PADDING).decode("ascii", "replace"))
            kept.append(index)
            points_of_all += count
        if points_of_all > limits.contour_points or len(kept) > limits.contours:
            raise TooLarge(
                f"the structure set has more than {limits.contour_points} points or {limits.contours} contours; "
                "simplify its contours",
                points=limits.contour_points,
                contours=limits.contours,
            )
    points = parse_spans(entries.body, entries.spans[kept], found[kept], "Contour Data").reshape(-1, 3)
    starts = np.concatenate([[0], np.cumsum(found[kept] // 3)])
    colours = {numbers[roi]: roi.colour for roi in entries.rois}
    return StoredContours(tuple(roi_numbers), tuple(image_uids), starts, points, passed_over, colours)


def contour_entries(dataset: Dataset) -> ContourEntries:
    """The raw values of every item of ROI Contour Sequence and of every contour in it."""
    element = dataset.get_item(tags.ROI_CONTOUR_SEQUENCE)
    if isinstance(element, RawDataElement) and isinstance(element.value, bytes):
        found = _walked(element)
        if found is not None:
            return found
    rois: list[_RoiEntry] = []
    contours: list[_ContourEntry] = []
    values: list[bytes] = []
    for item in items(dataset, tags.ROI_CONTOUR_SEQUENCE):
        rois.append(_RoiEntry(raw_value(item, tags.REFERENCED_ROI_NUMBER), raw_value(item, tags.ROI_DISPLAY_COLOR)))
        for contour in items(item, tags.CONTOUR_SEQUENCE):
            contours.append(_converted(rois[-1], contour))
            values.append(raw_value(contour, tags.CONTOUR_DATA))
    ends = np.cumsum([0, *map(len, values)])
    return ContourEntries(rois, contours, b"".join(values), np.column_stack([ends[:-1], ends[1:]]))


def _walked(element: RawDataElement) -> ContourEntries | None:
    body: bytes = element.value
    found = walk(body, 0, len(body), implicit=element.is_implicit_VR, little=element.is_little_endian)
    if found is None:
        return None
    rois = [
        _RoiEntry(body[number : number + a], body[colour : colour + b]) for number, a, colour, b in found.rois.tolist()
    ]
    contours = [
        _ContourEntry(rois[roi], body[kind : kind + a], body[count : count + b], body[image : image + c])
        for roi, kind, a, count, b, image, c in found.contours[:, [0, 1, 2, 3, 4, 7, 8]].tolist()
    ]
    starts, lengths = found.contours[:, 5], found.contours[:, 6]
    return ContourEntries(rois, contours, body, np.column_stack([starts, starts + lengths]))


def _converted(roi: _RoiEntry, contour: Dataset) -> _ContourEntry:
    images = items(contour, tags.CONTOUR_IMAGE_SEQUENCE)
    return _ContourEntry(
        roi,
        raw_value(contour, tags.CONTOUR_GEOMETRIC_TYPE),
        raw_value(contour, tags.NUMBER_OF_CONTOUR_POINTS),
        raw_value(images[0], tags.REFERENCED_SOP_INSTANCE_UID) if images else b"",
    )


def _roi_number(value: bytes) -> int:
    number = whole_number(value, "Referenced ROI Number")
    if number is None:
        raise ValueInvalid("an item of ROI Contour Sequence names no ROI number; export the structure set anew")
    return number


def _checked_count(stated_value: bytes, numbers: int) -> int:
    stated = whole_number(stated_value, "Number of Contour Points")
    if numbers % 3 or stated not in (None, numbers // 3):
        raise ValueInvalid(
            f"a contour says {stated} points and has {numbers} numbers; export the structure set anew", numbers=numbers
        )
    return numbers // 3
