"""StructureSet to RTSTRUCT on the daily CT. PS3.3 A.19.3, C.8.8.5, C.8.8.6, C.8.8.8.

Identical inputs give identical bytes: no clock and no random number enters, dates are those of the daily CT and every
UID is a hash of what the object was made from.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Literal, TypeAlias

import numpy as np
from highdicom import AlgorithmIdentificationSequence, ContributingEquipment
from highdicom.base import SOPClass
from pydicom import DataElement, Dataset, dcmwrite
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ImplicitVRLittleEndian, RTStructureSetStorage

from imaging.dicom.contour_bytes import EncodedLoops, PlanarLoop, element, encode_loops, item
from imaging.dicom.objects import CtSeries, PlannedStructures
from imaging.dicom.provenance import IMPLEMENTATION_CLASS_UID, MANUFACTURER, Provenance, uid_from
from imaging.dicom.texts import encodable, long_string
from imaging.holes import containment, to_keyholes
from imaging.rasterize import SAME_PLANE_MM
from imaging.structures import Contour, Roi, StructureSet

Kind: TypeAlias = Literal["RECOMMENDED", "PROPAGATED", "SEGMENTED"]
Holes: TypeAlias = Literal["keyhole", "xor"]

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

EMPTY_ROI = "EMPTY: no result on this CT"


@dataclass(frozen=True, eq=False)
class _DrawnRoi:
    """An ROI with its loops as they will be written."""

    roi: Roi
    loops: tuple[PlanarLoop, ...]
    signs: tuple[int, ...]
    geometric_type: str


@dataclass(frozen=True, eq=False)
class _EncodedRoi:
    """An ROI as its item of ROI Contour Sequence."""

    item: bytes
    volume_cc: float
    empty: bool


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
    encoded = _encoded(dict.fromkeys(roi for structures in sets.values() for roi in structures.rois), daily, holes)
    return {
        kind: _file(RTStructureSet(structures, encoded, kind=kind, daily=daily, plan=plan, provenance=provenance))
        for kind, structures in sets.items()
    }


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

    Sequences that are long, or the same in every ROI, are held as the bytes of their items (see `contour_bytes`), so it
    must be written in Implicit VR Little Endian; read back from the file they are ordinary sequences.
    """

    def __init__(
        self,
        structures: StructureSet,
        encoded: Mapping[Roi, _EncodedRoi],
        *,
        kind: Kind,
        daily: CtSeries,
        plan: PlannedStructures,
        provenance: Provenance,
    ) -> None:
        if not structures.rois:
            raise ValueError("a structure set needs at least one ROI; leave this object out of the answer")
        contours = b"".join(encoded[roi].item for roi in structures.rois)
        sources = (kind, daily.digest, plan.digest, *vars(provenance).values())
        super().__init__(
            study_instance_uid=str(daily.header.StudyInstanceUID),
            series_instance_uid=uid_from("series", *sources),
            series_number=SERIES_NUMBERS[kind],
            # The contours count too: another processor may round a coordinate otherwise, and then it is another object.
            sop_instance_uid=uid_from(
                "instance", *sources, repr([_described(roi) for roi in structures.rois]), contours
            ),
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
        self._copy_patient_and_study(daily.header, structures)
        self._describe(kind, daily, plan, provenance)
        self._reference(daily)
        algorithm = DataElement(0x30060037, "OB", _item(_algorithm(provenance)[0]))
        self.StructureSetROISequence = [
            _structure_set_roi(roi, encoded[roi], daily, provenance, algorithm) for roi in structures.rois
        ]
        self.add(DataElement(0x30060039, "OB", contours))
        self.RTROIObservationsSequence = [_observation(i, roi) for i, roi in enumerate(structures.rois, start=1)]
        self.ApprovalStatus = "UNAPPROVED"

    def _copy_patient_and_study(self, header: Dataset, structures: StructureSet) -> None:
        for keyword in PATIENT_AND_STUDY:
            if keyword in header:
                self.add(header[keyword])
        charset = header.get("SpecificCharacterSet")
        texts = [*(roi.name for roi in structures.rois), *(m for roi in structures.rois for _, _, m in roi.codes)]
        # The plan may name its ROIs in letters that the daily CT's character set lacks; UTF-8 holds both.
        self.SpecificCharacterSet = charset if encodable(texts, charset) else "ISO_IR 192"
        if self.SpecificCharacterSet is None:
            del self.SpecificCharacterSet

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
        series.add(DataElement(0x30060016, "OB", b"".join(_image_items(daily))))
        study = _reference_to(DETACHED_STUDY_MANAGEMENT, str(daily.header.StudyInstanceUID))
        study.RTReferencedSeriesSequence = [series]
        frame = Dataset()
        frame.FrameOfReferenceUID = daily.frame_of_reference_uid
        frame.RTReferencedStudySequence = [study]
        self.ReferencedFrameOfReferenceSequence = [frame]


def _reference_to(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID = sop_class_uid
    reference.ReferencedSOPInstanceUID = sop_instance_uid
    return reference


def _drawn(roi: Roi, daily: CtSeries, holes: Holes) -> _DrawnRoi:
    """The ROI's loops per slice, holes joined or marked."""
    by_plane: dict[int, list[Contour]] = {}
    for contour in roi.contours:
        by_plane.setdefault(_plane_of(contour, daily), []).append(contour)
    loops, signs, any_hole = [], [], False
    for plane in sorted(by_plane):
        corners = [contour.xy_mm for contour in by_plane[plane]]
        if holes == "keyhole":
            corners = to_keyholes(corners)
            signs += [1] * len(corners)
        else:
            nested = containment(corners).sum(axis=1) % 2
            any_hole = any_hole or bool(nested.any())
            signs += [-1 if odd else 1 for odd in nested]
        loops += [PlanarLoop(plane, xy) for xy in corners]
    # One ROI never mixes the two types.
    return _DrawnRoi(roi, tuple(loops), tuple(signs), "CLOSEDPLANAR_XOR" if any_hole else "CLOSED_PLANAR")


def _plane_of(contour: Contour, daily: CtSeries) -> int:
    geometry = daily.volume.geometry
    position = (contour.z_mm - geometry.origin_mm[2]) / geometry.spacing_mm[2]
    plane = round(position)
    off_mm = abs(position - plane) * geometry.spacing_mm[2]
    if not 0 <= plane < geometry.shape[0] or off_mm > SAME_PLANE_MM:
        raise ValueError(f"a contour at z {contour.z_mm:.2f} mm lies on none of the {geometry.shape[0]} slices")
    return plane


def _encoded(rois: Iterable[Roi], daily: CtSeries, holes: Holes) -> dict[Roi, _EncodedRoi]:
    """Item of ROI Contour Sequence, and volume in cubic centimetres, per ROI."""
    geometry = daily.volume.geometry
    drawn = [_drawn(roi, daily, holes) for roi in rois]
    every = encode_loops([loop for one in drawn for loop in one.loops], geometry.axis_mm("z").tolist())
    images = [element(0x30060016, reference) for reference in _image_items(daily)]
    encoded, start = {}, 0
    for one in drawn:
        end = start + len(one.loops)
        own = EncodedLoops(every.data[start:end], every.points[start:end], every.areas_mm2[start:end])
        volume_cc = float(np.dot(one.signs, own.areas_mm2)) * geometry.spacing_mm[2] / 1000.0
        encoded[one.roi] = _EncodedRoi(_roi_contour_item(one, own, images), volume_cc, not any(own.points))
        start = end
    return encoded


def _image_items(daily: CtSeries) -> list[bytes]:
    """Per slice, its item of a Contour Image Sequence."""
    sop_class = element(0x00081150, str(daily.header.SOPClassUID).encode(), pad=b"\0")
    return [item(sop_class + element(0x00081155, uid.encode(), pad=b"\0")) for uid in daily.sop_instance_uids]


def _roi_contour_item(one: _DrawnRoi, loops: EncodedLoops, images: Sequence[bytes]) -> bytes:
    """One item of ROI Contour Sequence; without Contour Sequence where there is nothing to draw."""
    geometric_type = element(0x30060042, one.geometric_type.encode())
    contours: list[bytes] = []
    for loop, data, points in zip(one.loops, loops.data, loops.points, strict=True):
        if not points:
            continue
        contours.append(
            item(
                images[loop.plane]
                + geometric_type
                + element(0x30060046, b"%d" % points)
                + element(0x30060048, b"%d" % (len(contours) + 1))
                + element(0x30060050, data)
            )
        )
    content = b""
    if one.roi.colour is not None:
        content += element(0x3006002A, b"\\".join(b"%d" % min(255, max(0, part)) for part in one.roi.colour))
    if contours:
        content += element(0x30060040, b"".join(contours))
    return item(content + element(0x30060084, b"%d" % one.roi.number))


def _structure_set_roi(
    roi: Roi, encoded: _EncodedRoi, daily: CtSeries, provenance: Provenance, algorithm: DataElement
) -> Dataset:
    described = Dataset()
    described.ROINumber = roi.number
    described.ReferencedFrameOfReferenceUID = daily.frame_of_reference_uid
    described.ROIName = long_string(roi.name)
    if not encoded.empty:
        described.ROIVolume = f"{encoded.volume_cc:.4f}"
    described.ROIGenerationAlgorithm = "AUTOMATIC"
    generation = roi.generation
    if encoded.empty and not generation.upper().startswith("EMPTY"):
        generation = f"{EMPTY_ROI}; {generation}" if generation else EMPTY_ROI
    described.ROIGenerationDescription = long_string(generation or f"automatic, {provenance.model_identity}")
    described.add(algorithm)
    return described


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


def _observation(number: int, roi: Roi) -> Dataset:
    observation = Dataset()
    observation.ObservationNumber = number
    observation.ReferencedROINumber = roi.number
    items = [_code(*code) for code in roi.codes if all(code)]
    if items:
        observation.RTROIIdentificationCodeSequence = items
    interpreted = roi.interpreted_type.upper()
    observation.RTROIInterpretedType = interpreted if re.fullmatch(r"[A-Z0-9_ ]{0,16}", interpreted) else ""
    observation.ROIInterpreter = ""
    return observation


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    code = Dataset()
    setattr(code, "CodeValue" if len(value) <= 16 else "LongCodeValue", value)
    code.CodingSchemeDesignator = scheme[:16]
    code.CodeMeaning = long_string(meaning)
    return code


def _described(roi: Roi) -> tuple[object, ...]:
    """What is written of an ROI beside its contours."""
    return roi.number, roi.name, roi.interpreted_type, roi.colour, roi.generation, roi.codes


def _scan_time(header: Dataset) -> tuple[str, str]:
    """Date and time of the scan, or empty values."""
    for event in ("Acquisition", "Content", "Series", "Study"):
        date, time = str(header.get(f"{event}Date") or ""), str(header.get(f"{event}Time") or "")
        if re.fullmatch(r"\d{8}", date):
            return date, time if re.fullmatch(r"\d{2}|\d{4}|\d{6}(\.\d{1,6})?", time) else ""
    return "", ""
