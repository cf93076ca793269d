"""Zip files, read in memory. Sizes are counted on the real bytes; names are checked but never used as paths."""

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from imaging.errors import TooLarge
from service.problems import Refusal
from service.settings import UploadLimits

CHUNK = 1 << 20
END_RECORD = struct.Struct("<4s4H2LH")
DIRECTORY_BYTES_PER_ENTRY = 512
CLUTTER = frozenset({".ds_store", "thumbs.db", "desktop.ini", "dicomdir"})
"""File names that exports and file managers add; DICOMDIR only repeats what the files say."""


DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, ValueError, IndexError)
"""What `zipfile` raises on damaged archives; the last two were found by mutating good ones."""


@dataclass(frozen=True, eq=False, repr=False)
class Entry:
    """One file of a zip."""

    name: str
    content: bytes


def is_zip(content: bytes | memoryview) -> bool:
    """Whether these bytes are a zip and not a DICOM file with a preamble that looks like one."""
    return content[:4] in (b"PK\x03\x04", b"PK\x05\x06") and content[128:132] != b"DICM"


def unpack(archive: bytes, *, limits: UploadLimits) -> Iterator[Entry]:
    """The files of a zip, in the order of its directory.

    Raises:
        Refusal: 'archive-invalid' for a broken, encrypted, nested, linked or path-traversing zip.
        TooLarge: If the real bytes exceed a limit.
    """
    _check_directory(archive, limits)
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            entries = [entry for entry in opened.infolist() if not entry.is_dir()]
            if len(entries) > limits.parts:
                raise TooLarge(f"the zip holds {len(entries)} files; the limit is {limits.parts}")
            budget = min(limits.unpacked_bytes, limits.unpack_ratio * len(archive) + CHUNK)
            for entry in entries:
                _check_entry(entry)
                if _is_clutter(entry.filename):
                    continue
                content = _read(opened, entry, budget, limits)
                budget -= len(content)
                if is_zip(content):
                    raise Refusal("archive-invalid", "the zip holds another zip; send the files themselves.")
                yield Entry(entry.filename, content)
    except DAMAGE:
        # Their texts quote file names, which may hold a patient's name.
        raise Refusal("archive-invalid", "the zip is damaged or uses an unknown method; create it again.") from None


def _check_directory(archive: bytes, limits: UploadLimits) -> None:
    """Bound the directory before `zipfile` builds an object for each of its entries."""
    at = archive.rfind(b"PK\x05\x06", max(0, len(archive) - END_RECORD.size - 65535))
    if at < 0 or len(archive) - at < END_RECORD.size:
        raise Refusal("archive-invalid", "the zip has no end record; it may be cut off.")
    if archive[max(0, at - 20) : at].startswith(b"PK\x06\x07"):
        raise Refusal("archive-invalid", "ZIP64 is not read; a case fits into a plain zip.")
    _, _, _, _, count, directory_bytes, _, _ = END_RECORD.unpack_from(archive, at)
    if count > 2 * limits.parts or directory_bytes > 2 * limits.parts * DIRECTORY_BYTES_PER_ENTRY:
        raise TooLarge(f"the zip's directory lists {count} entries; the limit is {limits.parts}")


def _check_entry(entry: zipfile.ZipInfo) -> None:
    name = entry.filename
    if name.startswith(("/", "\\")) or "\\" in name or ":" in name[:3] or ".." in name.split("/") or "\0" in name:
        raise Refusal("archive-invalid", "a file of the zip has a path that leads out of it.")
    if entry.flag_bits & 0x1:
        raise Refusal("archive-invalid", "the zip is encrypted; send it without a password.")
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise Refusal("archive-invalid", "the zip holds a link; send the files themselves.")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Refusal("archive-invalid", "the zip uses an unknown method; use deflate or store.")


def _is_clutter(name: str) -> bool:
    parts = name.lower().split("/")
    return parts[0] == "__macosx" or parts[-1] in CLUTTER


def _read(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, budget: int, limits: UploadLimits) -> bytes:
    per_file = max(limits.instance_bytes, limits.structure_bytes)
    chunks: list[bytes] = []
    size = 0
    with opened.open(entry) as stream:
        while chunk := stream.read(CHUNK):
            size += len(chunk)
            if size > per_file:
                raise TooLarge(f"a file of the zip exceeds {per_file} bytes")
            if size > budget:
                raise TooLarge(
                    f"the zip unpacks to more than {limits.unpacked_bytes} bytes "
                    f"or {limits.unpack_ratio} times its size"
                )
            chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)
