"""What the readers accept at most; shown by `GET /limits`."""

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True)
class ReadLimits:
    """Bounds that hold before memory is spent on an input.

    Attributes:
        body_bytes: Of one request.
        parts: DICOM objects in one request.
        instance_bytes: Of one image, also after inflating.
        structure_bytes: Of one RTSTRUCT, also after inflating.
        header_bytes: Of an image without its pixel data.
        elements: Attributes at the top level of one object.
        nesting: Depth of sequences.
        pixels: Rows times columns of one image.
        min_slices: Of one series.
        max_slices: Of one series.
        contours: In one RTSTRUCT.
        contour_points: In one RTSTRUCT.
        rois: In one RTSTRUCT.
    """

    body_bytes: int = 1536 * MIB
    parts: int = 2500
    instance_bytes: int = 64 * MIB
    structure_bytes: int = 256 * MIB
    header_bytes: int = 8 * MIB
    elements: int = 10_000
    nesting: int = 16
    pixels: int = 2048 * 2048
    min_slices: int = 20
    max_slices: int = 1000
    contours: int = 200_000
    contour_points: int = 2_000_000
    rois: int = 1000
