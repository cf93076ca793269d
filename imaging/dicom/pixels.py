"""Stored values of one CT image to Hounsfield units, straight into the volume. PS3.5 8, PS3.3 C.11.1."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.pixels import get_decoder

from imaging.arrays import HuVoxels
from imaging.dicom.attributes import typed_errors
from imaging.dicom.codestream import check_codestream
from imaging.dicom.parse import EXPLICIT_BIG, PixelBytes
from imaging.dicom.slices import PixelFormat, Slice
from imaging.errors import Truncated, UnsupportedObject

_INT16 = np.iinfo(np.int16)


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
    decoder = get_decoder(transfer_syntax)
    if not decoder.is_available:
        raise UnsupportedObject("no decoder for this compression is installed; send Explicit VR Little Endian")
    with typed_errors("compressed pixel data"):
        values, _ = decoder.as_array(
            pixels.value.tobytes(),
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
