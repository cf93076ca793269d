"""The short way through an ordinary header gives what pydicom gives, or steps back."""

from io import BytesIO

import numpy as np
import pytest
from pydicom.filereader import read_dataset

from imaging.dicom.parse import parse, parse_all
from imaging.dicom.regular_header import RegularHeader, read_regular_header
from imaging.errors import NotDicom, Truncated
from tests.dicom_factory import SMALL, CtSpec, ct_bytes
from tests.imaging.dicom.test_fuzz import mutated

IMPLICIT = "1.2.840.10008.1.2"
SYNTAXES = (IMPLICIT, "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.80")
PIXEL_DATA = 0x7FE00010


def start_of(data: bytes) -> int:
    """Behind the file meta information, whose first attribute is its length."""
    return 144 + int.from_bytes(data[140:144], "little")


def both_ways(data: bytes, syntax: str) -> tuple[RegularHeader | None, dict[int, object]]:
    start, implicit = start_of(data), syntax == IMPLICIT
    stream = BytesIO(data)
    stream.seek(start)
    theirs = read_dataset(stream, implicit, True, stop_when=lambda tag, _vr, _length: tag == PIXEL_DATA)
    ours = read_regular_header(data, start, implicit=implicit, elements=1000)
    return ours, {int(tag): theirs.get_item(tag) for tag in theirs.keys()}  # noqa: SIM118  iterating converts


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_an_ordinary_header_has_the_raw_attributes_that_pydicom_finds(syntax: str) -> None:
    for data in ct_bytes(CtSpec(shape=(3, 8, 10), transfer_syntax=syntax)):
        ours, theirs = both_ways(data, syntax)
        assert ours is not None
        assert {int(tag): ours.dataset.get_item(tag) for tag in ours.dataset.keys()} == theirs  # noqa: SIM118
        assert data[ours.pixels_at - 12 : ours.pixels_at].startswith(
            b"\xe0\x7f\x10\x00", 4 if syntax == IMPLICIT else 0
        )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_damaged_header_is_read_as_pydicom_reads_it_or_left_to_it(syntax: str) -> None:
    data = ct_bytes(CtSpec(shape=(3, 8, 10), transfer_syntax=syntax))[1]
    rng = np.random.default_rng(20261121)
    read = 0
    for _ in range(300):
        damaged = data[: start_of(data)] + mutated(bytes(132) + data[start_of(data) :], rng)[132:]
        ours = read_regular_header(damaged, start_of(data), implicit=syntax == IMPLICIT, elements=1000)
        if ours is not None:
            read += 1
            _, theirs = both_ways(damaged, syntax)
            assert {int(tag): ours.dataset.get_item(tag) for tag in ours.dataset.keys()} == theirs  # noqa: SIM118
    assert read > 50


def test_more_attributes_than_allowed_are_left_to_the_checks() -> None:
    data = ct_bytes(CtSpec(shape=(3, 8, 10)))[0]
    assert read_regular_header(data, start_of(data), implicit=False, elements=5) is None


def test_an_object_in_a_view_is_read_like_one_in_bytes_wherever_it_lies() -> None:
    data = ct_bytes(CtSpec(shape=(3, 8, 10)))[0]
    plain = parse(data, limits=SMALL)
    for offset in (0, 1, 64):
        viewed = parse(memoryview(bytes(offset) + data)[offset:].toreadonly(), limits=SMALL)
        assert viewed.sha256 == plain.sha256
        assert viewed.pixels is not None
        assert plain.pixels is not None
        assert viewed.pixels.value == plain.pixels.value
        assert viewed.dataset == plain.dataset


def test_of_several_damaged_objects_the_first_is_told() -> None:
    good, *_ = ct_bytes(CtSpec(shape=(3, 8, 10)))
    with pytest.raises(NotDicom):
        parse_all([good, b"x" * 200, good[:-9], good], limits=SMALL)
    with pytest.raises(Truncated):
        parse_all([good, good[:-9], b"x" * 200, good], limits=SMALL)
