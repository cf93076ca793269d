"""CT series: geometry of all eight patient positions, Hounsfield units of every encoding."""

import base64
import hashlib
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imaging.dicom.ct_geometry import slice_spacing
from imaging.dicom.ct_series import read_ct_series
from imaging.dicom.limits import ReadLimits
from imaging.dicom.objects import CtSeries
from imaging.dicom.parse import parse
from imaging.dicom.roles import sort_roles
from imaging.dicom.structure_set_reader import read_structure_set
from imaging.errors import InputError, LossyPixelData, MissingSlices, Truncated, ValueInvalid
from tests.dicom_factory import ORIENTATIONS, SMALL, CtSpec, body_hu, ct_bytes, ct_datasets, to_bytes
from tests.imaging.dicom import codestreams


def read(files: list[bytes]) -> CtSeries:
    return read_ct_series([parse(data, limits=SMALL) for data in files], role="planning CT", limits=SMALL)


@pytest.mark.parametrize("position", ORIENTATIONS)
def test_a_scan_in_any_position_gives_the_same_voxels_in_the_same_place(position: str) -> None:
    spec = CtSpec(position=position)
    series = read(ct_bytes(spec))
    np.testing.assert_array_equal(series.volume.hu, body_hu(spec.shape))
    assert series.volume.geometry.origin_mm == pytest.approx(spec.origin_mm, abs=1e-6)
    assert series.volume.geometry.spacing_mm == pytest.approx(spec.spacing_mm, abs=1e-9)
    assert series.patient_position == position
    assert series.notices == ()


@pytest.mark.parametrize("position", ORIENTATIONS)
def test_a_scan_turned_for_display_is_read_whatever_its_position(position: str) -> None:
    spec = CtSpec(position="HFS")
    series = read(ct_bytes(spec, edit=lambda _k, dataset: setattr(dataset, "PatientPosition", position)))
    np.testing.assert_array_equal(series.volume.hu, body_hu(spec.shape))


@settings(max_examples=15, deadline=None)
@given(
    position=st.sampled_from(sorted(ORIENTATIONS)),
    shape=st.tuples(st.integers(3, 6), st.integers(8, 14), st.integers(8, 14)),
    spacing=st.tuples(*[st.sampled_from((0.9, 1.171875, 2.0, 3.0))] * 3),
    origin=st.tuples(*[st.integers(-50_000, 50_000).map(lambda hundredths: hundredths / 100)] * 3),
    shuffle=st.randoms(use_true_random=False),
)
def test_every_voxel_is_where_its_slice_says(position, shape, spacing, origin, shuffle) -> None:  # type: ignore[no-untyped-def]
    spec = CtSpec(position=position, shape=shape, spacing_mm=spacing, origin_mm=origin)
    files = ct_bytes(spec)
    shuffle.shuffle(files)
    series = read(files)
    np.testing.assert_array_equal(series.volume.hu, body_hu(shape))
    assert series.volume.geometry.shape == shape
    np.testing.assert_allclose(series.volume.geometry.origin_mm, origin, atol=1e-6)
    np.testing.assert_allclose(series.volume.geometry.spacing_mm, spacing, atol=1e-6)
    assert series.sop_instance_uids == tuple(spec.image_uid(k) for k in range(shape[0]))


NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2")
LAYOUTS = ({"signed": True}, {"signed": False}, {"signed": False, "bits_stored": 12})


@pytest.mark.parametrize("layout", LAYOUTS, ids=["signed", "unsigned", "12 bits"])
@pytest.mark.parametrize("syntax", [*NATIVE, "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"])
def test_a_lossless_encoding_is_read_bit_for_bit(syntax: str, layout: dict[str, object]) -> None:
    spec = replace(CtSpec(shape=(3, 34, 36), transfer_syntax=syntax), **layout)  # type: ignore[arg-type]
    np.testing.assert_array_equal(read(ct_bytes(spec)).volume.hu, body_hu(spec.shape))


def compressed_series(codestream: str, syntax: str) -> list[bytes]:
    spec = CtSpec(shape=(3, 32, 36), signed=False)
    stream = base64.b64decode(codestream)
    return [to_bytes(dataset, syntax, stream + b"\0" * (len(stream) % 2)) for dataset in ct_datasets(spec)]


@pytest.mark.parametrize(
    ("codestream", "syntax"),
    [
        (codestreams.HTJ2K, "1.2.840.10008.1.2.4.201"),
        (codestreams.JPEG_LOSSLESS, "1.2.840.10008.1.2.4.70"),
        (codestreams.JPEG_LOSSLESS, "1.2.840.10008.1.2.4.57"),
    ],
    ids=["HTJ2K", "JPEG lossless SV1", "JPEG lossless"],
)
def test_a_codestream_of_another_encoder_is_read_bit_for_bit(codestream: str, syntax: str) -> None:
    i, j = np.meshgrid(np.arange(32), np.arange(36), indexing="ij")
    expected = 40 + 3 * i - 2 * j + (i * j) % 7
    np.testing.assert_array_equal(read(compressed_series(codestream, syntax)).volume.hu[1], expected)


@pytest.mark.parametrize(
    ("codestream", "syntax"),
    [
        (codestreams.JPEG_2000_IRREVERSIBLE, "1.2.840.10008.1.2.4.90"),
        (codestreams.JPEG_LS_NEAR_3, "1.2.840.10008.1.2.4.80"),
    ],
    ids=["JPEG 2000", "JPEG-LS"],
)
def test_a_lossy_codestream_under_a_lossless_name_is_refused(codestream: str, syntax: str) -> None:
    with pytest.raises(LossyPixelData):
        read(compressed_series(codestream, syntax))


@pytest.mark.parametrize(
    ("codestream", "syntax"),
    [
        (codestreams.HTJ2K, "1.2.840.10008.1.2.4.201"),
        (codestreams.JPEG_LOSSLESS, "1.2.840.10008.1.2.4.70"),
    ],
    ids=["HTJ2K", "JPEG lossless"],
)
@pytest.mark.parametrize("lost", [2, 40])
def test_a_codestream_that_ends_early_is_refused(codestream: str, syntax: str, lost: int) -> None:
    stream = base64.b64decode(codestream).rstrip(b"\0")[:-lost]
    with pytest.raises(Truncated):
        read(compressed_series(base64.b64encode(stream).decode(), syntax))


@pytest.mark.parametrize("padding", [b" ", b"\xff", b"\n\0", b"\0" * 6])
def test_a_codestream_that_an_exporter_padded_in_its_own_way_is_read(padding: bytes) -> None:
    stream = base64.b64decode(codestreams.JPEG_LOSSLESS)
    files = compressed_series(base64.b64encode(stream + padding).decode(), "1.2.840.10008.1.2.4.70")
    plain = compressed_series(codestreams.JPEG_LOSSLESS, "1.2.840.10008.1.2.4.70")
    np.testing.assert_array_equal(read(files).volume.hu, read(plain).volume.hu)


def test_a_codestream_that_claims_another_size_is_refused_before_it_is_decoded() -> None:
    stream = bytearray(base64.b64decode(codestreams.HTJ2K))
    stream[8:12] = (60_000).to_bytes(4, "big")  # Xsiz of the SIZ marker segment
    files = compressed_series(base64.b64encode(bytes(stream)).decode(), "1.2.840.10008.1.2.4.201")
    with pytest.raises(ValueInvalid, match="60000"):
        read(files)


def test_overlay_bits_above_the_stored_ones_are_dropped() -> None:
    spec = CtSpec(signed=False, bits_stored=12)
    datasets = ct_datasets(spec)
    for dataset in datasets:
        dataset.PixelData = (np.frombuffer(dataset.PixelData, "<u2") | 0x8000).tobytes()
    np.testing.assert_array_equal(read([to_bytes(dataset) for dataset in datasets]).volume.hu, body_hu(spec.shape))


def test_the_sign_of_twelve_bit_values_is_extended() -> None:
    spec = CtSpec(signed=True, bits_stored=12, intercept=0.0)
    np.testing.assert_array_equal(read(ct_bytes(spec)).volume.hu, body_hu(spec.shape))


def test_hounsfield_units_are_rounded_and_clipped_never_wrapped() -> None:
    spec = CtSpec(shape=(3, 12, 12), intercept=0.0)
    datasets = ct_datasets(spec)
    stored = np.frombuffer(datasets[1].PixelData, "<i2").copy()
    stored[:3] = (32767, -32768, 7)
    datasets[1].PixelData = stored.tobytes()
    datasets[1].RescaleSlope, datasets[1].RescaleIntercept = "1.1", "0.1"
    plane = read([to_bytes(dataset) for dataset in datasets]).volume.hu[1]
    # 1.1 * 32767 and -32768 leave int16; 1.1 * 7 + 0.1 = 7.8
    assert plane[0, :3].tolist() == [32767, -32768, 8]


def test_the_digest_follows_the_slices_and_not_the_order_of_sending() -> None:
    files = ct_bytes()
    expected = hashlib.sha256(b"".join(hashlib.sha256(data).digest() for data in files)).hexdigest()
    assert read(files[::-1]).digest == read(files).digest == expected


def test_the_header_for_the_answer_has_no_pixels_and_no_private_attributes() -> None:
    def add_private(_k, dataset):  # type: ignore[no-untyped-def]
        dataset.private_block(0x0009, "SOMEBODY", create=True).add_new(1, "LO", "PLANTED")

    header = read(ct_bytes(edit=add_private)).header
    assert "PixelData" not in header
    assert not [tag for tag in header.keys() if tag.is_private]  # noqa: SIM118 - a data set iterates over elements
    assert header.PatientID == "PLANTED4711"


def test_the_volume_cannot_be_changed_by_a_later_step() -> None:
    with pytest.raises(ValueError, match="read-only"):
        read(ct_bytes()).volume.hu[0, 0, 0] = 1


def test_every_missing_slice_is_named_by_its_position() -> None:
    # 2.5 mm apart; 107.5, 110 and 120 mm are not there.
    z_mm = np.array([102.5, 105.0, 112.5, 115.0, 117.5, 122.5, 125.0])
    with pytest.raises(MissingSlices) as refusal:
        slice_spacing(z_mm)
    assert refusal.value.facts["positions_mm"] == [107.5, 110.0, 120.0]
    assert refusal.value.facts["count"] == 3


def test_rounding_of_the_last_digit_is_no_unequal_spacing() -> None:
    assert slice_spacing(np.array([0.0, 3.0, 6.0 + 3e-15, 9.0, 12.0])) == pytest.approx(3.0)


def test_reading_twice_gives_the_same_series() -> None:
    objects = [parse(data, limits=SMALL) for data in ct_bytes()]
    once, again = (read_ct_series(objects, role="daily CT", limits=SMALL) for _ in range(2))
    assert once.digest == again.digest
    np.testing.assert_array_equal(once.volume.hu, again.volume.hu)


def test_the_message_names_the_role() -> None:
    with pytest.raises(InputError, match="daily CT"):
        read_ct_series([], role="daily CT", limits=SMALL)


def test_a_fragment_far_larger_than_its_image_is_refused_before_it_is_unpacked() -> None:
    bomb = bytes(64) + b"\x81\x00" * 50_000  # each pair unpacks to 128 bytes
    files = [to_bytes(dataset, "1.2.840.10008.1.2.5", bomb) for dataset in ct_datasets()]
    with pytest.raises(ValueInvalid, match="larger than"):
        read(files)


def test_the_case_of_a_real_planning_ct_is_read() -> None:
    root = Path(os.environ.get("RECONTOUR_SHARED", Path(__file__).resolve().parents[4] / "shared"))
    folder = root / "data" / "cort-liver"
    if not folder.is_dir():
        pytest.skip("the real test case cort-liver is not on this machine")
    limits = ReadLimits()
    objects = [
        parse(path.read_bytes(), limits=limits) for part in ("planning", "daily") for path in (folder / part).iterdir()
    ]
    planning_objects, structure_object, daily_objects = sort_roles(objects)
    planning = read_ct_series(planning_objects, role="planning CT", limits=limits)
    daily = read_ct_series(daily_objects, role="daily CT", limits=limits)
    plan = read_structure_set(structure_object, planning, limits=limits)
    assert planning.volume.geometry.shape == (168, 217, 217)
    assert planning.volume.geometry.spacing_mm == pytest.approx((3.0, 3.0, 2.5))
    assert len(plan.structures.rois) == 13
    assert plan.notices == planning.notices == daily.notices == ()
