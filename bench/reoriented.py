"""The same scan as another scanner would have stored it: other rows and columns, the same tissue at the same place."""

import io
import warnings

import numpy as np
import pydicom
from pydicom import Dataset

FLIPS = {"HFP": (True, True), "FFS": (True, False), "FFP": (False, True)}
"""Per patient position: whether rows run to the patient's right and columns to the front, against HFS."""


def stored_as(position: str, files: list[bytes]) -> list[bytes]:
    """CT images that were stored head first supine, stored for another patient position.

    Every voxel keeps its place in LPS; UIDs are kept, so that an RTSTRUCT of the scan stays one. A patient who goes in
    feet first is scanned from the feet, so the images come in the opposite order.

    Args:
        position: 'HFP', 'FFS' or 'FFP'.
        files: CT images with uncompressed pixels.

    Raises:
        ValueError: If an image is not stored along +L and +P.
    """
    stored = [_stored_as(position, pydicom.dcmread(io.BytesIO(file)), count=len(files)) for file in files]
    return stored[::-1] if position.startswith("FF") else stored


def _stored_as(position: str, image: Dataset, *, count: int) -> bytes:
    orientation = np.array(image.ImageOrientationPatient, dtype=float)
    if not np.array_equal(orientation, [1, 0, 0, 0, 1, 0]):
        raise ValueError(f"only images along +L and +P are stored anew, not {orientation.tolist()}")
    to_right, to_front = FLIPS[position]
    first = np.array(image.ImagePositionPatient, dtype=float)
    pixels = image.pixel_array
    down, across = (float(value) for value in image.PixelSpacing)
    if to_right:
        pixels, orientation[0] = pixels[:, ::-1], -1
        first[0] += (image.Columns - 1) * across
    if to_front:
        pixels, orientation[4] = pixels[::-1], -1
        first[1] += (image.Rows - 1) * down
    image.PixelData = np.ascontiguousarray(pixels).tobytes()
    image.ImageOrientationPatient = [f"{value:.6f}" for value in orientation]
    image.ImagePositionPatient = [f"{value:.6f}" for value in first]
    image.PatientPosition = position
    if position.startswith("FF"):
        image.InstanceNumber = count - int(image.InstanceNumber or 0)
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image.save_as(out)
    return out.getvalue()
