"""Phantom cases as plain DICOM: CT series and RT Structure Set, written with pydicom alone.

Deliberately independent of `imaging.dicom`, so that the readers there are tested against another writer.
PS3.3 A.3 (CT Image IOD), A.19 (RT Structure Set IOD), C.7.3.1.1.2 (patient position), C.7.6.2.1.1 (image plane).
"""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, FileMetaDataset
from pydicom.dataset import FileDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

from imaging.arrays import PointsXy
from imaging.geometry import VolumeGeometry
from imaging.structures import Contour, Roi, StructureSet
from imaging.volume import Volume
from phantom.case import PhantomCase

CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
RT_STRUCTURE_SET_STORAGE = "1.2.840.10008.5.1.4.1.1.481.3"
STUDY_COMPONENT = "1.2.840.10008.3.1.2.3.1"
MANUFACTURER = "recontour phantom"
STORED_OFFSET_HU = 1024

ORIENTATIONS: dict[str, tuple[tuple[int, int, int], tuple[int, int, int]]] = {
    "HFS": ((1, 0, 0), (0, 1, 0)),
    "HFP": ((-1, 0, 0), (0, -1, 0)),
    "FFS": ((-1, 0, 0), (0, 1, 0)),
    "FFP": ((1, 0, 0), (0, -1, 0)),
    "HFDL": ((0, -1, 0), (1, 0, 0)),
    "HFDR": ((0, 1, 0), (-1, 0, 0)),
    "FFDL": ((0, 1, 0), (1, 0, 0)),
    "FFDR": ((0, -1, 0), (-1, 0, 0)),
}
"""Directions of a row and of a column in LPS by Patient Position; the table is at the bottom of every image."""


def uid_of(*parts: object) -> str:
    """The UID under 2.25 that belongs to these parts; the same parts give the same UID."""
    digest = hashlib.sha256("|".join(str(part) for part in parts).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"


@dataclass(frozen=True)
class SeriesIdentity:
    """Who, when and which series.

    Attributes:
        patient: Patient ID; the same in all scans of a patient.
        scan: Tells scans of a patient apart, for example 'planning' or 'daily-1'.
        date: Study date, YYYYMMDD.
    """

    patient: str
    scan: str
    date: str

    @property
    def study_uid(self) -> str:
        """Study Instance UID."""
        return uid_of(self.patient, self.scan, "study")

    @property
    def series_uid(self) -> str:
        """Series Instance UID of the CT."""
        return uid_of(self.patient, self.scan, "series")

    @property
    def frame_uid(self) -> str:
        """Frame of Reference UID."""
        return uid_of(self.patient, self.scan, "frame")

    def image_uid(self, plane: int) -> str:
        """SOP Instance UID of the slice at array plane `plane`, lowest z first."""
        return uid_of(self.patient, self.scan, "image", plane)

    @property
    def structure_set_uid(self) -> str:
        """SOP Instance UID of the structure set drawn on this scan."""
        return uid_of(self.patient, self.scan, "structures")


def identity_of(seed: int, clinic_name: str, fraction: int) -> SeriesIdentity:
    """Identity of a phantom scan; fraction 0 is the planning CT."""
    scan = "planning" if fraction == 0 else f"daily-{fraction}"
    date = np.datetime64("2020-01-06") + (0 if fraction == 0 else 13 + fraction)
    return SeriesIdentity(f"PHANTOM-{clinic_name}-{seed:06d}", scan, str(date).replace("-", ""))


def write_ct_series(volume: Volume, *, identity: SeriesIdentity, patient_position: str = "HFS") -> list[bytes]:
    """DICOM files of one CT series, in the order of their instance numbers.

    Args:
        volume: Canonical Hounsfield units, -1024 to 3071.
        identity: Whose and which.
        patient_position: One of `ORIENTATIONS`; the same patient is stored with the matching orientation and pixel
            order, so that every reader must find the same voxels in LPS.

    Raises:
        ValueError: Unknown patient position.
    """
    if patient_position not in ORIENTATIONS:
        raise ValueError(f"patient position {patient_position!r} is not one of {', '.join(ORIENTATIONS)}")
    row, column = (np.array(direction) for direction in ORIENTATIONS[patient_position])
    downwards = np.cross(row, column)[2] < 0
    count = volume.geometry.shape[0]
    planes = range(count - 1, -1, -1) if downwards else range(count)
    return [
        _ct_slice(volume, identity, plane=plane, number=number, position=patient_position)
        for number, plane in enumerate(planes, start=1)
    ]


def _ct_slice(volume: Volume, identity: SeriesIdentity, *, plane: int, number: int, position: str) -> bytes:
    geometry = volume.geometry
    row, column = (np.array(direction) for direction in ORIENTATIONS[position])
    pixels, first = _oriented(volume.hu[plane], geometry, row, column)
    dataset = _file(CT_IMAGE_STORAGE, identity.image_uid(plane))
    _describe_patient(dataset, identity, position)
    dataset.Modality = "CT"
    dataset.SeriesInstanceUID = identity.series_uid
    dataset.SeriesNumber = 1
    dataset.SeriesDescription = f"Pelvis {identity.scan}"
    dataset.FrameOfReferenceUID = identity.frame_uid
    dataset.PositionReferenceIndicator = ""
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.AcquisitionNumber = 1
    dataset.InstanceNumber = number
    dataset.KVP = "120"
    dataset.BodyPartExamined = "PELVIS"
    dataset.SliceThickness = _decimal(geometry.spacing_mm[2])
    dataset.PixelSpacing = [_decimal(abs(geometry.spacing_mm[int(np.argmax(np.abs(d)))])) for d in (column, row)]
    dataset.ImageOrientationPatient = [str(int(c)) for c in (*row, *column)]
    z = geometry.origin_mm[2] + plane * geometry.spacing_mm[2]
    dataset.ImagePositionPatient = [_decimal(first[0]), _decimal(first[1]), _decimal(z)]
    dataset.SliceLocation = _decimal(z)
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = str(-STORED_OFFSET_HU), "1", "HU"
    dataset.WindowCenter, dataset.WindowWidth = "40", "400"
    stored = np.clip(pixels.astype(np.int32) + STORED_OFFSET_HU, 0, 4095).astype("<u2")
    dataset.PixelData = stored.tobytes()
    dataset["PixelData"].VR = "OW"
    return _bytes(dataset)


def _oriented(
    plane: NDArray[np.int16], geometry: VolumeGeometry, row: NDArray[np.int64], column: NDArray[np.int64]
) -> tuple[NDArray[np.int16], tuple[float, float]]:
    """Pixels with rows running along `row`, and the place (x, y) of the first one."""
    along = row + column
    first_x = geometry.origin_mm[0] if along[0] > 0 else geometry.last_mm[0]
    first_y = geometry.origin_mm[1] if along[1] > 0 else geometry.last_mm[1]
    pixels = plane[:: int(along[1]), :: int(along[0])]
    return (pixels if row[0] else pixels.T), (first_x, first_y)


def write_structure_set(
    structures: StructureSet,
    *,
    identity: SeriesIdentity,
    geometry: VolumeGeometry,
    patient_position: str = "HFS",
) -> bytes:
    """An RT Structure Set file on the CT of that identity and grid; coordinates have two decimals."""
    dataset = _file(RT_STRUCTURE_SET_STORAGE, identity.structure_set_uid)
    _describe_patient(dataset, identity, "")
    dataset.Modality = "RTSTRUCT"
    dataset.SeriesInstanceUID = uid_of(identity.patient, identity.scan, "structure series")
    dataset.SeriesNumber = 2
    dataset.OperatorsName = ""
    dataset.FrameOfReferenceUID = identity.frame_uid
    dataset.PositionReferenceIndicator = ""
    dataset.StructureSetLabel = structures.label or "PELVIS"
    dataset.StructureSetDate, dataset.StructureSetTime = identity.date, "120000"
    dataset.ApprovalStatus = "UNAPPROVED"
    downwards = np.cross(*ORIENTATIONS[patient_position])[2] < 0
    planes = range(geometry.shape[0])
    images = [_image_reference(identity, plane) for plane in (reversed(planes) if downwards else planes)]
    series = _item(SeriesInstanceUID=identity.series_uid, ContourImageSequence=Sequence(images))
    study = _item(
        ReferencedSOPClassUID=STUDY_COMPONENT,
        ReferencedSOPInstanceUID=identity.study_uid,
        RTReferencedSeriesSequence=Sequence([series]),
    )
    frame = _item(FrameOfReferenceUID=identity.frame_uid, RTReferencedStudySequence=Sequence([study]))
    dataset.ReferencedFrameOfReferenceSequence = Sequence([frame])
    dataset.StructureSetROISequence = Sequence([_roi(roi, identity) for roi in structures.rois])
    dataset.ROIContourSequence = Sequence([_roi_contours(roi, identity, geometry) for roi in structures.rois])
    dataset.RTROIObservationsSequence = Sequence([_observation(roi) for roi in structures.rois])
    return _bytes(dataset)


def write_case(case: PhantomCase, folder: Path, *, patient_position: str = "HFS") -> None:
    """Write `planning/` (CT and RTSTRUCT) and `daily/` (CT of its own study, series and frame of reference)."""
    plan = identity_of(case.seed, case.clinic.name, 0)
    day = identity_of(case.seed, case.clinic.name, case.fraction)
    planning, daily = Path(folder) / "planning", Path(folder) / "daily"
    for place, volume, identity in ((planning, case.planning, plan), (daily, case.daily, day)):
        place.mkdir(parents=True, exist_ok=True)
        files = write_ct_series(volume, identity=identity, patient_position=patient_position)
        for number, content in enumerate(files, start=1):
            (place / f"CT_{number:04d}.dcm").write_bytes(content)
    structures = write_structure_set(
        case.planning_structures,
        identity=plan,
        geometry=case.planning.geometry,
        patient_position=patient_position,
    )
    (planning / "RS.dcm").write_bytes(structures)


def _file(sop_class: str, instance: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = instance
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = uid_of(MANUFACTURER)
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = instance
    return dataset


def _describe_patient(dataset: Dataset, identity: SeriesIdentity, position: str) -> None:
    dataset.PatientName = "Phantom^Virtual"
    dataset.PatientID = identity.patient
    dataset.PatientBirthDate = ""
    dataset.PatientSex = "M"
    dataset.StudyInstanceUID = identity.study_uid
    dataset.StudyDate, dataset.StudyTime = identity.date, "080000"
    dataset.SeriesDate, dataset.SeriesTime = identity.date, "080000"
    dataset.ReferringPhysicianName = ""
    dataset.StudyID = "1"
    dataset.AccessionNumber = ""
    dataset.Manufacturer = MANUFACTURER
    dataset.ManufacturerModelName = "virtual pelvis"
    dataset.SoftwareVersions = "1"
    if position:
        dataset.PatientPosition = position
        dataset.ContentDate, dataset.ContentTime = identity.date, "080000"
        dataset.AcquisitionDate, dataset.AcquisitionTime = identity.date, "080000"


def _item(**attributes: object) -> Dataset:
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return item


def _image_reference(identity: SeriesIdentity, plane: int) -> Dataset:
    return _item(ReferencedSOPClassUID=CT_IMAGE_STORAGE, ReferencedSOPInstanceUID=identity.image_uid(plane))


def _roi(roi: Roi, identity: SeriesIdentity) -> Dataset:
    return _item(
        ROINumber=roi.number,
        ReferencedFrameOfReferenceUID=identity.frame_uid,
        ROIName=roi.name,
        ROIGenerationAlgorithm="MANUAL",
    )


def _roi_contours(roi: Roi, identity: SeriesIdentity, geometry: VolumeGeometry) -> Dataset:
    item = _item(ReferencedROINumber=roi.number)
    if roi.colour is not None:
        item.ROIDisplayColor = list(roi.colour)
    loops = []
    for contour in sorted(roi.contours, key=lambda c: c.z_mm):
        corners = _rounded(contour)
        plane = round((contour.z_mm - geometry.origin_mm[2]) / geometry.spacing_mm[2])
        if len(corners) < 3:
            continue
        loop = _item(ContourGeometricType="CLOSED_PLANAR", NumberOfContourPoints=len(corners))
        loop.ContourImageSequence = Sequence([_image_reference(identity, plane)])
        loop.ContourData = [text for x, y in corners for text in (f"{x:.2f}", f"{y:.2f}", f"{contour.z_mm:.2f}")]
        loops.append(loop)
    if loops:
        item.ContourSequence = Sequence(loops)
    return item


def _rounded(contour: Contour) -> PointsXy:
    """Corners with two decimals, without repetitions."""
    corners = np.round(contour.xy_mm, 2) + 0.0
    keep = np.any(corners != np.roll(corners, 1, axis=0), axis=1)
    return corners[keep]


def _observation(roi: Roi) -> Dataset:
    return _item(
        ObservationNumber=roi.number,
        ReferencedROINumber=roi.number,
        RTROIInterpretedType=roi.interpreted_type,
        ROIInterpreter="",
    )


def _decimal(value: float) -> str:
    """A decimal string of at most 16 characters."""
    return f"{round(float(value), 6) + 0.0:.10g}"


def _bytes(dataset: FileDataset) -> bytes:
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()
