"""The attributes of one CT image that geometry and Hounsfield units need. PS3.3 C.7.6.1 to C.7.6.3, C.8.2.1."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from imaging.dicom import tags
from imaging.dicom.attributes import decimals, needed_uid, needed_unsigned, raw_value, text, unsigned, whole
from imaging.dicom.limits import ReadLimits
from imaging.dicom.parse import COMPRESSED, DicomObject
from imaging.errors import MixedSeries, RescaleMissing, TooLarge, Truncated, UnsupportedObject, ValueInvalid


@dataclass(frozen=True)
class PixelFormat:
    """How the stored values of one image are laid out.

    Attributes:
        rows: Rows (0028,0010).
        columns: Columns (0028,0011).
        bits_stored: Of the 16 that are allocated.
        signed: Pixel Representation (0028,0103).
    """

    rows: int
    columns: int
    bits_stored: int
    signed: bool


@dataclass(frozen=True, eq=False)
class Slice:
    """One CT image.

    Attributes:
        source: The object that it was read from.
        sop_instance_uid: SOP Instance UID.
        series_instance_uid: Series Instance UID.
        frame_of_reference_uid: Frame of Reference UID.
        patient: Bytes of the attributes that identify the patient; only compared.
        pixel_format: Layout of the stored values.
        slope: Rescale Slope.
        intercept: Rescale Intercept in HU.
        position_mm: Centre of the first pixel (x, y, z), LPS.
        row_direction: Direction in which the column index grows, LPS.
        column_direction: Direction in which the row index grows, LPS.
        spacing_mm: Distance of rows, distance of columns.
        tilt_deg: Gantry/Detector Tilt, 0 if absent.
        patient_position: Patient Position, '' if absent.
    """

    source: DicomObject
    sop_instance_uid: str = field(repr=False)
    series_instance_uid: str = field(repr=False)
    frame_of_reference_uid: str = field(repr=False)
    patient: tuple[bytes, ...] = field(repr=False)
    pixel_format: PixelFormat
    slope: float
    intercept: float
    position_mm: tuple[float, ...]
    row_direction: tuple[float, ...]
    column_direction: tuple[float, ...]
    spacing_mm: tuple[float, ...]
    tilt_deg: float
    patient_position: str


def refuse_localizers(objects: Sequence[DicomObject], what: str) -> None:
    """Raise MixedSeries if Image Type (0008,0008) calls some images of `what` localizers (scouts)."""
    count = sum(b"LOCALIZER" in raw_value(one.dataset, tags.IMAGE_TYPE).upper() for one in objects)
    if count:
        raise MixedSeries(
            f"{count} of {len(objects)} images of {what} are localizers; send the axial slices alone", count=count
        )


def read_slice(source: DicomObject, *, limits: ReadLimits) -> Slice:
    """Read the attributes of one CT image; pixels are left alone.

    Raises:
        ValueInvalid: If an attribute is missing or malformed.
        RescaleMissing: If Hounsfield units cannot be known.
        TooLarge: If the image has more pixels than `limits` allow.
        Truncated: If there are fewer pixel bytes than rows and columns need.
        UnsupportedObject: If it is no single-frame monochrome image.
    """
    dataset = source.dataset
    pixel_format = _pixel_format(source, limits)
    slope, intercept = _rescale(source)
    orientation = decimals(dataset, tags.IMAGE_ORIENTATION, "Image Orientation (Patient)", count=6)
    spacing = decimals(dataset, tags.PIXEL_SPACING, "Pixel Spacing", count=2)
    if min(spacing) <= 0:
        raise ValueInvalid("Pixel Spacing must be positive; export the series anew")
    needed_uid(dataset, tags.STUDY_INSTANCE_UID, "Study Instance UID")
    tilt = raw_value(dataset, tags.GANTRY_DETECTOR_TILT).strip(b" \0")
    identity = (tags.PATIENT_ID, tags.PATIENT_BIRTH_DATE, tags.PATIENT_SEX, tags.STUDY_INSTANCE_UID)
    return Slice(
        source=source,
        sop_instance_uid=needed_uid(dataset, tags.SOP_INSTANCE_UID, "SOP Instance UID"),
        series_instance_uid=needed_uid(dataset, tags.SERIES_INSTANCE_UID, "Series Instance UID"),
        frame_of_reference_uid=needed_uid(dataset, tags.FRAME_OF_REFERENCE_UID, "Frame of Reference UID"),
        patient=tuple(raw_value(dataset, tag).strip(b" \0") for tag in identity),
        pixel_format=pixel_format,
        slope=slope,
        intercept=intercept,
        position_mm=decimals(dataset, tags.IMAGE_POSITION, "Image Position (Patient)", count=3),
        row_direction=orientation[:3],
        column_direction=orientation[3:],
        spacing_mm=spacing,
        tilt_deg=decimals(dataset, tags.GANTRY_DETECTOR_TILT, "Gantry/Detector Tilt", count=1)[0] if tilt else 0.0,
        patient_position=text(dataset, tags.PATIENT_POSITION).upper(),
    )


def _pixel_format(source: DicomObject, limits: ReadLimits) -> PixelFormat:
    dataset = source.dataset
    rows = needed_unsigned(dataset, tags.ROWS, "Rows")
    columns = needed_unsigned(dataset, tags.COLUMNS, "Columns")
    if rows * columns > limits.pixels:
        raise TooLarge(f"an image of {rows} x {columns} pixels exceeds {limits.pixels}", limit=limits.pixels)
    if min(rows, columns) < 2:
        raise ValueInvalid(f"an image of {rows} x {columns} pixels is no CT slice; export the series anew")
    if (whole(dataset, tags.NUMBER_OF_FRAMES, "Number of Frames") or 1) != 1:
        raise UnsupportedObject("multi-frame CT is not supported; export the series as single CT images")
    colour = text(dataset, tags.PHOTOMETRIC_INTERPRETATION)
    if unsigned(dataset, tags.SAMPLES_PER_PIXEL, "Samples per Pixel") != 1 or colour != "MONOCHROME2":
        raise ValueInvalid("an image is not MONOCHROME2 with one sample per pixel; send the original CT images")
    allocated = needed_unsigned(dataset, tags.BITS_ALLOCATED, "Bits Allocated")
    stored = needed_unsigned(dataset, tags.BITS_STORED, "Bits Stored")
    high = unsigned(dataset, tags.HIGH_BIT, "High Bit")
    signed = needed_unsigned(dataset, tags.PIXEL_REPRESENTATION, "Pixel Representation")
    if allocated != 16 or not 8 <= stored <= 16 or high not in (None, stored - 1) or signed > 1:
        raise ValueInvalid(
            f"pixels of {stored} in {allocated} bits with High Bit {high} are not read; send 16-bit CT images"
        )
    if source.pixels is None:
        raise Truncated("an image has no pixel data; send it again")
    if source.pixels.encapsulated != (source.transfer_syntax_uid in COMPRESSED):
        raise ValueInvalid("the pixel data of an image are not in the transfer syntax that it states; export it anew")
    needed = 2 * rows * columns
    if not source.pixels.encapsulated and len(source.pixels.value) < needed:
        raise Truncated(f"an image has {len(source.pixels.value)} of {needed} bytes of pixel data; send it again")
    if not source.pixels.encapsulated and len(source.pixels.value) > needed:
        raise ValueInvalid(f"an image has {len(source.pixels.value)} bytes of pixel data for {rows} x {columns} pixels")
    return PixelFormat(rows, columns, stored, bool(signed))


def _rescale(source: DicomObject) -> tuple[float, float]:
    dataset = source.dataset
    for tag, name in ((tags.RESCALE_SLOPE, "Rescale Slope"), (tags.RESCALE_INTERCEPT, "Rescale Intercept")):
        if not raw_value(dataset, tag).strip(b" \0"):
            raise RescaleMissing(f"{name} is missing, so Hounsfield units are unknown; send the original CT images")
    slope = decimals(dataset, tags.RESCALE_SLOPE, "Rescale Slope", count=1)[0]
    intercept = decimals(dataset, tags.RESCALE_INTERCEPT, "Rescale Intercept", count=1)[0]
    if slope == 0:
        raise RescaleMissing("Rescale Slope is 0, so Hounsfield units are unknown; send the original CT images")
    if text(dataset, tags.RESCALE_TYPE).upper() not in ("", "HU"):
        raise RescaleMissing("Rescale Type is not HU; send CT images in Hounsfield units")
    return slope, intercept
