"""An RTSTRUCT to the structure set of the planning CT, or a typed refusal. PS3.3 A.19, C.8.8.5, C.8.8.6, C.8.8.8."""

from dataclasses import dataclass

import numpy as np
from pydicom import Dataset

from imaging.dicom import tags
from imaging.dicom.attributes import (
    items,
    needed_uid,
    text,
    typed_errors,
    uid,
    whole,
)
from imaging.dicom.contour_placing import Corrections, place
from imaging.dicom.contour_reading import StoredContours, read_contours
from imaging.dicom.decimal_strings import parse_decimals
from imaging.dicom.header import copyable_header
from imaging.dicom.limits import ReadLimits
from imaging.dicom.objects import CtSeries, PlannedStructures
from imaging.dicom.parse import DicomObject
from imaging.dicom.references import referenced_series
from imaging.errors import (
    MissingObject,
    RoiAmbiguous,
    StructureReferenceMismatch,
    TooLarge,
    UnsupportedObject,
    ValueInvalid,
)
from imaging.findings import Finding, Verdict
from imaging.structures import Roi, StructureSet


@dataclass(frozen=True)
class _Observation:
    interpreted_type: str
    codes: tuple[tuple[str, str, str], ...]


def read_structure_set(obj: DicomObject, planning: CtSeries, *, limits: ReadLimits) -> PlannedStructures:
    """Read the structures that were drawn on `planning`.

    ROIs keep number, name, colour, type and codes. Loops of one plane combine by the even-odd rule, whether they are
    stored as CLOSED_PLANAR, as keyholes or as CLOSEDPLANAR_XOR.

    Raises:
        StructureReferenceMismatch: If it was drawn on another CT.
        RoiAmbiguous: If an ROI number occurs twice.
        ValueInvalid: If a needed attribute is missing or malformed, or a contour is not axial.
        TooLarge: If there are more ROIs, contours or points than `limits` allow.
    """
    if not obj.is_structure_set:
        raise UnsupportedObject("the planning structures are no RTSTRUCT; send the RTSTRUCT of the planning CT")
    with typed_errors("the structure set"):
        dataset = obj.dataset
        described = _described_rois(dataset, planning, limits)
        if not dataset.get_item(tags.ROI_CONTOUR_SEQUENCE):
            raise ValueInvalid("the structure set has no ROI Contour Sequence; export it anew")
        stored = read_contours(dataset, limits=limits)
        _check_known(stored, described)
        _check_images(dataset, stored, planning)
        contours, found = place(stored, planning.volume.geometry, planning.sop_instance_uids)
        colours, observations = _colours(stored), _observations(dataset)
        rois = [
            Roi(
                number=number,
                name=name,
                interpreted_type=observations[number].interpreted_type if number in observations else "",
                colour=colours.get(number),
                contours=contours.get(number, ()),
                codes=observations[number].codes if number in observations else (),
            )
            for number, name in described.items()
        ]
        header, _ = copyable_header(dataset)
        structures = StructureSet(
            rois=tuple(rois),
            label=text(dataset, tags.STRUCTURE_SET_LABEL),
            sop_instance_uid=needed_uid(dataset, tags.SOP_INSTANCE_UID, "SOP Instance UID"),
        )
    notices = _notices(structures, stored, found, observations)
    return PlannedStructures(structures, header, obj.sha256, tuple(notices))


def _described_rois(dataset: Dataset, planning: CtSeries, limits: ReadLimits) -> dict[int, str]:
    """Name by number, in the order of the file."""
    described: dict[int, str] = {}
    frames = set()
    for item in items(dataset, tags.STRUCTURE_SET_ROI_SEQUENCE):
        number = whole(item, tags.ROI_NUMBER, "ROI Number")
        if number is None:
            raise ValueInvalid("an ROI has no number; export the structure set anew")
        if number in described:
            raise RoiAmbiguous(f"ROI number {number} occurs twice; export the structure set anew", number=number)
        described[number] = text(item, tags.ROI_NAME)
        frames.add(uid(item, tags.REFERENCED_FRAME_OF_REFERENCE_UID, "Referenced Frame of Reference UID"))
    if not described:
        raise MissingObject("the structure set holds no ROI; send the RTSTRUCT of the plan")
    if len(described) > limits.rois:
        raise TooLarge(f"the structure set has {len(described)} ROIs, {limits.rois} are read", limit=limits.rois)
    frames.discard("")
    if not frames:
        listed = items(dataset, tags.REFERENCED_FRAME_OF_REFERENCE_SEQUENCE)
        frames = {uid(item, tags.FRAME_OF_REFERENCE_UID, "Frame of Reference UID") for item in listed} - {""}
        frames = frames & {planning.frame_of_reference_uid} or frames
    if frames and frames != {planning.frame_of_reference_uid}:
        raise StructureReferenceMismatch(
            "ROIs of the structure set were drawn in another frame of reference than the planning CT's; "
            "send the CT that they were drawn on"
        )
    return described


def _check_known(stored: StoredContours, described: dict[int, str]) -> None:
    unknown = set(stored.roi_numbers) - described.keys()
    if unknown:
        raise ValueInvalid(
            f"contours name ROI number {min(unknown)}, which the structure set does not describe; export it anew",
            number=min(unknown),
        )


def _check_images(dataset: Dataset, stored: StoredContours, planning: CtSeries) -> None:
    """Refuse a structure set that names other images; one whose every name is odd passes if it names the series."""
    series = referenced_series(dataset)
    if series and planning.series_instance_uid not in series:
        raise StructureReferenceMismatch(
            "the structure set names another series than the planning CT that was sent; send the CT it was drawn on"
        )
    named = set(stored.image_uids) - {""}
    known = named.intersection(planning.sop_instance_uids)
    if named and not known and not series:
        raise StructureReferenceMismatch(
            f"none of the {len(named)} images that the contours name was sent; send the CT that they were drawn on",
            count=len(named),
        )


def _colours(stored: StoredContours) -> dict[int, tuple[int, int, int]]:
    colours = {}
    for number, value in stored.colours.items():
        try:
            values = parse_decimals(value, "ROI Display Color")
        except ValueInvalid:
            continue
        if len(values) == 3:
            red, green, blue = (int(component) for component in np.clip(values, 0, 255))
            colours[number] = red, green, blue
    return colours


def _observations(dataset: Dataset) -> dict[int, _Observation]:
    observations: dict[int, _Observation] = {}
    for item in items(dataset, tags.RT_ROI_OBSERVATIONS_SEQUENCE):
        number = whole(item, tags.REFERENCED_ROI_NUMBER, "Referenced ROI Number")
        if number is None:
            continue
        codes = tuple(
            (text(code, tags.CODE_VALUE), text(code, tags.CODING_SCHEME), text(code, tags.CODE_MEANING))
            for code in items(item, tags.RT_ROI_IDENTIFICATION_CODE_SEQUENCE)
        )
        observation = _Observation(text(item, tags.RT_ROI_INTERPRETED_TYPE).upper(), codes)
        if not observations.setdefault(number, observation).interpreted_type:
            observations[number] = observation
    return observations


def _notices(
    structures: StructureSet, stored: StoredContours, found: Corrections, observations: dict[int, _Observation]
) -> list[Finding]:
    notices = [
        Finding(check, Verdict.REVIEW, message.format(value=value), value, unit=unit)
        for check, value, unit, message in (
            ("contour-without-image", found.without_image, "", "{value} contours name no image; placed by their plane"),
            (
                "contour-image-unknown",
                found.unknown_image,
                "",
                "{value} contours name an image that was not sent; placed by their plane",
            ),
            (
                "contour-snapped",
                round(found.largest_snap_mm, 3),
                "mm",
                f"{found.snapped} contours lay between slices, at most {{value}} mm off; moved onto the nearest slice",
            ),
            (
                "contour-between-slices",
                found.between_planes,
                "",
                "{value} contours between slices were dropped where a nearer one of the same ROI exists",
            ),
            (
                "contour-degenerate",
                found.degenerate,
                "",
                "{value} contours without area or of fewer than 3 points were dropped",
            ),
        )
        if value
    ]
    for roi in structures.rois:
        number = roi.number
        if stored.passed_over.get(number):
            count = stored.passed_over[number]
            message = f"{count} points or open contours of this ROI were passed over"
            notices.append(Finding("roi-open-contours", Verdict.REVIEW, message, count, roi_number=number))
        lost = bool(found.apart.get(number)) and not roi.contours
        if found.outside.get(number):
            count, apart = found.outside[number], found.apart.get(number, 0)
            dropped = f"; {apart} of them lie outside it and were dropped" if apart else ""
            message = f"{count} contours of this ROI reach beyond the planning CT{dropped}"
            if lost:
                message = (
                    f"all {count} contours of this ROI lie outside the planning CT: it stays empty; correct the plan"
                )
            verdict = Verdict.FAIL if lost else Verdict.REVIEW
            notices.append(Finding("contour-outside-image", verdict, message, count, roi_number=number))
        if not roi.contours and not lost:
            message = "this ROI has no closed contour in the plan and stays empty"
            notices.append(Finding("roi-empty-in-plan", Verdict.REVIEW, message, roi_number=number))
    undescribed = sum(roi.number not in observations for roi in structures.rois)
    if undescribed:
        message = f"{undescribed} ROIs have no interpreted type"
        notices.append(Finding("roi-without-observation", Verdict.REVIEW, message, undescribed))
    return notices
