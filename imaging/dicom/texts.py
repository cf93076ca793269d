"""Text as DICOM can hold it. PS3.5 6.1, 6.2."""

import re
from collections.abc import Collection

from pydicom.charset import convert_encodings

_DEFAULT = "iso8859"
"""What pydicom calls the default repertoire."""


def long_string(value: str) -> str:
    """A Long String: 64 characters, no backslash, no control characters (PS3.5 6.2)."""
    return re.sub(r"[\\\x00-\x1f\x7f]", "_", value)[:64].strip()


def encodable(texts: Collection[str], charset: object) -> bool:
    """Whether one of the character set's encodings can write every text."""
    encodings = convert_encodings(charset if charset else "ISO_IR 6")
    if len(encodings) > 1 and encodings[0] == _DEFAULT and any(_taken_for_ascii(text) for text in texts):
        return False
    return all(text.isascii() or any(_fits(text, encoding) for encoding in encodings) for text in texts)


def _taken_for_ascii(text: str) -> bool:
    """Whether pydicom would write Latin letters in the default repertoire, which lacks them, and not look further."""
    return not text.isascii() and max(text) <= "\xff"


def _fits(text: str, encoding: str) -> bool:
    try:
        # pydicom knows the default repertoire as iso8859, which is Latin-1 to Python and ASCII to DICOM.
        text.encode("ascii" if encoding == _DEFAULT else encoding)
    except UnicodeEncodeError:
        return False
    return True
