import dataclasses
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmread

from imaging.dicom.contour_bytes import PlanarLoop, encode_loops
from imaging.dicom.objects import CtSeries
from imaging.dicom.provenance import Provenance, uid_from
from imaging.dicom.roi_items import Holes
from imaging.dicom.structure_set_writer import Kind, write_structure_set, write_structure_sets
from imaging.geometry import VolumeGeometry
from imaging.structures import Contour, Roi, StructureSet
from tests.closed_form import (
    PROVENANCE,
    circle,
    ct_header,
    daily_series,
    even_odd_cc,
    heights,
    planned,
    rectangle,
    sphere,
    tube,
)
from tests.referees import dciodvfy_errors, needs_dciodvfy

GRID = VolumeGeometry((12, 64, 64), (-64.0, -64.0, -50.125), (2.0, 2.0, 2.5))
BALL = sphere(5, "Blase", (0.0, 0.0, -35.0), 12.0, GRID)
RING = tube(8, "Rectum_Wall", (10.0, -5.0), (20.0, 12.0, 5.0), heights(GRID, -48, -28))
EMPTY = Roi(3, "GTV", interpreted_type="GTV", colour=(255, 0, 0))
CODED = dataclasses.replace(
    EMPTY,
    number=11,
    name="PTV",
    contours=(rectangle(-50.125, -10, -10, 10.5, 10),),
    codes=(("T-1", "99PLAN", "Target"),),
)
PLAN = StructureSet((BALL, RING, EMPTY, CODED), sop_instance_uid="2.25.99")


def write(
    structures: StructureSet = PLAN,
    *,
    kind: Kind = "RECOMMENDED",
    daily: CtSeries | None = None,
    provenance: Provenance = PROVENANCE,
    holes: Holes = "keyhole",
) -> bytes:
    return write_structure_set(
        structures,
        kind=kind,
        daily=daily or daily_series(GRID),
        plan=planned(PLAN),
        provenance=provenance,
        holes=holes,
    )


def written(structures: StructureSet = PLAN, **changes: object) -> Dataset:
    return dcmread(BytesIO(write(structures, **changes)))  # type: ignore[arg-type]


def test_identical_input_gives_identical_bytes() -> None:
    assert write() == write()


def test_sets_that_share_rois_are_written_as_each_of_them_alone() -> None:
    sets: dict[Kind, StructureSet] = {"RECOMMENDED": PLAN, "SEGMENTED": StructureSet((RING, EMPTY))}
    together = write_structure_sets(sets, daily=daily_series(GRID), plan=planned(PLAN), provenance=PROVENANCE)
    assert together == {kind: write(structures, kind=kind) for kind, structures in sets.items()}


def test_patient_and_study_are_those_of_the_daily_ct() -> None:
    answer, header = written(), ct_header()
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyID"):
        assert answer[keyword].value == header[keyword].value
    assert answer.AccessionNumber == "A7"
    assert answer.FrameOfReferenceUID == "2.25.12"


def test_attributes_that_must_be_there_are_there_although_the_ct_lacks_them() -> None:
    bare = Dataset()
    bare.SOPClassUID, bare.StudyInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "2.25.11"
    answer = written(daily=daily_series(GRID, bare))
    for keyword in (
        *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID"),
        *("AccessionNumber", "ReferringPhysicianName", "SeriesNumber", "OperatorsName", "Manufacturer"),
        *("StructureSetDate", "StructureSetTime", "PositionReferenceIndicator"),
    ):
        assert keyword in answer


def test_the_answer_is_marked_as_automatic_and_unreviewed() -> None:
    answer = written()
    assert answer.ApprovalStatus == "UNAPPROVED"
    assert "ReviewerName" not in answer
    assert answer.SeriesDescription == "AUTO/UNREVIEWED RECOMMENDED"
    assert {roi.ROIGenerationAlgorithm for roi in answer.StructureSetROISequence} == {"AUTOMATIC"}


@pytest.mark.parametrize("kind", ["RECOMMENDED", "PROPAGATED", "SEGMENTED"])
def test_the_label_fits_its_sixteen_characters(kind: Kind) -> None:
    label = written(kind=kind).StructureSetLabel
    assert kind in label
    assert len(label) <= 16


def test_the_file_is_implicit_little_endian_with_an_empty_preamble_and_our_own_class_uid() -> None:
    answer = written()
    assert answer.preamble == b"\0" * 128
    assert answer.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2"
    assert answer.file_meta.ImplementationClassUID.startswith("2.25.")
    assert answer.file_meta.ImplementationVersionName == "RECONTOUR_0.1.0"
    assert answer.file_meta.MediaStorageSOPInstanceUID == answer.SOPInstanceUID


def test_date_and_time_are_those_of_the_scan() -> None:
    answer = written()
    assert (answer.StructureSetDate, answer.StructureSetTime) == ("20240305", "091500.5")
    header = ct_header()
    del header.AcquisitionDate
    answer = written(daily=daily_series(GRID, header))
    assert (answer.StructureSetDate, answer.StructureSetTime) == ("20240304", "101112")


def test_no_time_of_writing_is_stated_because_no_clock_is_asked() -> None:
    answer = written()
    assert "InstanceCreationDate" not in answer
    assert "InstanceCreationTime" not in answer


def test_number_name_colour_type_and_codes_of_the_plan_are_kept() -> None:
    answer = written()
    rois, contours, observed = (
        answer[keyword].value
        for keyword in ("StructureSetROISequence", "ROIContourSequence", "RTROIObservationsSequence")
    )
    assert [(roi.ROINumber, roi.ROIName) for roi in rois] == [(r.number, r.name) for r in PLAN.rois]
    assert [tuple(one.ROIDisplayColor) for one in contours] == [r.colour for r in PLAN.rois]
    assert [one.RTROIInterpretedType for one in observed] == [r.interpreted_type for r in PLAN.rois]
    (code,) = observed[3].RTROIIdentificationCodeSequence
    assert (code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning) == ("T-1", "99PLAN", "Target")


def test_every_roi_is_referenced_once_in_each_sequence() -> None:
    answer, numbers = written(), [roi.number for roi in PLAN.rois]
    assert [one.ReferencedROINumber for one in answer.ROIContourSequence] == numbers
    assert [one.ReferencedROINumber for one in answer.RTROIObservationsSequence] == numbers
    assert len({one.ObservationNumber for one in answer.RTROIObservationsSequence}) == len(numbers)
    assert {one.ReferencedFrameOfReferenceUID for one in answer.StructureSetROISequence} == {"2.25.12"}


def test_an_roi_without_result_is_kept_empty_and_says_so() -> None:
    answer = written()
    assert "ContourSequence" not in answer.ROIContourSequence[2]
    assert answer.StructureSetROISequence[2].ROIGenerationDescription.startswith("EMPTY")
    assert "ROIVolume" not in answer.StructureSetROISequence[2]
    assert "EMPTY" not in answer.StructureSetROISequence[0].ROIGenerationDescription


def test_an_roi_whose_contours_have_no_area_is_empty_too() -> None:
    line = Contour(-50.125, np.array([(0.0, 0.0), (5.0, 0.001), (10.0, 0.0)]))
    answer = written(StructureSet((Roi(1, "line", contours=(line,)), BALL)))
    assert "ContourSequence" not in answer.ROIContourSequence[0]
    assert answer.StructureSetROISequence[0].ROIGenerationDescription.startswith("EMPTY")


def test_each_contour_lies_on_its_slice_and_names_its_image() -> None:
    for one in written().ROIContourSequence:
        for contour in one.get("ContourSequence", []):
            points = np.array(contour.ContourData, np.float64).reshape(-1, 3)
            (image,) = contour.ContourImageSequence
            plane = int(image.ReferencedSOPInstanceUID.rpartition(".")[2]) - 1000
            assert set(points[:, 2]) == {-50.125 + 2.5 * plane}
            assert contour.NumberOfContourPoints == len(points) >= 3
            assert contour.ContourGeometricType == "CLOSED_PLANAR"
            assert not np.array_equal(points[0], points[-1])


def test_no_coordinate_is_longer_than_sixteen_characters() -> None:
    for one in written().ROIContourSequence:
        for contour in one.get("ContourSequence", []):
            raw = contour.get_item(0x30060050).value
            assert max(map(len, raw.strip().split(b"\\"))) <= 16


def test_points_come_back_within_a_hundredth_of_a_millimetre() -> None:
    contours = written().ROIContourSequence[0].ContourSequence
    for contour, drawn in zip(contours, BALL.contours, strict=True):
        points = np.array(contour.ContourData, np.float64).reshape(-1, 3)
        assert np.abs(points[:, :2] - drawn.xy_mm).max() <= 0.0051


def test_every_daily_slice_is_listed_once() -> None:
    (frame,) = written().ReferencedFrameOfReferenceSequence
    (study,) = frame.RTReferencedStudySequence
    (series,) = study.RTReferencedSeriesSequence
    assert (frame.FrameOfReferenceUID, study.ReferencedSOPInstanceUID) == ("2.25.12", "2.25.11")
    assert series.SeriesInstanceUID == "2.25.13"
    listed = [image.ReferencedSOPInstanceUID for image in series.ContourImageSequence]
    assert listed == [f"2.25.{1000 + k}" for k in range(12)]


def shoelace(contour: Dataset) -> float:
    points = np.array(contour.ContourData, np.float64).reshape(-1, 3)
    return abs(Contour(0.0, points[:, :2].copy()).signed_area_mm2)


def test_a_hole_is_written_as_a_keyhole_and_its_island_as_a_contour_beside_it() -> None:
    contours = written().ROIContourSequence[1].ContourSequence
    assert {c.ContourGeometricType for c in contours} == {"CLOSED_PLANAR"}
    assert len(contours) == 2 * len(heights(GRID, -48, -28))
    assert sum(map(shoelace, contours)) * 2.5 / 1000 == pytest.approx(even_odd_cc(RING, 2.5), rel=1e-3)


def test_holes_as_exclusive_or_mark_every_contour_of_that_roi_and_no_other() -> None:
    answer = written(holes="xor")
    types = [{c.ContourGeometricType for c in one.get("ContourSequence", [])} for one in answer.ROIContourSequence]
    assert types == [{"CLOSED_PLANAR"}, {"CLOSEDPLANAR_XOR"}, set(), {"CLOSED_PLANAR"}]
    assert len(answer.ROIContourSequence[1].ContourSequence) == len(RING.contours)


@pytest.mark.parametrize("holes", ["keyhole", "xor"])
def test_the_stated_volume_leaves_holes_out(holes: Holes) -> None:
    answer = written(holes=holes)
    # pi (20^2 - 12^2 + 5^2) mm2 on 8 planes of 2.5 mm
    assert float(answer.StructureSetROISequence[1].ROIVolume) == pytest.approx(np.pi * 281 * 8 * 2.5 / 1000, rel=1e-3)
    assert float(answer.StructureSetROISequence[3].ROIVolume) == pytest.approx(20.5 * 20 * 2.5 / 1000)


def test_model_software_and_plan_can_be_told_from_the_object() -> None:
    answer = written()
    (equipment,) = answer.ContributingEquipmentSequence
    assert equipment.ManufacturerModelName == "prostate-ct"
    assert list(equipment.SoftwareVersions) == ["0.1.0", "recontour 0.1.0"]
    assert equipment.DeviceUID == "2.25.77"
    (predecessor,) = answer.PredecessorStructureSetSequence
    assert predecessor.ReferencedSOPInstanceUID == "2.25.99"
    (algorithm,) = answer.StructureSetROISequence[0].ROIDerivationAlgorithmIdentificationSequence
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("prostate-ct", "0.1.0")


def test_without_a_model_none_is_named() -> None:
    answer = written(provenance=Provenance("0.1.0"))
    assert "DeviceUID" not in answer.ContributingEquipmentSequence[0]
    assert "no model" in answer.StructureSetDescription
    (algorithm,) = answer.StructureSetROISequence[0].ROIDerivationAlgorithmIdentificationSequence
    assert algorithm.AlgorithmName == "recontour"


def test_another_kind_model_input_or_contour_gives_another_object() -> None:
    moved = StructureSet((dataclasses.replace(BALL, contours=BALL.contours[1:]), *PLAN.rois[1:]))
    renamed = StructureSet((dataclasses.replace(BALL, name="Bladder"), *PLAN.rois[1:]))
    answers = [
        written(),
        written(kind="PROPAGATED"),
        written(provenance=dataclasses.replace(PROVENANCE, model_sha256="0" * 64)),
        written(provenance=dataclasses.replace(PROVENANCE, inputs_digest="0" * 64)),
        written(daily=dataclasses.replace(daily_series(GRID), digest="0" * 64)),
        written(moved),
        written(renamed),
        written(holes="xor"),
    ]
    assert len({answer.SOPInstanceUID for answer in answers}) == len(answers)
    assert len({answer.SeriesInstanceUID for answer in answers[:5]}) == 5
    assert all(len(answer.SOPInstanceUID) <= 64 for answer in answers)


@pytest.mark.parametrize(
    ("charset", "roi_name", "expected"),
    [
        ("ISO_IR 100", "Blase_gefüllt", "ISO_IR 100"),
        ("ISO_IR 100", "膀胱", "ISO_IR 192"),
        ("ISO_IR 192", "膀胱", "ISO_IR 192"),
        (None, "Blase_gefüllt", "ISO_IR 192"),
        (["", "ISO 2022 IR 100"], "Blase_gefüllt", "ISO_IR 192"),
        (["", "ISO 2022 IR 87"], "膀胱", ["", "ISO 2022 IR 87"]),
        (None, "Bladder", None),
    ],
)
def test_names_survive_in_the_character_set_of_the_ct_or_else_in_utf_8(
    charset: str | list[str] | None, roi_name: str, expected: str | list[str] | None
) -> None:
    header = ct_header()
    if charset is not None:
        header.SpecificCharacterSet = charset
    answer = written(StructureSet((dataclasses.replace(BALL, name=roi_name),)), daily=daily_series(GRID, header))
    found = answer.get("SpecificCharacterSet")
    assert (list(found) if isinstance(expected, list) else found) == expected
    assert answer.StructureSetROISequence[0].ROIName == roi_name
    assert answer.PatientName == "Phantom^Form"


def test_a_patient_name_of_the_cts_own_character_set_survives_a_change_to_utf_8() -> None:
    latin = ct_header()
    latin.SpecificCharacterSet, latin.PatientName = "ISO_IR 100", "Müller^Jörg"
    buffer = BytesIO()
    latin.save_as(buffer, implicit_vr=True, little_endian=True)
    header = dcmread(BytesIO(buffer.getvalue()), force=True)
    answer = written(StructureSet((dataclasses.replace(BALL, name="膀胱"),)), daily=daily_series(GRID, header))
    assert answer.SpecificCharacterSet == "ISO_IR 192"
    assert str(answer.PatientName) == "Müller^Jörg"


def test_a_name_that_dicom_cannot_hold_is_cut_and_cleaned() -> None:
    answer = written(StructureSet((dataclasses.replace(BALL, name="a\\b" + "x" * 80),)))
    assert answer.StructureSetROISequence[0].ROIName == "a_b" + "x" * 61


def test_a_contour_between_two_slices_is_an_error() -> None:
    off = StructureSet((BALL.with_contours([circle(-49.0, (0.0, 0.0), 5.0)]),))
    with pytest.raises(ValueError, match="none of the 12 slices"):
        write(off)


def test_a_coordinate_that_is_not_finite_is_an_error() -> None:
    broken = Contour(-50.125, np.array([(0.0, 0.0), (np.nan, 5.0), (10.0, 0.0)]))
    with pytest.raises(ValueError, match="not finite"):
        write(StructureSet((BALL.with_contours([broken]),)))


def test_a_structure_set_without_rois_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one ROI"):
        write(StructureSet(()))


@needs_dciodvfy
@pytest.mark.parametrize("kind", ["RECOMMENDED", "PROPAGATED", "SEGMENTED"])
def test_dciodvfy_finds_no_error(kind: Kind) -> None:
    assert dciodvfy_errors(write(kind=kind)) == []
    assert dciodvfy_errors(write(kind=kind, provenance=Provenance("0.1.0"))) == []


@needs_dciodvfy
def test_of_exclusive_or_dciodvfy_knows_only_the_name_not() -> None:
    # The value came into the standard after the edition that older dciodvfy were built from.
    errors = dciodvfy_errors(write(holes="xor"))
    assert [error for error in errors if "<CLOSEDPLANAR_XOR>" not in error] == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-99_999, 99_999), min_size=3, max_size=9), st.floats(-9_999, 9_999))
def test_written_numbers_read_back_within_half_a_hundredth(values: list[float], z: float) -> None:
    xy = np.stack([values, np.arange(len(values)) ** 2 * 7.5], axis=1)
    encoded = encode_loops([PlanarLoop(0, xy)], [z])
    if encoded.points[0]:
        numbers = np.array([float(part) for part in encoded.data[0].split(b"\\")]).reshape(-1, 3)
        assert len(encoded.data[0]) % 2 == 0
        assert b"-0.00" not in encoded.data[0].split(b"\\")
        assert len(numbers) == len(xy)
        assert np.abs(numbers[:, :2] - xy).max() <= 0.00501
        assert np.abs(numbers[:, 2] - z).max() <= 0.000051


def test_corners_that_fall_together_are_written_once() -> None:
    xy = np.array([(0.0, 0.0), (0.001, 0.002), (5.0, 0.0), (5.004, -0.004), (5.0, 5.0), (0.002, 0.001)])
    encoded = encode_loops([PlanarLoop(0, xy)], [1.0])
    assert encoded.points == (3,)
    assert encoded.areas_mm2[0] == pytest.approx(12.5)


def test_uids_tell_where_one_part_ends_and_the_next_begins() -> None:
    assert uid_from("a", "bc") != uid_from("ab", "c")
    assert uid_from("a", "bc") == uid_from("a", b"bc")
    assert uid_from("a").startswith("2.25.")
    assert len(uid_from("a")) <= 44
