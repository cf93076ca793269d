"""StructureSet to RTSTRUCT on the daily CT. PS3.3 A.19.3, C.8.8.5, C.8.8.6, C.8.8.8.

Identical inputs give identical bytes: no clock and no random number enters, dates are those of the daily CT and every
UID is a hash of what the object was made from.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from typing import Literal, TypeAlias

from highdicom import AlgorithmIdentificationSequence, ContributingEquipment
from highdicom.base import SOPClass
from pydicom import DataElement, Dataset, dcmwrite
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ImplicitVRLittleEndian, RTStructureSetStorage

from imaging.dicom.contour_bytes import item
from imaging.dicom.objects import CtSeries, PlannedStructures
from imaging.dicom.provenance import IMPLEMENTATION_CLASS_UID, MANUFACTURER, Provenance, uid_from
from imaging.dicom.roi_items import EncodedRoi, Holes, encode_rois, image_items
from imaging.dicom.texts import encodable
from imaging.structures import Roi, StructureSet

Kind: TypeAlias = Literal["RECOMMENDED", "PROPAGATED", "SEGMENTED"]

DETACHED_STUDY_MANAGEMENT = "1.2.840.10008.3.1.2.3.1"
"""Referenced SOP Class UID that PS3.3 C.8.8.5 asks for in RT Referenced Study Sequence."""

SERIES_NUMBERS: dict[Kind, int] = {"RECOMMENDED": 9001, "PROPAGATED": 9002, "SEGMENTED": 9003}

PATIENT_AND_STUDY = (
    *("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex"),
    *("PatientAge", "PatientSize", "PatientWeight"),
    *("StudyInstanceUID", "StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber"),
    "StudyDescription",
)
"""Attributes of the daily CT that the answer repeats, as they are."""


def write_structure_sets(
    sets: Mapping[Kind, StructureSet],
    *,
    daily: CtSeries,
    plan: PlannedStructures,
    provenance: Provenance,
    holes: Holes = "keyhole",
) -> dict[Kind, bytes]:
    """RTSTRUCT files, Implicit VR Little Endian, unapproved.

    Args:
        sets: ROIs on the daily CT per kind of answer; at least one in each. An ROI without contours is kept as an empty
            ROI that says so. One that stands in several sets is encoded once.
        daily: The CT that was contoured: patient, study, frame of reference and slices are taken from it.
        plan: The structure set that it descends from.
        provenance: Software, model and inputs.
        holes: How a hole is written: joined to the outer loop by a corridor of no width, or as CLOSEDPLANAR_XOR.

    Returns:
        The bytes of each file; the same for the same arguments.

    Raises:
        ValueError: A set has no ROI, or a contour lies on none of the slices or has a coordinate that is not finite.
    """
    rois = tuple(dict.fromkeys(roi for structures in sets.values() for roi in structures.rois))
    charset = _charset(rois, daily.header)
    encoded = encode_rois(
        rois,
        daily=daily,
        holes=holes,
        charset=charset,
        algorithm=_item(_algorithm(provenance)[0]),
        made_by=f"automatic, {provenance.model_identity}",
    )
    answers = {}
    for kind, structures in sets.items():
        items = [encoded[roi] for roi in structures.rois]
        answers[kind] = _file(
            RTStructureSet(items, charset=charset, kind=kind, daily=daily, plan=plan, provenance=provenance)
        )
    return answers


def write_structure_set(
    structures: StructureSet,
    *,
    kind: Kind,
    daily: CtSeries,
    plan: PlannedStructures,
    provenance: Provenance,
    holes: Holes = "keyhole",
) -> bytes:
    """One file of `write_structure_sets`."""
    return write_structure_sets({kind: structures}, daily=daily, plan=plan, provenance=provenance, holes=holes)[kind]


def _file(dataset: Dataset) -> bytes:
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


class RTStructureSet(SOPClass):
    """RT Structure Set IOD.

    The sequences of ROIs and of slices are held as the bytes of their items, so it must be written in Implicit VR
    Little Endian; read back from the file they are ordinary sequences.
    """

    def __init__(
        self,
        rois: Sequence[EncodedRoi],
        *,
        charset: str | Sequence[str] | None,
        kind: Kind,
        daily: CtSeries,
        plan: PlannedStructures,
        provenance: Provenance,
    ) -> None:
        if not rois:
            raise ValueError("a structure set needs at least one ROI; leave this object out of the answer")
        described, contours, observed = (b"".join(items) for items in zip(*rois, strict=True))
        sources = (kind, daily.digest, plan.digest, *vars(provenance).values())
        super().__init__(
            study_instance_uid=str(daily.header.StudyInstanceUID),
            series_instance_uid=uid_from("series", *sources),
            series_number=SERIES_NUMBERS[kind],
            # The contours count too: another processor may round a coordinate otherwise, and then it is another object.
            sop_instance_uid=uid_from("instance", *sources, described, contours, observed),
            sop_class_uid=RTStructureSetStorage,
            instance_number=1,
            modality="RTSTRUCT",
            manufacturer=MANUFACTURER,
            transfer_syntax_uid=ImplicitVRLittleEndian,
            series_description=f"AUTO/UNREVIEWED {kind}",
            manufacturer_model_name=MANUFACTURER,
            software_versions=provenance.software_version,
        )
        self.file_meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
        self.file_meta.ImplementationVersionName = provenance.implementation_version
        for keyword in PATIENT_AND_STUDY:
            if keyword in daily.header:
                self.add(daily.header[keyword])
        if charset is not None:
            self.SpecificCharacterSet = charset
        self._describe(kind, daily, plan, provenance)
        self._reference(daily)
        for tag, items in ((0x30060020, described), (0x30060039, contours), (0x30060080, observed)):
            self.add(DataElement(tag, "OB", items))
        self.ApprovalStatus = "UNAPPROVED"

    def _describe(self, kind: Kind, daily: CtSeries, plan: PlannedStructures, provenance: Provenance) -> None:
        # The daily CT's own date and time: the clock would make two answers to one question differ, and the scan is
        # the moment whose anatomy the contours show.
        self.StructureSetDate, self.StructureSetTime = _scan_time(daily.header)
        # Optional (PS3.3 C.12.1.1), set by the base class from the clock, and the scan's time would be untrue.
        del self.InstanceCreationDate, self.InstanceCreationTime
        self.OperatorsName = ""
        self.StructureSetLabel = f"AUTO {kind}"
        self.StructureSetDescription = (
            f"Automatic contours on the CT of the day ({kind}), not reviewed. Model: {provenance.model_identity}. "
            f"Software: {MANUFACTURER} {provenance.software_version}. Inputs: {provenance.inputs_digest[:16]}."
        )
        predecessor = plan.structures.sop_instance_uid or str(plan.header.get("SOPInstanceUID", ""))
        if predecessor:
            self.PredecessorStructureSetSequence = [_reference_to(RTStructureSetStorage, predecessor)]
        self.ContributingEquipmentSequence = [_equipment(provenance)]

    def _reference(self, daily: CtSeries) -> None:
        self.FrameOfReferenceUID = daily.frame_of_reference_uid
        self.PositionReferenceIndicator = daily.header.get("PositionReferenceIndicator", "")
        series = Dataset()
        series.SeriesInstanceUID = daily.series_instance_uid
        series.add(DataElement(0x30060016, "OB", b"".join(image_items(daily))))
        study = _reference_to(DETACHED_STUDY_MANAGEMENT, str(daily.header.StudyInstanceUID))
        study.RTReferencedSeriesSequence = [series]
        frame = Dataset()
        frame.FrameOfReferenceUID = daily.frame_of_reference_uid
        frame.RTReferencedStudySequence = [study]
        self.ReferencedFrameOfReferenceSequence = [frame]


def _charset(rois: Iterable[Roi], header: Dataset) -> str | Sequence[str] | None:
    """Specific Character Set of all answers; None for the default repertoire.

    The plan may name its ROIs in letters that the daily CT's character set lacks; UTF-8 holds both.
    """
    charset: str | Sequence[str] | None = header.get("SpecificCharacterSet")
    texts = [text for roi in rois for text in (roi.name, *(meaning for _, _, meaning in roi.codes))]
    return charset if encodable(texts, charset) else "ISO_IR 192"


def _reference_to(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID = sop_class_uid
    reference.ReferencedSOPInstanceUID = sop_instance_uid
    return reference


def _item(dataset: Dataset) -> bytes:
    """A dataset in ASCII as one item of a sequence."""
    buffer = DicomBytesIO()
    buffer.is_little_endian = buffer.is_implicit_VR = True
    write_dataset(buffer, dataset)
    return item(buffer.getvalue())


def _algorithm(provenance: Provenance) -> AlgorithmIdentificationSequence:
    if provenance.model_name:
        return AlgorithmIdentificationSequence(
            name=provenance.model_name,
            family=codes.DCM.ArtificialIntelligence,
            version=provenance.model_version,
            source=MANUFACTURER,
        )
    return AlgorithmIdentificationSequence(
        name=MANUFACTURER,
        family=codes.DCM.ImageContentBasedAlignment,
        version=provenance.software_version,
        source=MANUFACTURER,
    )


def _equipment(provenance: Provenance) -> ContributingEquipment:
    """The model as equipment, with the identifier that changes with every training (IHE AI Results asks for it)."""
    equipment = ContributingEquipment(
        manufacturer=MANUFACTURER,
        purpose_of_reference=codes.DCM.ProcessingEquipment,
        manufacturer_model_name=provenance.model_name or MANUFACTURER,
        software_versions=[
            text for text in (provenance.model_version, f"{MANUFACTURER} {provenance.software_version}") if text
        ],
        contribution_description="Automatic contouring, not reviewed",
    )
    if provenance.model_device_uid:
        equipment.DeviceUID = provenance.model_device_uid
    return equipment


def _scan_time(header: Dataset) -> tuple[str, str]:
    """Date and time of the scan, or empty values."""
    for event in ("Acquisition", "Content", "Series", "Study"):
        date, time = str(header.get(f"{event}Date") or ""), str(header.get(f"{event}Time") or "")
        if re.fullmatch(r"\d{8}", date):
            return date, time if re.fullmatch(r"\d{2}|\d{4}|\d{6}(\.\d{1,6})?", time) else ""
    return "", ""
