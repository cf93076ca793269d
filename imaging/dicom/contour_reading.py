"""Contours of an RTSTRUCT straight from their bytes. PS3.3 C.8.8.6."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from pydicom import Dataset

from imaging.arrays import Points
from imaging.dicom import tags
from imaging.dicom.attributes import items, parse_decimals, raw_value, uid, whole
from imaging.dicom.limits import ReadLimits
from imaging.errors import TooLarge, ValueInvalid

CLOSED_TYPES: Final = frozenset((b"CLOSED_PLANAR", b"CLOSEDPLANAR_XOR"))
OPEN_TYPES: Final = frozenset((b"POINT", b"OPEN_PLANAR", b"OPEN_NONPLANAR"))


@dataclass(frozen=True, eq=False)
class StoredContour:
    """One closed loop as it is stored.

    Attributes:
        roi_number: Referenced ROI Number.
        image_uid: Referenced SOP Instance UID of its image, '' if it names none.
        points_mm: (n, 3) corners, LPS.
    """

    roi_number: int
    image_uid: str = field(repr=False)
    points_mm: Points


@dataclass(frozen=True, eq=False)
class StoredContours:
    """Every closed loop of an RTSTRUCT, and how many other contours each ROI has."""

    loops: tuple[StoredContour, ...]
    passed_over: dict[int, int]


def read_contours(dataset: Dataset, *, limits: ReadLimits) -> StoredContours:
    """Read every closed loop of an RTSTRUCT, by ROI number.

    Raises:
        ValueInvalid: If a number is none, or their count is not what the contour says.
        TooLarge: If there are more contours or points than `limits` allow.
    """
    entries: list[tuple[int, str, int]] = []
    encoded: list[bytes] = []
    passed_over: dict[int, int] = {}
    points = 0
    for number, contour in contour_items(dataset):
        kind = raw_value(contour, tags.CONTOUR_GEOMETRIC_TYPE).strip(b" \0").upper()
        if kind not in CLOSED_TYPES:
            if kind not in OPEN_TYPES:
                raise ValueInvalid("a contour has no known Contour Geometric Type; export the structure set anew")
            passed_over[number] = passed_over.get(number, 0) + 1
            continue
        value = raw_value(contour, tags.CONTOUR_DATA).strip(b" \0")
        count = _checked_count(contour, value)
        points += count
        if points > limits.contour_points or len(entries) >= limits.contours:
            raise TooLarge(
                f"the structure set has more than {limits.contour_points} points or {limits.contours} contours; "
                "simplify its contours",
                points=limits.contour_points,
                contours=limits.contours,
            )
        if count:
            entries.append((number, image_uid_of(contour), count))
            encoded.append(value)
    numbers = parse_decimals(b"\\".join(encoded), "Contour Data")
    ends = np.cumsum([3 * count for _, _, count in entries]).tolist()
    if len(numbers) != (ends[-1] if ends else 0):
        raise ValueInvalid("Contour Data do not hold three numbers per point; export the structure set anew")
    loops = [
        StoredContour(number, image_uid, numbers[end - 3 * count : end].reshape(count, 3))
        for (number, image_uid, count), end in zip(entries, ends, strict=True)
    ]
    return StoredContours(tuple(loops), passed_over)


def contour_items(dataset: Dataset) -> Iterator[tuple[int, Dataset]]:
    """Every item of Contour Sequence with the ROI number that it belongs to."""
    for roi_contour in items(dataset, tags.ROI_CONTOUR_SEQUENCE):
        number = whole(roi_contour, tags.REFERENCED_ROI_NUMBER, "Referenced ROI Number")
        if number is None:
            raise ValueInvalid("an item of ROI Contour Sequence names no ROI number; export the structure set anew")
        for contour in items(roi_contour, tags.CONTOUR_SEQUENCE):
            yield number, contour


def _checked_count(contour: Dataset, value: bytes) -> int:
    count = value.count(b"\\") + 1 if value else 0
    stated = whole(contour, tags.NUMBER_OF_CONTOUR_POINTS, "Number of Contour Points")
    if count % 3 or stated not in (None, count // 3):
        raise ValueInvalid(
            f"a contour says {stated} points and has {count} numbers; export the structure set anew", numbers=count
        )
    return count // 3


def image_uid_of(contour: Dataset) -> str:
    """The image that a contour names first, '' if none."""
    references = items(contour, tags.CONTOUR_IMAGE_SEQUENCE)
    return uid(references[0], tags.REFERENCED_SOP_INSTANCE_UID, "Referenced SOP Instance UID") if references else ""
