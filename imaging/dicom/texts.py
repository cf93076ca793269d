"""Text as DICOM can hold it. PS3.5 6.1, 6.2."""

import re
from collections.abc import Iterable

from pydicom.charset import convert_encodings


def long_string(value: str) -> str:
    """A Long String: 64 characters, no backslash, no control characters (PS3.5 6.2)."""
    return re.sub(r"[\\\x00-\x1f\x7f]", "_", value)[:64].strip()


def encodable(texts: Iterable[str], charset: object) -> bool:
    """Whether one of the character set's encodings can write every text."""
    encodings = convert_encodings(charset if charset else "ISO_IR 6")
    return all(text.isascii() or any(_fits(text, encoding) for encoding in encodings) for text in texts)


def _fits(text: str, encoding: str) -> bool:
    try:
        # pydicom knows the default repertoire as iso8859, which is Latin-1 to Python and ASCII to DICOM.
        text.encode("ascii" if encoding == "iso8859" else encoding)
    except UnicodeEncodeError:
        return False
    return True
