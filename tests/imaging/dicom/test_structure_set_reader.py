"""RTSTRUCTs: what of a plan is kept, placed, passed over."""

from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import DataElement, Dataset

from imaging.dicom.ct_series import read_ct_series
from imaging.dicom.decimal_strings import count_numbers, parse_decimals, parse_spans
from imaging.dicom.objects import CtSeries, PlannedStructures
from imaging.dicom.parse import parse
from imaging.dicom.structure_set_reader import read_structure_set
from imaging.errors import ValueInvalid
from tests.dicom_factory import PLANNING, SMALL, RoiSpec, ct_bytes, square, structure_bytes

BOX = square((4.0, -3.0), 5.0)


@lru_cache(maxsize=1)
def planning() -> CtSeries:
    return read_ct_series([parse(data, limits=SMALL) for data in ct_bytes()], role="planning CT", limits=SMALL)


def read(*rois: RoiSpec, edit=None, syntax: str = "1.2.840.10008.1.2.1") -> PlannedStructures:  # type: ignore[no-untyped-def]
    data = structure_bytes(PLANNING, list(rois) or None, edit=edit, transfer_syntax=syntax)
    return read_structure_set(parse(data, limits=SMALL), planning(), limits=SMALL)


@pytest.mark.parametrize(
    "syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"]
)
def test_contours_are_the_same_in_every_encoding(syntax: str) -> None:
    roi = read(RoiSpec(3, "Bladder", [(2, BOX), (3, BOX)]), syntax=syntax).structures.rois[0]
    assert [contour.z_mm for contour in roi.contours] == [110.0, 112.5]
    np.testing.assert_array_equal(roi.contours[0].xy_mm, BOX)


def test_number_name_type_colour_and_codes_of_an_roi_are_kept() -> None:
    def add_code(dataset: Dataset) -> None:
        code = Dataset()
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "89837001", "SCT", "Bladder"
        dataset.RTROIObservationsSequence[0].RTROIIdentificationCodeSequence = [code]

    roi = read(RoiSpec(7, "Bladder_O", [(2, BOX)], "AVOIDANCE", (10, 20, 30)), edit=add_code).structures.rois[0]
    assert (roi.number, roi.name, roi.interpreted_type, roi.colour) == (7, "Bladder_O", "AVOIDANCE", (10, 20, 30))
    assert roi.codes == (("89837001", "SCT", "Bladder"),)


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        ("ISO_IR 100", "Prostata-Rück"),
        ("ISO_IR 192", "膀胱 Blase"),
        ("ISO_IR 144", "Мочевой"),
        (["", "ISO 2022 IR 87"], "膀胱"),
    ],
)
def test_a_name_is_read_in_the_character_set_of_the_file(character_set: str | list[str], name: str) -> None:
    def edit(dataset: Dataset) -> None:
        dataset.SpecificCharacterSet = character_set

    assert read(RoiSpec(1, name, [(2, BOX)]), edit=edit).structures.rois[0].name == name


def test_a_name_of_seventy_characters_is_kept_whole() -> None:
    assert read(RoiSpec(1, "N" * 70, [(2, BOX)])).structures.rois[0].name == "N" * 70


def test_rois_are_matched_by_number_and_never_by_their_place() -> None:
    def reverse(dataset: Dataset) -> None:
        dataset.ROIContourSequence = list(reversed(dataset.ROIContourSequence))
        dataset.RTROIObservationsSequence = list(reversed(dataset.RTROIObservationsSequence))

    first, second = RoiSpec(5, "A", [(2, BOX)], "ORGAN"), RoiSpec(6, "B", [(3, BOX)], "PTV", (1, 2, 3))
    structures = read(first, second, edit=reverse).structures
    assert [(roi.name, roi.interpreted_type) for roi in structures.rois] == [("A", "ORGAN"), ("B", "PTV")]
    assert structures.by_number(6).contours[0].z_mm == 112.5
    assert structures.by_number(6).colour == (1, 2, 3)


def test_a_loop_in_a_loop_stays_two_loops_and_a_keyhole_one() -> None:
    inner = square((4.0, -3.0), 2.0)
    keyhole = [*BOX, BOX[0], *reversed(inner), inner[-1]]
    roi = read(RoiSpec(1, "Wall", [(2, BOX), (2, inner), (3, keyhole)])).structures.rois[0]
    assert [len(contour.xy_mm) for contour in roi.contours] == [4, 4, 10]
    # The outer square of 100 mm2 less the inner one of 16 mm2; the corridor covers nothing.
    assert abs(roi.contours[2].signed_area_mm2) == pytest.approx(84.0)


def test_a_first_point_repeated_at_the_end_is_not_a_corner() -> None:
    assert len(read(RoiSpec(1, "A", [(2, [*BOX, BOX[0]])])).structures.rois[0].contours[0].xy_mm) == 4


def test_an_hourglass_is_kept_although_its_halves_cancel() -> None:
    hourglass = [(0.0, 0.0), (4.0, 4.0), (4.0, 0.0), (0.0, 4.0)]
    assert len(read(RoiSpec(1, "A", [(2, hourglass)])).structures.rois[0].contours) == 1


def test_a_contour_between_slices_moves_to_the_nearest_one_and_the_notice_says_how_far() -> None:
    read_set = read(RoiSpec(1, "A", [(110.6, BOX)]))
    assert read_set.structures.rois[0].contours[0].z_mm == 110.0
    (snap,) = [notice for notice in read_set.notices if notice.check == "contour-snapped"]
    assert (snap.value, snap.unit) == (pytest.approx(0.6), "mm")


def test_contours_on_a_finer_grid_do_not_cancel_each_other() -> None:
    # 109 and 111 mm both belong to the slice at 110 mm, which has a contour of its own.
    roi = read(RoiSpec(1, "A", [(109.0, BOX), (110.0, BOX), (111.0, BOX)])).structures.rois[0]
    assert [contour.z_mm for contour in roi.contours] == [110.0]


def test_contour_data_beyond_64_kib_are_read_as_the_unknown_vr_that_systems_write() -> None:
    angle = np.linspace(0, 2 * np.pi, 4000, endpoint=False)
    circle = np.round(np.column_stack([4 + 9 * np.cos(angle), -3 + 9 * np.sin(angle)]), 6)

    def as_unknown(dataset: Dataset) -> None:
        contour = dataset.ROIContourSequence[0].ContourSequence[0]
        text = "\\".join(f"{x:.6f}\\{y:.6f}\\110.0" for x, y in circle)
        contour[0x30060050] = DataElement(0x30060050, "UN", text.encode())

    roi = read(RoiSpec(1, "A", [(2, BOX)]), edit=lambda d: (as_unknown(d), drop_count(d))).structures.rois[0]
    np.testing.assert_allclose(roi.contours[0].xy_mm, circle, atol=1e-12)


def drop_count(dataset: Dataset) -> None:
    del dataset.ROIContourSequence[0].ContourSequence[0].NumberOfContourPoints


def test_numbers_in_every_notation_of_the_standard_are_read_exactly() -> None:
    value = b" 1\\-2.50\\+3.125e2 \\0.1\\123456789.987654321\\-1E-3\\.5\\7. "
    expected = [1.0, -2.5, 312.5, 0.1, 123456789.987654321, -0.001, 0.5, 7.0]
    assert parse_decimals(value, "numbers").tolist() == expected


@pytest.mark.parametrize(
    "value", [b"1\\\\2", b"1\\2\\", b"1 2", b"--1", b"1e", b"1e999", b"1.2.3", b"nan", b"0x10", b"1_0", b"-", b"."]
)
def test_what_is_no_finite_decimal_number_is_refused(value: bytes) -> None:
    with pytest.raises(ValueInvalid):
        parse_decimals(value, "numbers")


def test_label_digest_and_uid_are_those_of_the_file() -> None:
    read_set = read()
    assert read_set.structures.label == "PLAN"
    assert len(read_set.digest) == 64
    assert read_set.structures.sop_instance_uid == read_set.header.SOPInstanceUID


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(-1e6, 1e6), st.sampled_from(("%.2f", "%.6f", "%.10g", "%r", "%.17g", "%e", "%+.3f"))),
        min_size=1,
        max_size=40,
    )
)
def test_every_number_is_read_to_the_last_bit_as_python_reads_it(numbers: list[tuple[float, str]]) -> None:
    parts = [style % number for number, style in numbers]
    value = "\\".join(parts).encode()
    assert parse_decimals(value, "numbers").tolist() == [float(part) for part in parts]


def test_sequences_of_undefined_length_are_read_as_those_of_defined_length(monkeypatch: pytest.MonkeyPatch) -> None:
    def undefined(dataset: Dataset) -> None:
        for element in dataset.iterall():
            if element.VR == "SQ":
                element.is_undefined_length = True
                for item in element.value:
                    item.is_undefined_length_sequence_item = True

    for syntax in ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"):
        expected, found = read(syntax=syntax), read(edit=undefined, syntax=syntax)
        with monkeypatch.context() as patch:
            patch.setattr("imaging.dicom.parse.walk", lambda *_, **__: None)
            patch.setattr("imaging.dicom.contour_reading.walk", lambda *_, **__: None)
            by_pydicom = [read(syntax=syntax), read(edit=undefined, syntax=syntax)]
        for other in (found, *by_pydicom):
            assert [(roi.number, roi.name, roi.colour) for roi in other.structures.rois] == [
                (roi.number, roi.name, roi.colour) for roi in expected.structures.rois
            ]
            for roi, same in zip(other.structures.rois, expected.structures.rois, strict=True):
                assert [contour.z_mm for contour in roi.contours] == [contour.z_mm for contour in same.contours]
                for contour, twin in zip(roi.contours, same.contours, strict=True):
                    np.testing.assert_array_equal(contour.xy_mm, twin.xy_mm)


def test_the_values_of_a_body_are_read_where_they_lie() -> None:
    body = b"xx 1\\2.5 yy\0 \0zz9999999999.99999999999\\-3e1 "
    spans = np.array([[2, 9], [11, 14], [-1, -1], [16, len(body)]])
    counts = count_numbers(body, spans)
    assert counts.tolist() == [2, 0, 0, 2]
    assert parse_spans(body, spans, counts, "numbers").tolist() == [1.0, 2.5, 9999999999.99999999999, -30.0]
    assert parse_spans(body, spans[:3], counts[:3], "numbers").tolist() == [1.0, 2.5]


def test_more_contours_than_the_first_table_holds_are_all_found(monkeypatch: pytest.MonkeyPatch) -> None:
    rois = [RoiSpec(number, f"R{number}", [(2, BOX), (3, BOX), (4, BOX)]) for number in (1, 2, 3)]
    expected = read(*rois)
    monkeypatch.setattr("imaging.dicom.contour_walk._FIRST_CAPACITY", 1)
    found = read(*rois)
    assert [len(roi.contours) for roi in found.structures.rois] == [3, 3, 3]
    for roi, same in zip(found.structures.rois, expected.structures.rois, strict=True):
        for contour, twin in zip(roi.contours, same.contours, strict=True):
            np.testing.assert_array_equal(contour.xy_mm, twin.xy_mm)
