"""Where the values of ROI Contour Sequence lie in the bytes, without an object per contour. PS3.5 7.5, PS3.3 C.8.8.6.

pydicom builds a data set per contour and per image that a contour names; 1600 contours take it 0.2 s, this under 1 ms.
Whatever is not quite regular is left to pydicom, so this decides nothing.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

UNDEFINED: Final = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_CONTOURS, _IMAGES = 0x30060040, 0x30060016
_ROI_NUMBER, _COLOUR = 0x30060084, 0x3006002A
_KIND, _COUNT, _DATA, _IMAGE_UID = 0x30060042, 0x30060046, 0x30060050, 0x00081155
_DEEPEST = 16
_FIRST_CAPACITY = 4096
_ROI_ITEM, _CONTOUR_ITEM, _IMAGE_ITEM = 1, 3, 5
"""Depth of the items: sequences have even, items odd depths."""

_LONG_VRS: Final = np.array(
    [
        ord(vr[0]) << 8 | ord(vr[1])
        for vr in ("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV")
    ]
)
_SQ = ord("S") << 8 | ord("Q")

Coding: TypeAlias = tuple[bool, bool]
"""Whether VRs are left out, and whether numbers are little-endian."""

Tables: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
"""ROIs and contours as in `ContourBytes`, and how many of each were found."""


@dataclass(frozen=True, eq=False)
class ContourBytes:
    """Offsets and lengths of values, -1 and 0 where absent.

    Attributes:
        rois: (r, 4): ROI number offset and length, colour offset and length.
        contours: (n, 9): index of the ROI item, then offset and length of kind, count, data and image UID.
        end: Where the sequence ends, before its delimiter.
        behind: Where the next attribute starts.
    """

    rois: NDArray[np.int64]
    contours: NDArray[np.int64]
    end: int
    behind: int


def walk(body: bytes, start: int, length: int, *, implicit: bool, little: bool) -> ContourBytes | None:
    """Find every value of a ROI Contour Sequence at `start`; None where it is not regular.

    Args:
        body: Bytes that hold the sequence.
        start: Offset of its first item.
        length: Of its value, or UNDEFINED.
        implicit: Whether value representations are left out.
        little: Whether numbers are little-endian.
    """
    stop = len(body) if length == UNDEFINED else start + length
    if stop > len(body):
        return None
    capacity = _FIRST_CAPACITY
    while True:
        contours, rois = np.zeros((capacity, 9), np.int64), np.zeros((capacity, 4), np.int64)
        rois[:, ::2] = contours[:, 1::2] = -1
        counts, ends = np.zeros(2, np.int64), np.full(_DEEPEST + 1, -1, np.int64)
        if length != UNDEFINED:
            ends[0] = stop
        tables = rois, contours, counts
        end, behind = _walk(np.frombuffer(body, np.uint8), start, ends, (implicit, little), tables)
        if counts.max() <= capacity:
            break
        capacity *= 16
    if end < 0:
        return None
    return ContourBytes(rois[: counts[0]], contours[: counts[1]], end, behind)


@njit(cache=True, nogil=True)
def _number(characters: NDArray[np.uint8], at: int, width: int, little: bool) -> int:
    value = 0
    for index in range(width):
        value = value << 8 | characters[at + (width - 1 - index if little else index)]
    return value


@njit(cache=True, nogil=True)
def _header(characters: NDArray[np.uint8], at: int, stop: int, coding: Coding) -> tuple[int, int, int, int]:
    """Tag, VR (0 if left out), length and where the value starts; -1 there if the header is cut off or odd."""
    implicit, little = coding
    if at + 8 > stop:
        return 0, 0, 0, -1
    tag = _number(characters, at, 2, little) << 16 | _number(characters, at + 2, 2, little)
    if implicit or tag >> 16 == 0xFFFE:
        return tag, 0, _number(characters, at + 4, 4, little), at + 8
    vr = characters[at + 4] << 8 | characters[at + 5]
    if not (0x41 <= characters[at + 4] <= 0x5A and 0x41 <= characters[at + 5] <= 0x5A):
        return tag, vr, 0, -1
    for long_vr in _LONG_VRS:
        if vr == long_vr:
            return (tag, vr, _number(characters, at + 8, 4, little), at + 12) if at + 12 <= stop else (tag, vr, 0, -1)
    return tag, vr, _number(characters, at + 6, 2, little), at + 8


@njit(cache=True, nogil=True)
def _note(tag: int, depth: int, at: int, length: int, tables: Tables) -> None:
    """Write down where a value lies, if it is one of those looked for."""
    rois, contours, counts = tables
    if depth == _ROI_ITEM:
        column = 0 if tag == _ROI_NUMBER else 2 if tag == _COLOUR else -1
        if column >= 0:
            rois[counts[0] - 1, column], rois[counts[0] - 1, column + 1] = at, length
        return
    column = -1
    if depth == _CONTOUR_ITEM:
        column = 1 if tag == _KIND else 3 if tag == _COUNT else 5 if tag == _DATA else -1
    elif tag == _IMAGE_UID and contours[counts[1] - 1, 7] < 0:
        column = 7
    if column >= 0:
        contours[counts[1] - 1, column], contours[counts[1] - 1, column + 1] = at, length


@njit(cache=True, nogil=True)
def _open_item(depth: int, tables: Tables) -> bool:
    """Count an item that starts at `depth`; False if there are more than the tables hold."""
    rois, contours, counts = tables
    if depth == _ROI_ITEM:
        counts[0] += 1
    elif depth == _CONTOUR_ITEM:
        counts[1] += 1
        if counts[1] <= len(contours):
            contours[counts[1] - 1, 0] = counts[0] - 1
    return counts[0] <= len(rois) and counts[1] <= len(contours)


@njit(cache=True, nogil=True)
def _close(at: int, depth: int, ends: NDArray[np.int64]) -> int:
    """The depth after leaving all that ends at `at`; -1 at the end of everything, -2 if something ended before."""
    while depth >= 0 and 0 <= ends[depth] <= at:
        if at > ends[depth]:
            return -2
        depth -= 1
    return depth


@njit(cache=True, nogil=True)
def _walk(
    characters: NDArray[np.uint8], at: int, ends: NDArray[np.int64], coding: Coding, tables: Tables
) -> tuple[int, int]:
    """End of the sequence and start of what is behind it; -1 if it is not regular.

    `ends` holds where sequences and items of defined length end, by depth, and -1 for the others.
    """
    stop = ends[0] if ends[0] >= 0 else len(characters)
    depth, regular = 0, True
    while regular:
        depth = _close(at, depth, ends)
        if depth == -1:
            return at, at
        tag, vr, length, value = _header(characters, at, stop, coding)
        if depth < 0 or value < 0:
            break
        in_sequence = depth % 2 == 0
        wanted = (depth == _ROI_ITEM and tag == _CONTOURS) or (depth == _CONTOUR_ITEM and tag == _IMAGES)
        if tag == (_SEQUENCE_END if in_sequence else _ITEM_END) and ends[depth] < 0:
            if depth == 0:
                return at, value
            depth, at = depth - 1, value
        elif (in_sequence and tag == _ITEM) or (wanted and (vr == 0 or vr == _SQ)):  # noqa: PLR1714 - numba has no cheap sets
            depth, at = depth + 1, value
            ends[depth] = -1 if length == UNDEFINED else value + length
            regular = not in_sequence or _open_item(depth, tables)
        else:
            # Another sequence of undefined length inside is rare enough to be left to pydicom.
            regular = not in_sequence and length != UNDEFINED and value + length <= stop and tag >> 16 != 0xFFFE
            _note(tag, depth, value, length, tables)
            at = value + length
    return -1, -1
