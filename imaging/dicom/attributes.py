"""Attribute values straight from their bytes, each finite and of its kind, or a typed error.

pydicom's own conversion builds an object per number, warns with the value in the text, and accepts 'nan'.
"""

import math
import re
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from pydicom import Dataset
from pydicom.charset import decode_bytes
from pydicom.dataelem import RawDataElement
from pydicom.multival import MultiValue

from imaging.errors import InputError, TooLarge, Truncated, ValueInvalid

UNREADABLE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    RuntimeError,
    TypeError,
    UserWarning,
    ValueError,
    struct.error,
    zlib.error,
)
"""Everything that pydicom, a decoder or numpy was seen to raise on damaged bytes."""

_TEXT_DELIMITERS = {"\\", "\r", "\n", "\t", "\f"}
_DECIMAL_BYTES = b"0123456789+-.eE \\\0"
_UID_LENGTH = 64
_UID = re.compile(rb"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))*")


class _Silence:
    """No warnings while any thread is inside.

    Their filters belong to the process. Were each thread to bring back what it found, the first to leave would let the
    others print warnings, and those of pydicom hold values.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._filters = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.simplefilter("ignore")
            self._inside += 1

    def __exit__(self, *_error: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._filters.__exit__(None, None, None)


_SILENCE = _Silence()


@contextmanager
def typed_errors(what: str) -> Iterator[None]:
    """Turn whatever a parser raises in the block into an `InputError` that names `what` and no value."""
    with _SILENCE:
        try:
            yield
        except InputError:
            raise
        except RecursionError:
            raise ValueInvalid(f"{what} nests sequences too deeply; send the original object again") from None
        except MemoryError:
            raise TooLarge(f"{what} needs more memory than there is; send the original object again") from None
        except (EOFError, OSError, struct.error):
            raise Truncated(f"{what} ends before its data do; send the original object again") from None
        except UNREADABLE:
            raise ValueInvalid(f"{what} cannot be read; export it anew and send it again") from None


def raw_value(dataset: Dataset, tag: int) -> bytes:
    """The bytes of an attribute; b'' if it is absent or a sequence.

    Raises:
        Truncated: If the value is shorter than its length says.
    """
    element = dataset.get_item(tag)
    if element is None:
        return b""
    value = element.value
    if isinstance(element, RawDataElement):
        if isinstance(value, bytes):
            if element.length not in (len(value), 0xFFFFFFFF):
                raise Truncated(f"an attribute has {len(value)} of {element.length} bytes; send the object again")
            return value
        return b""
    if element.VR == "SQ" or value is None:
        return b""
    if isinstance(value, bytes):
        return value
    parts = value if isinstance(value, MultiValue) else [value]
    return "\\".join(str(part) for part in parts).encode("utf-8", "replace")


def text(dataset: Dataset, tag: int) -> str:
    """An attribute as text in the character set of the data set, without padding; '' if absent."""
    value = raw_value(dataset, tag)
    if value.isascii() and b"\x1b" not in value:
        return value.decode("ascii").strip(" \0")
    encodings = dataset.original_character_set or "iso8859"
    names = [encodings] if isinstance(encodings, str) else list(encodings)
    return str(decode_bytes(value, names, _TEXT_DELIMITERS)).strip(" \0")


def uid(dataset: Dataset, tag: int, name: str) -> str:
    """A UID; '' if absent.

    Raises:
        ValueInvalid: If it is not made of at most 64 digits and dots (PS3.5 9.1).
    """
    value = raw_value(dataset, tag).rstrip(b"\0 ")
    if value and (len(value) > _UID_LENGTH or not _UID.fullmatch(value)):
        raise ValueInvalid(f"{name} is not a valid UID; export the object anew")
    return value.decode("ascii")


def needed_uid(dataset: Dataset, tag: int, name: str) -> str:
    """A UID that must be there; ValueInvalid where it is absent or malformed."""
    value = uid(dataset, tag, name)
    if not value:
        raise ValueInvalid(f"{name} is missing; export the object anew")
    return value


def decimals(dataset: Dataset, tag: int, name: str, *, count: int) -> tuple[float, ...]:
    """Exactly `count` finite decimal numbers; ValueInvalid where they are not there."""
    value = raw_value(dataset, tag)
    try:
        numbers = tuple(map(float, value.rstrip(b"\0 ").split(b"\\"))) if value else ()
    except ValueError:
        numbers = ()
    if len(numbers) != count or value.translate(None, _DECIMAL_BYTES) or not all(map(math.isfinite, numbers)):
        raise ValueInvalid(f"{name} needs {count} finite decimal number(s); export the object anew")
    return numbers


def unsigned(dataset: Dataset, tag: int, name: str) -> int | None:
    """An unsigned 16-bit number; None if absent.

    Raises:
        ValueInvalid: If it has another type or size (a 32-bit Rows has been used to overflow decoders).
    """
    element = dataset.get_item(tag)
    if element is None:
        return None
    if element.VR not in (None, "US", "SS"):
        raise ValueInvalid(f"{name} must be an unsigned 16-bit number; export the object anew")
    if not isinstance(element, RawDataElement):
        return int(element.value)
    value = element.value or b""
    if len(value) != 2:
        raise ValueInvalid(f"{name} must be one unsigned 16-bit number, not {len(value)} bytes; export the object anew")
    return int.from_bytes(value, "little" if element.is_little_endian else "big")


def needed_unsigned(dataset: Dataset, tag: int, name: str) -> int:
    """An unsigned 16-bit number that must be there."""
    value = unsigned(dataset, tag, name)
    if value is None:
        raise ValueInvalid(f"{name} is missing; export the object anew")
    return value


def whole(dataset: Dataset, tag: int, name: str) -> int | None:
    """An integer string, also written as '12.0'; None if absent or blank."""
    return whole_number(raw_value(dataset, tag), name)


def whole_number(value: bytes, name: str) -> int | None:
    """The bytes of an integer string as a number; None if blank.

    Raises:
        ValueInvalid: If it is no whole number of 32 bits.
    """
    value = value.strip(b" \0")
    if value.isdigit() and len(value) < 10:
        return int(value)
    if not value:
        return None
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if value.translate(None, _DECIMAL_BYTES) or not abs(number) < 2**31 or number != int(number):
        raise ValueInvalid(f"{name} must be a whole number; export the object anew")
    return int(number)


def items(dataset: Dataset, tag: int) -> list[Dataset]:
    """The items of a sequence; [] if it is absent or empty."""
    element = dataset.get_item(tag)
    if element is None:
        return []
    if isinstance(element, RawDataElement) and not element.value:
        return []
    value = dataset[tag].value
    return [item for item in value if isinstance(item, Dataset)] if not isinstance(value, bytes | str) else []
