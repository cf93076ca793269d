"""The part of a header that an answer may copy: public, well-formed text at the top level."""

from pydicom import Dataset
from pydicom.config import RAISE
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.valuerep import validate_value

from imaging.dicom.attributes import UNREADABLE, raw_value, text

_TEXT_VRS = frozenset(("AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UI", "UT"))
_UNPARTED_VRS = frozenset(("LT", "ST", "UT"))
_FIRST_LEFT_OUT = 0x30060000


def copyable_header(dataset: Dataset) -> tuple[Dataset, int]:
    """Public text attributes of a parsed object below group 3006, and how many were malformed and left out.

    A malformed value is left out because a writer that keeps to the standard would refuse it later. The attributes of
    `dataset` stay unconverted.
    """
    header, malformed = dataset[:_FIRST_LEFT_OUT], 0
    for tag in list(header.keys()):
        vr = dictionary_VR(tag) if dictionary_has_tag(tag) else ""
        if tag.is_private or vr not in _TEXT_VRS:
            del header[tag]
            continue
        try:
            # Checked before pydicom converts it: its own warning would hold the value.
            value = text(header, tag)
            for part in [value] if vr in _UNPARTED_VRS else value.split("\\"):
                validate_value(vr, part.strip(), RAISE)
            if raw_value(header, tag):
                header[tag]
        except UNREADABLE:
            del header[tag]
            malformed += 1
    return header, malformed
