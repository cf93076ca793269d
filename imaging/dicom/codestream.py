"""What a compressed image claims to be, checked before a decoder allocates anything.

PS3.5 A.4 (encapsulation), ITU-T T.81 B.2.2 (JPEG frame), T.87 C.2.3 (JPEG-LS scan), T.800 A.5.1 and A.6.1 (JPEG 2000).
"""

from imaging.dicom.parse import JPEG_2000_LOSSLESS, RLE
from imaging.dicom.slices import PixelFormat
from imaging.errors import LossyPixelData, Truncated, ValueInvalid

_ITEM = b"\xfe\xff\x00\xe0"
_START_OF_SCAN = 0xDA
_FRAME_MARKERS = frozenset((0xC3, 0xF7))  # lossless Huffman, JPEG-LS
_LARGEST_RATIO = 1.25
"""Of compressed to native bytes; an RLE fragment beyond it would unpack to many times the image."""
_ENCODING_OVERHEAD = 65536
_SIZ, _COD, _START_OF_TILE = 0x51, 0x52, 0x90


def check_codestream(value: memoryview, layout: PixelFormat, transfer_syntax: str) -> None:
    """Compare the size in the codestream with Rows and Columns, and refuse lossy coding.

    Raises:
        Truncated: If the fragments end early.
        ValueInvalid: If the size differs, or there is no codestream.
        LossyPixelData: If the coding loses information although the transfer syntax says otherwise.
    """
    bound = int(_LARGEST_RATIO * 2 * layout.rows * layout.columns) + _ENCODING_OVERHEAD
    if len(value) > bound:
        raise ValueInvalid(
            f"compressed pixel data of {len(value)} bytes are larger than {bound}; send the object again"
        )
    stream = _first_fragment(value)
    if transfer_syntax == RLE:
        return
    try:
        if transfer_syntax in JPEG_2000_LOSSLESS:
            rows, columns, lossless = _jpeg_2000(stream)
        else:
            rows, columns, lossless = _jpeg(stream)
    except (IndexError, ValueError):
        raise ValueInvalid("compressed pixel data cannot be read; export the series uncompressed") from None
    if (rows, columns) != (layout.rows, layout.columns):
        raise ValueInvalid(
            f"compressed pixel data hold {rows} x {columns} pixels, the header says {layout.rows} x {layout.columns}"
        )
    if not lossless:
        raise LossyPixelData("compressed pixel data lose information; send the original images")


def _first_fragment(value: memoryview) -> bytes:
    """The fragment after the basic offset table."""
    position = 0
    for order in range(2):
        if bytes(value[position : position + 4]) != _ITEM:
            raise Truncated("compressed pixel data hold no image; send the object again")
        length = int.from_bytes(value[position + 4 : position + 8], "little")
        start = position + 8
        if start + length > len(value):
            raise Truncated(f"compressed pixel data lack {start + length - len(value)} bytes; send the object again")
        if order == 1:
            return bytes(value[start : start + length])
        position = start + length
    raise AssertionError("unreachable")


def _u16(stream: bytes, position: int) -> int:
    return stream[position] << 8 | stream[position + 1]


def _u32(stream: bytes, position: int) -> int:
    return _u16(stream, position) << 16 | _u16(stream, position + 2)


def _jpeg(stream: bytes) -> tuple[int, int, bool]:
    """Rows, columns and whether lossless, of JPEG lossless or JPEG-LS."""
    position, size = 2, None
    while True:
        while stream[position + 1] == 0xFF:
            position += 1
        if stream[position] != 0xFF:
            raise ValueError("no marker")
        marker = stream[position + 1]
        if marker in _FRAME_MARKERS:
            if stream[position + 9] != 1:
                raise ValueError("more than one component")
            size = (_u16(stream, position + 5), _u16(stream, position + 7), marker)
        elif marker == _START_OF_SCAN:
            if size is None:
                raise ValueError("not a lossless frame")
            # In JPEG-LS the byte after the component list is NEAR; in JPEG lossless the last is the point transform.
            parameters = position + 5 + 2 * stream[position + 4]
            lossy = stream[parameters] != 0 if size[2] == 0xF7 else stream[parameters + 2] & 0x0F != 0
            return size[0], size[1], not lossy
        position += 2 + _u16(stream, position + 2)


def _jpeg_2000(stream: bytes) -> tuple[int, int, bool]:
    """Rows, columns and whether the wavelet is reversible, of JPEG 2000 and HTJ2K."""
    if stream[:4] != b"\xff\x4f\xff\x51":
        raise ValueError("no JPEG 2000 codestream")
    position, rows, columns, reversible = 2, 0, 0, None
    while stream[position + 1] != _START_OF_TILE:
        if stream[position] != 0xFF:
            raise ValueError("no marker")
        if stream[position + 1] == _SIZ:
            columns = _u32(stream, position + 6) - _u32(stream, position + 14)
            rows = _u32(stream, position + 10) - _u32(stream, position + 18)
            if _u16(stream, position + 38) != 1:
                raise ValueError("more than one component")
        elif stream[position + 1] == _COD:
            reversible = stream[position + 13] == 1
        position += 2 + _u16(stream, position + 2)
    if reversible is None:
        raise ValueError("no coding style")
    return rows, columns, reversible
