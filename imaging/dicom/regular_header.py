"""The header of an ordinary object without pydicom's stream: one loop over its bytes. PS3.5 7.1.

It knows attributes of defined length and of known value representation and nothing else. Whatever is not quite regular
is left to pydicom and to the checks around it, so this decides nothing: it only gives the same answer sooner.
"""

from dataclasses import dataclass
from struct import Struct
from typing import Final

from pydicom import Dataset
from pydicom.charset import convert_encodings
from pydicom.dataelem import RawDataElement, empty_value_for_VR
from pydicom.tag import BaseTag

from imaging.dicom import tags

UNDEFINED: Final = 0xFFFFFFFF
_SHORT: Final = {
    vr.encode(): vr
    for vr in (
        *("AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS"),
        *("LO", "LT", "PN", "SH", "SL", "SS", "ST", "TM", "UI", "UL", "US"),
    )
}
_LONG: Final = {vr.encode(): vr for vr in ("OB", "OD", "OF", "OL", "OW", "SQ", "UC", "UN", "UR", "UT")}
_EXPLICIT: Final = Struct("<HH2sH").unpack_from
_IMPLICIT: Final = Struct("<HHL").unpack_from
_LENGTH: Final = Struct("<L").unpack_from
_LARGEST_HEAD: Final = 12
_CHARACTER_SETS: Final = frozenset((b"ISO_IR 6", b"ISO_IR 6 ", b"ISO_IR 100", b"ISO_IR 192"))
_DELIMITERS: Final = 0xFFFE


@dataclass(frozen=True, eq=False)
class RegularHeader:
    """A header up to Pixel Data.

    Attributes:
        dataset: As pydicom reads it.
        pixels_at: Where the value of Pixel Data starts.
        pixels_length: Its length, UNDEFINED if encapsulated.
    """

    dataset: Dataset
    pixels_at: int
    pixels_length: int


def read_regular_header(body: bytes, start: int, *, implicit: bool, elements: int) -> RegularHeader | None:
    """Read little-endian attributes from `start` to Pixel Data; None if they are not regular.

    Args:
        body: The beginning of the object, long enough for its header.
        start: Where the data set starts.
        implicit: Whether value representations are left out.
        elements: Most attributes that are read.
    """
    found: dict[int, RawDataElement] = {}
    at, last = start, len(body) - _LARGEST_HEAD
    # Two capital letters there: explicit value representations in spite of the transfer syntax.
    if implicit and body[start + 4 : start + 6].isalpha():
        return None
    while at <= last and len(found) <= elements:
        if implicit:
            group, element, length = _IMPLICIT(body, at)
            vr, at = None, at + 8
        else:
            group, element, code, length = _EXPLICIT(body, at)
            vr, at = _SHORT.get(code), at + 8
            if vr is None:
                vr = _LONG.get(code)
                length, at = _LENGTH(body, at)[0], at + 4
        number = group << 16 | element
        if number == tags.PIXEL_DATA:
            return RegularHeader(_dataset(found, implicit=implicit), at, length)
        value = body[at : at + length] if length else empty_value_for_VR(vr, raw=True)
        irregular = (vr is None and not implicit) or length == UNDEFINED or group == _DELIMITERS or number in found
        if irregular or (number == tags.SPECIFIC_CHARACTER_SET and value not in _CHARACTER_SETS):
            return None
        # Compared as plain numbers until here: comparing tags of pydicom takes as long as all the rest.
        tag = BaseTag(number)
        found[tag] = RawDataElement(tag, vr, length, value, at, implicit, True)
        at += length
    return None


def _dataset(found: dict[int, RawDataElement], *, implicit: bool) -> Dataset:
    dataset = Dataset(found)
    stated = found.get(tags.SPECIFIC_CHARACTER_SET)
    encoding = convert_encodings(stated.value.decode().strip()) if stated and stated.value else "iso8859"
    dataset.set_original_encoding(implicit, True, encoding)
    return dataset
