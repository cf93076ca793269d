"""One DICOM file in memory to its attributes, with every bound checked before memory is spent. PS3.10 7."""

import hashlib
import zlib
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from io import BytesIO
from typing import Final

from pydicom import Dataset
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag

from imaging.dicom import tags
from imaging.dicom.attributes import text, typed_errors
from imaging.dicom.contour_walk import ContourBytes, walk
from imaging.dicom.limits import ReadLimits
from imaging.dicom.regular_header import read_regular_header
from imaging.errors import InputError, LossyPixelData, NotDicom, TooLarge, Truncated, UnsupportedObject, ValueInvalid

__all__ = ["CT_IMAGE", "RT_STRUCTURE_SET", "DicomObject", "PixelBytes", "ReadLimits", "parse", "parse_all"]

CT_IMAGE: Final = "1.2.840.10008.5.1.4.1.1.2"
RT_STRUCTURE_SET: Final = "1.2.840.10008.5.1.4.1.1.481.3"
ENHANCED_CT: Final = "1.2.840.10008.5.1.4.1.1.2.1"

IMPLICIT_LITTLE: Final = "1.2.840.10008.1.2"
EXPLICIT_LITTLE: Final = "1.2.840.10008.1.2.1"
DEFLATED: Final = "1.2.840.10008.1.2.1.99"
EXPLICIT_BIG: Final = "1.2.840.10008.1.2.2"
RLE: Final = "1.2.840.10008.1.2.5"
JPEG_LOSSLESS: Final = ("1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")
JPEG_LS_LOSSLESS: Final = "1.2.840.10008.1.2.4.80"
JPEG_2000_LOSSLESS: Final = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202")
COMPRESSED: Final = frozenset((RLE, *JPEG_LOSSLESS, JPEG_LS_LOSSLESS, *JPEG_2000_LOSSLESS))
LOSSY: Final = frozenset(f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 81, 91, 93, 203, 112))
NATIVE: Final = frozenset((IMPLICIT_LITTLE, EXPLICIT_LITTLE, DEFLATED, EXPLICIT_BIG))

_PREFIX_END = 132
_UNDEFINED = 0xFFFFFFFF
_WINDOW_BYTES = 32768
"""Nearly every header ends before; a longer one is read by pydicom."""
_LONG_VRS = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))


@dataclass(frozen=True, eq=False)
class PixelBytes:
    """Pixel Data (7FE0,0010) as it lies in the file.

    Attributes:
        value: The native values, or everything from the first item on if encapsulated.
        encapsulated: Whether it is a sequence of fragments.
    """

    value: memoryview
    encapsulated: bool


@dataclass(frozen=True, eq=False)
class DicomObject:
    """A CT image or RTSTRUCT, parsed but not yet judged.

    Attributes:
        dataset: Every attribute before Pixel Data; values are converted only when read. Never logged.
        sha256: Of the bytes as they were sent, in hexadecimal.
        sop_class_uid: CT_IMAGE or RT_STRUCTURE_SET.
        size: Number of bytes as they were sent.
        transfer_syntax_uid: One of NATIVE or COMPRESSED.
        pixels: Pixel data, or None if there are none.
    """

    dataset: Dataset = field(repr=False)
    sha256: str
    sop_class_uid: str
    size: int
    transfer_syntax_uid: str
    pixels: PixelBytes | None = field(default=None, repr=False)

    @property
    def is_ct(self) -> bool:
        """Whether this is a CT image."""
        return self.sop_class_uid == CT_IMAGE

    @property
    def is_structure_set(self) -> bool:
        """Whether this is an RTSTRUCT."""
        return self.sop_class_uid == RT_STRUCTURE_SET


def parse_all(files: Sequence[bytes | memoryview], *, limits: ReadLimits) -> list[DicomObject]:
    """Parse DICOM files, one being hashed while the next is read; raises what `parse` does for the first refused."""
    with ThreadPoolExecutor(2) as pool:
        return results_of([pool.submit(parse, data, limits=limits) for data in files])


def results_of(begun: Sequence[Future[DicomObject]]) -> list[DicomObject]:
    """What has been parsed, in order; the first refusal says which object it is, counted from 1."""
    parsed = []
    for position, one in enumerate(begun, start=1):
        try:
            parsed.append(one.result())
        except InputError as error:
            error.facts["object"] = position
            # Nobody waits for the objects behind a refused one.
            for later in begun[position:]:
                later.cancel()
            raise
    return parsed


def parse(data: bytes | memoryview, *, limits: ReadLimits) -> DicomObject:
    """Parse one DICOM file; its pixels are not copied.

    Raises:
        NotDicom: If it is none, or its file meta information is cut off.
        TooLarge: If a bound of `limits` is exceeded, also after inflating.
        Truncated: If an attribute reaches beyond the end of the file.
        UnsupportedObject: If it is neither a CT image nor an RTSTRUCT, or in a transfer syntax that is not read.
        LossyPixelData: If the transfer syntax loses information.
        ValueInvalid: If the header is malformed.
    """
    if len(data) > max(limits.structure_bytes, limits.instance_bytes):
        raise TooLarge(f"an object of {len(data)} bytes exceeds {limits.structure_bytes}", bytes=len(data))
    transfer_syntax, media_class, start = _file_meta(memoryview(data))
    _check_transfer_syntax(transfer_syntax)
    structure = media_class == RT_STRUCTURE_SET
    bound = limits.structure_bytes if structure else limits.instance_bytes
    if len(data) > bound:
        raise TooLarge(f"an object of {len(data)} bytes exceeds {bound}", bytes=len(data), limit=bound)
    body = data
    if transfer_syntax == DEFLATED:
        body, start = _inflate(data[start:], bound), 0
    with typed_errors("the header of an object"):
        dataset, pixels = _read_body(
            body, start, transfer_syntax, limits=limits, header_bytes=bound if structure else limits.header_bytes
        )
        sop_class = text(dataset, tags.SOP_CLASS_UID)
        lossy = text(dataset, tags.LOSSY_IMAGE_COMPRESSION)
    _check_class(sop_class, media_class)
    if lossy == "01":
        raise LossyPixelData("an image was once compressed with loss; send the original images")
    digest = hashlib.sha256(data).hexdigest()
    return DicomObject(dataset, digest, sop_class, len(data), transfer_syntax, pixels)


def _file_meta(data: memoryview) -> tuple[str, str, int]:
    """Transfer syntax, media storage SOP class, and where the data set starts. PS3.10 7.1."""
    if bytes(data[128:_PREFIX_END]) != b"DICM":
        raise NotDicom("a part is not a DICOM file; send CT images and one RTSTRUCT as DICOM files")
    position, found = _PREFIX_END, {}
    while (head := bytes(data[position : position + 12]))[:2] == b"\x02\x00":
        start, stop = (8, 12) if head[4:6] in _LONG_VRS else (6, 8)
        length = int.from_bytes(head[start:stop], "little")
        value = position + stop
        if value + length > len(data):
            raise NotDicom("the file meta information of a part is cut off; send the part again")
        found[int.from_bytes(head[2:4], "little")] = bytes(data[value : value + length])
        position = value + length
    syntax, media = (found.get(element, b"").rstrip(b"\0 ").decode("ascii", "replace") for element in (0x10, 0x02))
    if not syntax:
        raise NotDicom("the file meta information of a part names no transfer syntax; export the object anew")
    return syntax, media, position


def _check_transfer_syntax(uid: str) -> None:
    if uid in LOSSY:
        raise LossyPixelData("an image is compressed with loss; send the original or a losslessly compressed image")
    if uid not in NATIVE and uid not in COMPRESSED:
        raise UnsupportedObject("the transfer syntax of a part is not supported; send Explicit VR Little Endian")


def _check_class(sop_class: str, media_class: str) -> None:
    if not sop_class:
        raise ValueInvalid("SOP Class UID is missing; export the object anew")
    if sop_class == ENHANCED_CT:
        raise UnsupportedObject("enhanced multi-frame CT is not supported; export the series as single CT images")
    if sop_class not in (CT_IMAGE, RT_STRUCTURE_SET):
        raise UnsupportedObject("a part is neither a CT image nor an RTSTRUCT; send only these")
    if media_class and media_class != sop_class:
        raise ValueInvalid("the file meta information names another SOP class than the object; export it anew")


def _inflate(zipped: bytes | memoryview, limit: int) -> bytes:
    """The body of a Deflated file, at most `limit` bytes of it. PS3.5 A.5."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    with typed_errors("a deflated object"):
        body = inflater.decompress(zipped, limit + 1)
    if len(body) > limit:
        raise TooLarge(f"an object inflates to more than {limit} bytes; send it uncompressed", limit=limit)
    if not inflater.eof:
        raise Truncated("a deflated object ends before its data do; send it again")
    return body


class _Watch:
    """Looks at every top-level attribute before its value is read, and stops before what is not to be converted."""

    def __init__(
        self, body: bytes, start: int, coding: tuple[bool, bool], limits: ReadLimits, header_bytes: int
    ) -> None:
        self.stream = BytesIO(body)
        self.stream.seek(start)
        self.body, self.start, self.coding = body, start, coding
        self.elements, self.header_bytes = limits.elements, header_bytes
        self.count, self.end = 0, start
        self.pixels: tuple[int, int] | None = None
        self.contours: tuple[int, ContourBytes] | None = None

    def read(self) -> Dataset:
        implicit, little = self.coding
        dataset = read_dataset(self.stream, implicit, little, stop_when=self)
        if self.contours is not None:
            at, found = self.contours
            value = self.body[at : found.end]
            dataset[tags.ROI_CONTOUR_SEQUENCE] = RawDataElement(
                BaseTag(tags.ROI_CONTOUR_SEQUENCE), None if implicit else "SQ", len(value), value, at, implicit, little
            )
            self.stream.seek(found.behind)
            dataset.update(read_dataset(self.stream, implicit, little, stop_when=self))
        return dataset

    def __call__(self, tag: int, _vr: str | None, length: int) -> bool:
        position = self.stream.tell()
        if tag == tags.PIXEL_DATA:
            self.pixels = position, length
            return True
        self.count += 1
        self.end = position if length == _UNDEFINED else position + length
        if self.end > len(self.body):
            missing = self.end - len(self.body)
            raise Truncated(f"an attribute ends {missing} bytes behind the end of the object; send it again")
        if self.count > self.elements or self.end - self.start > self.header_bytes:
            raise TooLarge(
                f"a header has more than {self.elements} attributes or {self.header_bytes} bytes; "
                "export the object anew",
                elements=self.elements,
                bytes=self.header_bytes,
            )
        if tag == tags.ROI_CONTOUR_SEQUENCE and length == _UNDEFINED and self.contours is None:
            # Of undefined length pydicom would build every item at once; its bytes are all that the reader needs.
            implicit, little = self.coding
            found = walk(self.body, position, length, implicit=implicit, little=little)
            if found is not None:
                self.contours, self.end = (position, found), found.behind
                return True
        return False


def _read_body(
    data: bytes | memoryview, start: int, transfer_syntax: str, *, limits: ReadLimits, header_bytes: int
) -> tuple[Dataset, PixelBytes | None]:
    implicit, little = coding = transfer_syntax == IMPLICIT_LITTLE, transfer_syntax != EXPLICIT_BIG
    if little:
        window = bytes(data[: min(_WINDOW_BYTES, start + header_bytes)])
        regular = read_regular_header(window, start, implicit=implicit, elements=limits.elements)
        if regular is not None:
            return regular.dataset, _pixels(data, regular.pixels_at, regular.pixels_length)
    body = bytes(data)
    watch = _Watch(body, start, coding, limits, header_bytes)
    dataset = watch.read()
    if watch.pixels is None and 0 < len(body) - watch.end < 8 and body[watch.end :].strip(b"\0"):
        raise Truncated("an object ends in the middle of an attribute; send it again")
    pixels = None if watch.pixels is None else _pixels(body, *watch.pixels)
    _check_nesting(dataset, limits.nesting)
    return dataset, pixels


def _pixels(body: bytes | memoryview, at: int, length: int) -> PixelBytes:
    view = memoryview(body)
    if length == _UNDEFINED:
        return PixelBytes(view[at:], encapsulated=True)
    missing = at + length - len(body)
    if missing > 0:
        raise Truncated(f"the pixel data of an image lack {missing} of {length} bytes; send it again")
    return PixelBytes(view[at : at + length], encapsulated=False)


def _check_nesting(dataset: Dataset, limit: int) -> None:
    level, depth = [dataset], 0
    while level:
        if depth > limit:
            raise ValueInvalid(f"sequences are nested deeper than {limit}; export the object anew", limit=limit)
        level = [
            item
            for parent in level
            for element in parent.values()
            if isinstance(element, DataElement) and element.VR == "SQ"
            for item in element.value
        ]
        depth += 1
