"""Damaged bytes at random: nothing but a typed refusal may come out of the readers."""

import time
from collections.abc import Sequence

import numpy as np
import pytest

from imaging.dicom.ct_series import read_ct_series
from imaging.dicom.parse import DicomObject, parse
from imaging.dicom.roles import sort_roles
from imaging.dicom.structure_set_reader import read_structure_set
from imaging.errors import InputError
from tests.dicom_factory import PLANNING, SMALL, CtSpec, ct_bytes, good_upload, structure_bytes

SLOWEST_S = 2.0


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Flip, overwrite, cut, double or remove a few bytes behind the prefix."""
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 6))):
        at = int(rng.integers(132, max(len(out), 133)))
        kind = int(rng.integers(0, 6))
        if kind == 0 and at < len(out):
            out[at] ^= 1 << int(rng.integers(0, 8))
        elif kind == 1:
            out[at : at + 4] = rng.integers(0, 256, 4, dtype=np.uint8).tobytes()
        elif kind == 2:
            out[at : at + 4] = b"\xff\xff\xff\xff"
        elif kind == 3:
            del out[at : at + int(rng.integers(1, 40))]
        elif kind == 4:
            out[at:at] = out[at : at + int(rng.integers(1, 40))]
        elif rng.random() < 0.2:
            del out[at:]
    return bytes(out)


def with_one(objects: Sequence[DicomObject], index: int, other: DicomObject) -> list[DicomObject]:
    return [*objects[:index], other, *objects[index + 1 :]]


CT_SYNTAXES = (
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.4.80",
)


@pytest.mark.parametrize("syntax", CT_SYNTAXES)
def test_a_randomly_damaged_image_is_read_or_refused_by_a_typed_error(syntax: str) -> None:
    spec = CtSpec(shape=(3, 8, 10), transfer_syntax=syntax)
    files = ct_bytes(spec)
    objects = [parse(data, limits=SMALL) for data in files]
    rng = np.random.default_rng(20260807)
    messages: list[str] = []
    for _ in range(400):
        start = time.perf_counter()
        try:
            damaged = parse(mutated(files[1], rng), limits=SMALL)
            read_ct_series(with_one(objects, 1, damaged), role="planning CT", limits=SMALL)
        except InputError as refusal:
            messages.append(refusal.message.casefold())
        assert time.perf_counter() - start < SLOWEST_S
    assert len(messages) > 50
    assert not [message for message in messages if "planted" in message]


@pytest.mark.parametrize("syntax", CT_SYNTAXES[:3])
def test_a_randomly_damaged_structure_set_is_read_or_refused_by_a_typed_error(syntax: str) -> None:
    upload = good_upload()
    images = [parse(data, limits=SMALL) for data in (*upload.planning, *upload.daily)]
    planning = read_ct_series(images[: len(upload.planning)], role="planning CT", limits=SMALL)
    data = structure_bytes(PLANNING, transfer_syntax=syntax)
    rng = np.random.default_rng(20260808)
    messages: list[str] = []
    for _ in range(500):
        try:
            damaged = parse(mutated(data, rng), limits=SMALL)
            read_structure_set(damaged, planning, limits=SMALL)
            sort_roles([*images, damaged])
        except InputError as refusal:
            messages.append(refusal.message.casefold())
    assert len(messages) > 50
    assert not [message for message in messages if "planted" in message]
