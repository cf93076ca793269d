"""Small valid CT series and RTSTRUCTs as bytes, and the means to damage them.

Nothing here is taken from the readers: pixels are placed by the equation of PS3.3 C.7.6.2.1.1, point by point.
"""

import hashlib
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from io import BytesIO

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, FileMetaDataset, dcmwrite
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders import RLELosslessEncoder
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, JPEGLSLossless, RLELossless

from imaging.dicom.limits import ReadLimits

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
RT_STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"
SMALL = ReadLimits(min_slices=3)

PLANTED_NAME = "Plantedfamily^Plantedgiven"
PLANTED_ID = "PLANTED4711"
PLANTED_BIRTH_DATE = "19470811"
PLANTED_ROOT = "1.2.826.0.1.3680043.8.471147114711"
PLANTED = ("planted", PLANTED_ID.casefold(), PLANTED_BIRTH_DATE, PLANTED_ROOT, "47114711")
"""Strings of the patient, in lower case; none may show in a message, notice or log."""

ORIENTATIONS = {
    "HFS": ((1, 0, 0), (0, 1, 0)),
    "HFP": ((-1, 0, 0), (0, -1, 0)),
    "FFS": ((-1, 0, 0), (0, 1, 0)),
    "FFP": ((1, 0, 0), (0, -1, 0)),
    "HFDR": ((0, 1, 0), (-1, 0, 0)),
    "HFDL": ((0, -1, 0), (1, 0, 0)),
    "FFDR": ((0, -1, 0), (-1, 0, 0)),
    "FFDL": ((0, 1, 0), (1, 0, 0)),
}
"""Row and column direction per patient position."""

Edit = Callable[[int, Dataset], None]
"""Changes the data set of slice k (lowest z first) before it is written."""


def new_uid(*words: object) -> str:
    """A valid UID below PLANTED_ROOT, the same for the same words."""
    digest = hashlib.sha256(repr(words).encode()).hexdigest()
    return f"{PLANTED_ROOT}.{int(digest[:16], 16)}"


@dataclass(frozen=True)
class CtSpec:
    """What a series is made of. Shape (z, y, x), spacing and origin (x, y, z) in LPS millimetres."""

    name: str = "planning"
    shape: tuple[int, int, int] = (6, 20, 24)
    spacing_mm: tuple[float, float, float] = (2.0, 3.0, 2.5)
    origin_mm: tuple[float, float, float] = (-20.0, -31.0, 105.0)
    position: str = "HFS"
    frame: str = "frame"
    signed: bool = True
    bits_stored: int = 16
    slope: float = 1.0
    intercept: float = -1024.0
    brighter_hu: int = 0
    transfer_syntax: str = str(ExplicitVRLittleEndian)

    @property
    def series_uid(self) -> str:
        return new_uid("series", self.name)

    @property
    def frame_uid(self) -> str:
        return new_uid("frame", self.frame)

    def image_uid(self, k: int) -> str:
        return new_uid("image", self.name, k)

    def z_mm(self, k: int) -> float:
        return self.origin_mm[2] + k * self.spacing_mm[2]


@lru_cache(maxsize=32)
def body_hu(shape: tuple[int, int, int]) -> NDArray[np.int16]:
    """Air around a body of 40 HU; every voxel of the body differs a little, so that no flip goes unseen."""
    z, y, x = (np.arange(n, dtype=np.float64) for n in shape)
    yy, xx = np.meshgrid((y - y.mean()) / len(y), (x - x.mean()) / len(x), indexing="ij")
    inside = (yy / 0.42) ** 2 + (xx / 0.45) ** 2 < 1
    marks = 3 * z[:, None, None] + 2 * y[None, :, None] - x[None, None, :]
    return np.where(inside[None], 40 + marks, -1000).astype(np.int16)


def ct_datasets(spec: CtSpec = CtSpec(), hu: NDArray[np.int16] | None = None) -> list[Dataset]:
    """One data set per slice, lowest z first; `Pixel Data` native little-endian."""
    hu = body_hu(spec.shape) + spec.brighter_hu if hu is None else hu
    row, column = (np.array(direction) for direction in ORIENTATIONS[spec.position])
    nz, ny, nx = spec.shape
    spacing = np.array(spec.spacing_mm)
    extent = np.array([nx, ny])
    # Stored image size and the canonical index (x, y) of its first pixel.
    columns, rows = int(abs(row[:2]) @ extent), int(abs(column[:2]) @ extent)
    start = np.where(row[:2] + column[:2] < 0, extent - 1, 0)
    i, j = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    index_x, index_y = (start[c] + row[c] * j + column[c] * i for c in (0, 1))
    datasets = []
    for k in range(nz):
        first = np.array(spec.origin_mm) + spacing * [*start, k]
        stored = np.rint((hu[k][index_y, index_x].astype(float) - spec.intercept) / spec.slope).astype(np.int64)
        dataset = _ct_dataset(spec, k, rows, columns)
        dataset.ImagePositionPatient = [f"{value:.10g}" for value in first]
        dataset.ImageOrientationPatient = [*row.tolist(), *column.tolist()]
        dataset.PixelSpacing = [float(abs(column) @ spacing), float(abs(row) @ spacing)]
        mask = (1 << spec.bits_stored) - 1
        dataset.PixelData = (stored & mask).astype("<u2").tobytes()
        datasets.append(dataset)
    return datasets


def _patient_and_study(dataset: Dataset, spec: CtSpec) -> None:
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.PatientName, dataset.PatientID = PLANTED_NAME, PLANTED_ID
    dataset.PatientBirthDate, dataset.PatientSex = PLANTED_BIRTH_DATE, "M"
    dataset.StudyInstanceUID = new_uid("study", spec.name)
    dataset.StudyDate, dataset.StudyTime = "20260102", "101112"
    dataset.StudyID, dataset.AccessionNumber, dataset.ReferringPhysicianName = "", "", ""
    dataset.Manufacturer, dataset.InstitutionName = "Factory", "Planted Hospital"


def _ct_dataset(spec: CtSpec, k: int, rows: int, columns: int) -> Dataset:
    dataset = Dataset()
    _patient_and_study(dataset, spec)
    dataset.SOPClassUID, dataset.SOPInstanceUID = CT_IMAGE, spec.image_uid(k)
    dataset.Modality, dataset.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = spec.series_uid, spec.frame_uid
    dataset.SeriesNumber, dataset.InstanceNumber, dataset.PatientPosition = 1, k + 1, spec.position
    dataset.PositionReferenceIndicator, dataset.SliceThickness = "", "99"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = rows, columns, 1
    dataset.PhotometricInterpretation, dataset.PixelRepresentation = "MONOCHROME2", int(spec.signed)
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, spec.bits_stored, spec.bits_stored - 1
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = spec.slope, spec.intercept, "HU"
    return dataset


def to_bytes(
    dataset: Dataset, transfer_syntax: str = str(ExplicitVRLittleEndian), codestream: bytes | None = None
) -> bytes:
    """The data set as a DICOM file; malformed values are written as they are.

    With a compressed transfer syntax the pixels become `codestream`, or are encoded where there is none.
    """
    big = transfer_syntax == "1.2.840.10008.1.2.2"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = str(dataset.get("SOPClassUID", CT_IMAGE))
    dataset.file_meta.MediaStorageSOPInstanceUID = new_uid("file")
    dataset.file_meta.TransferSyntaxUID = transfer_syntax
    dataset.file_meta.ImplementationClassUID = "1.2.3.4"
    native = getattr(dataset, "PixelData", None)
    if native is not None:
        dataset["PixelData"].VR = "OW"
        if big:
            dataset.PixelData = np.frombuffer(native, "<u2").astype(">u2").tobytes()
        elif transfer_syntax.startswith("1.2.840.10008.1.2.4") or transfer_syntax == "1.2.840.10008.1.2.5":
            dataset.PixelData = encapsulate([codestream or compressed(dataset, transfer_syntax)])
            dataset["PixelData"].VR = "OB"
            dataset["PixelData"].is_undefined_length = True
    out = BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcmwrite(out, dataset, enforce_file_format=True)
    if native is not None:
        dataset.PixelData = native
    return out.getvalue()


def compressed(dataset: Dataset, transfer_syntax: str) -> bytes:
    """The codestream of a native data set in RLE, JPEG-LS or JPEG 2000, lossless."""
    values = np.frombuffer(dataset.PixelData, "<i2" if dataset.PixelRepresentation else "<u2")
    values = values.reshape(dataset.Rows, dataset.Columns)
    if transfer_syntax == RLELossless:
        frame = RLELosslessEncoder.encode(
            values,
            rows=dataset.Rows,
            columns=dataset.Columns,
            samples_per_pixel=1,
            number_of_frames=1,
            bits_allocated=16,
            bits_stored=dataset.BitsStored,
            pixel_representation=dataset.PixelRepresentation,
            photometric_interpretation="MONOCHROME2",
        )
    elif transfer_syntax == JPEGLSLossless:
        # JPEG-LS knows no sign: the bits are those of the stored value.
        frame = imagecodecs.jpegls_encode(values.view(np.uint16) & (2**dataset.BitsStored - 1))
    else:
        frame = imagecodecs.jpeg2k_encode(values, codecformat="J2K", reversible=True, bitspersample=dataset.BitsStored)
    return frame if len(frame) % 2 == 0 else frame + b"\0"


def ct_bytes(spec: CtSpec = CtSpec(), *, edit: Edit | None = None, hu: NDArray[np.int16] | None = None) -> list[bytes]:
    """The series as files, lowest z first, each changed by `edit`."""
    files = []
    for k, dataset in enumerate(ct_datasets(spec, hu)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if edit is not None:
                edit(k, dataset)
        files.append(to_bytes(dataset, spec.transfer_syntax))
    return files


def square(centre_xy: tuple[float, float], half_mm: float) -> list[tuple[float, float]]:
    """The corners of an upright square."""
    x, y = centre_xy
    return [
        (x - half_mm, y - half_mm),
        (x + half_mm, y - half_mm),
        (x + half_mm, y + half_mm),
        (x - half_mm, y + half_mm),
    ]


@dataclass
class RoiSpec:
    """One ROI; each loop is (plane index, corners (x, y)) or (z in mm as float, corners)."""

    number: int
    name: str
    loops: Sequence[tuple[int | float, Sequence[tuple[float, float]]]] = ()
    interpreted_type: str = "ORGAN"
    colour: tuple[int, int, int] | None = (255, 0, 0)
    geometric_type: str = "CLOSED_PLANAR"


def default_rois(spec: CtSpec) -> list[RoiSpec]:
    """A square of 10 mm on every slice but the outer two, and a body outline on all."""
    centre = (spec.origin_mm[0] + 24.0, spec.origin_mm[1] + 28.0)
    planes = range(spec.shape[0])
    return [
        RoiSpec(4, "PLANTED-Bladder", [(k, square(centre, 5.0)) for k in planes[1:-1]]),
        RoiSpec(9, "PLANTED-Body", [(k, square(centre, 15.0)) for k in planes], "EXTERNAL", (0, 255, 0)),
    ]


def structure_dataset(spec: CtSpec = CtSpec(), rois: Iterable[RoiSpec] | None = None) -> Dataset:
    """An RTSTRUCT drawn on the series of `spec`."""
    rois = default_rois(spec) if rois is None else list(rois)
    dataset = Dataset()
    _patient_and_study(dataset, spec)
    dataset.SOPClassUID, dataset.SOPInstanceUID = RT_STRUCTURE_SET, new_uid("structures", spec.name)
    dataset.Modality, dataset.SeriesInstanceUID = "RTSTRUCT", new_uid("structure series", spec.name)
    dataset.StructureSetLabel, dataset.StructureSetDate, dataset.StructureSetTime = "PLAN", "20260102", "101112"
    dataset.ReferencedFrameOfReferenceSequence = [_frame_reference(spec)]
    dataset.StructureSetROISequence = [_described(spec, roi) for roi in rois]
    dataset.ROIContourSequence = [_drawn(spec, roi) for roi in rois]
    dataset.RTROIObservationsSequence = [_observed(order, roi) for order, roi in enumerate(rois, 1)]
    dataset.ApprovalStatus = "UNAPPROVED"
    return dataset


def structure_bytes(
    spec: CtSpec = CtSpec(),
    rois: Iterable[RoiSpec] | None = None,
    *,
    edit: Callable[[Dataset], None] | None = None,
    transfer_syntax: str = str(ExplicitVRLittleEndian),
) -> bytes:
    """The RTSTRUCT as a file, changed by `edit`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = structure_dataset(spec, rois)
        if edit is not None:
            edit(dataset)
    return to_bytes(dataset, transfer_syntax)


def _image_reference(spec: CtSpec, k: int) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = CT_IMAGE, spec.image_uid(k)
    return reference


def _frame_reference(spec: CtSpec) -> Dataset:
    series, study, frame = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID = spec.series_uid
    series.ContourImageSequence = [_image_reference(spec, k) for k in range(spec.shape[0])]
    study.ReferencedSOPClassUID, study.ReferencedSOPInstanceUID = "1.2.840.10008.3.1.2.3.1", new_uid("study", spec.name)
    study.RTReferencedSeriesSequence = [series]
    frame.FrameOfReferenceUID, frame.RTReferencedStudySequence = spec.frame_uid, [study]
    return frame


def _described(spec: CtSpec, roi: RoiSpec) -> Dataset:
    item = Dataset()
    item.ROINumber, item.ROIName, item.ROIGenerationAlgorithm = roi.number, roi.name, "MANUAL"
    item.ReferencedFrameOfReferenceUID = spec.frame_uid
    return item


def _drawn(spec: CtSpec, roi: RoiSpec) -> Dataset:
    item = Dataset()
    item.ReferencedROINumber = roi.number
    if roi.colour:
        item.ROIDisplayColor = list(roi.colour)
    if roi.loops:
        item.ContourSequence = [contour_item(spec, plane, corners, roi.geometric_type) for plane, corners in roi.loops]
    return item


def contour_item(
    spec: CtSpec, plane: int | float, corners: Sequence[tuple[float, float]], geometric_type: str = "CLOSED_PLANAR"
) -> Dataset:
    """One item of Contour Sequence; a plane given in mm names no image."""
    contour = Dataset()
    z_mm = spec.z_mm(plane) if isinstance(plane, int) else plane
    if isinstance(plane, int):
        contour.ContourImageSequence = [_image_reference(spec, plane)]
    contour.ContourGeometricType, contour.NumberOfContourPoints = geometric_type, len(corners)
    contour.ContourData = [f"{value:.10g}" for x, y in corners for value in (x, y, z_mm)]
    return contour


def _observed(order: int, roi: RoiSpec) -> Dataset:
    item = Dataset()
    item.ObservationNumber, item.ReferencedROINumber = order, roi.number
    item.RTROIInterpretedType, item.ROIInterpreter = roi.interpreted_type, ""
    return item


def deflated(data: bytes, body: bytes | None = None) -> bytes:
    """A file in Deflated Explicit VR Little Endian; with another `body` than its own where given."""
    import zlib  # noqa: PLC0415 - used here only

    start = 132
    length = int.from_bytes(data[start + 8 : start + 12], "little")
    meta_end = start + 12 + length
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    zipped = squeezer.compress(data[meta_end:] if body is None else body) + squeezer.flush()
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CT_IMAGE, new_uid("file")
    meta.TransferSyntaxUID, meta.ImplementationClassUID = DeflatedExplicitVRLittleEndian, "1.2.3.4"
    out = BytesIO()
    from pydicom.filewriter import write_file_meta_info  # noqa: PLC0415 - used here only

    write_file_meta_info(out, meta)
    return bytes(128) + b"DICM" + out.getvalue() + zipped


@dataclass
class Upload:
    """What a sender puts into the three fields of a request."""

    planning: list[bytes] = field(default_factory=list)
    structures: list[bytes] = field(default_factory=list)
    daily: list[bytes] = field(default_factory=list)


PLANNING = CtSpec()
PLANNED_ROIS = tuple(default_rois(PLANNING))
DAILY = CtSpec(name="daily", frame="daily frame", origin_mm=(-18.0, -30.0, 103.0), brighter_hu=1)


@lru_cache(maxsize=1)
def _good_parts() -> tuple[tuple[bytes, ...], bytes, tuple[bytes, ...]]:
    return tuple(ct_bytes(PLANNING)), structure_bytes(PLANNING), tuple(ct_bytes(DAILY))


def good_upload() -> Upload:
    """A small case that every reader accepts."""
    planning, structures, daily = _good_parts()
    return Upload(list(planning), [structures], list(daily))
