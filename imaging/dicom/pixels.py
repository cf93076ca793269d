"""Stored values of one CT image to Hounsfield units, straight into the volume. PS3.5 8, PS3.3 C.11.1."""

from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom.encaps import get_frame
from pydicom.pixels.decoders import RLELosslessDecoder

from imaging.arrays import HuVoxels
from imaging.dicom.attributes import typed_errors
from imaging.dicom.codestream import check_codestream
from imaging.dicom.parse import EXPLICIT_BIG, JPEG_2000_LOSSLESS, JPEG_LS_LOSSLESS, RLE, PixelBytes
from imaging.dicom.slices import PixelFormat, Slice
from imaging.errors import Truncated, ValueInvalid

_INT16 = np.iinfo(np.int16)
_END_OF_IMAGE = b"\xff\xd9"  # of JPEG, JPEG-LS and JPEG 2000 alike; cannot stand within their data
_PADDING_BYTES = 16
"""Some exporters pad with more than one byte, or with another than NUL."""


def write_hu(image: Slice, plane: HuVoxels, *, transposed: bool, flip_x: bool, flip_y: bool) -> None:
    """Write one image into its plane (y, x) of the volume: turned to +P, +L, in HU, rounded and clipped to int16."""
    layout = image.pixel_format
    allocated = _allocated_values(image)
    turned = allocated.T if transposed else allocated
    turned = turned[:: -1 if flip_y else 1, :: -1 if flip_x else 1]
    stored: NDArray[Any] = plane.view(np.int16 if layout.signed else np.uint16)
    if layout.signed:
        # Shifting up and down again drops overlay bits and extends the sign.
        np.left_shift(turned, 16 - layout.bits_stored, out=stored)
        np.right_shift(stored, 16 - layout.bits_stored, out=stored)
    else:
        np.bitwise_and(turned, 2**layout.bits_stored - 1, out=stored)
    intercept = round(image.intercept)
    if image.slope == 1 and image.intercept == intercept and _fits(stored, layout, intercept):
        # Modulo 65536 the sum is right even where a stored unsigned value is above 32767.
        np.add(plane.view(np.uint16), np.uint16(intercept % 65536), out=plane.view(np.uint16))
        return
    hu = np.rint(stored.astype(np.float64) * image.slope + image.intercept)
    plane[...] = np.clip(hu, _INT16.min, _INT16.max)


def _allocated_values(image: Slice) -> NDArray[Any]:
    """The values (rows, columns) in all of their 16 bits."""
    layout, pixels = image.pixel_format, image.source.pixels
    if pixels is None:
        raise Truncated("an image has no pixel data; send it again")
    dtype: np.dtype[Any] = np.dtype(np.int16 if layout.signed else np.uint16)
    if pixels.encapsulated:
        return _decompressed(pixels, layout, image.source.transfer_syntax_uid).astype(dtype, copy=False)
    dtype = dtype.newbyteorder(">" if image.source.transfer_syntax_uid == EXPLICIT_BIG else "<")
    return np.frombuffer(pixels.value, dtype).reshape(layout.rows, layout.columns)


def _fits(stored: NDArray[Any], layout: PixelFormat, intercept: int) -> bool:
    """Whether no sum leaves the range of int16; looks at the values only if their number of bits does not tell."""
    lowest = -(2 ** (layout.bits_stored - 1)) if layout.signed else 0
    highest = lowest + 2**layout.bits_stored - 1
    if lowest + intercept < _INT16.min or highest + intercept > _INT16.max:
        lowest, highest = int(stored.min()), int(stored.max())
    return lowest + intercept >= _INT16.min and highest + intercept <= _INT16.max


def _decompressed(pixels: PixelBytes, layout: PixelFormat, transfer_syntax: str) -> NDArray[Any]:
    check_codestream(pixels.value, layout, transfer_syntax)
    with typed_errors("compressed pixel data"):
        if transfer_syntax == RLE:
            return _from_rle(pixels.value.tobytes(), layout)
        frame = get_frame(pixels.value.tobytes(), 0, number_of_frames=1)
        # Decoders fill up a lost end and say nothing. What JPEG lossless loses in its middle none of them notices.
        if _END_OF_IMAGE not in frame[-_PADDING_BYTES:]:
            raise Truncated("compressed pixel data end early; send the object again or export the series uncompressed")
        # These let go of the interpreter, so that slices are decoded beside each other.
        if transfer_syntax in JPEG_2000_LOSSLESS:
            values = imagecodecs.jpeg2k_decode(frame)
        elif transfer_syntax == JPEG_LS_LOSSLESS:
            values = imagecodecs.jpegls_decode(frame)
        else:
            values = imagecodecs.jpeg8_decode(frame)
        if values.shape != (layout.rows, layout.columns):
            raise ValueInvalid("compressed pixel data cannot be read; export the series uncompressed")
        return values


def _from_rle(encapsulated: bytes, layout: PixelFormat) -> NDArray[Any]:
    values, _ = RLELosslessDecoder.as_array(
        encapsulated,
        rows=layout.rows,
        columns=layout.columns,
        samples_per_pixel=1,
        photometric_interpretation="MONOCHROME2",
        bits_allocated=16,
        bits_stored=layout.bits_stored,
        pixel_representation=int(layout.signed),
        number_of_frames=1,
        pixel_keyword="PixelData",
        raw=True,
    )
    return np.asarray(values).reshape(layout.rows, layout.columns)
