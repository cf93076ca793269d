"""Bodies: what is broken, too large, too slow or hostile is refused with the right status, without a trace."""

import asyncio
import contextlib
import hashlib
import struct
import tempfile
import time
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imaging.errors import NotDicom, TooLarge
from service import uploads_memory
from service.problems import Refusal
from service.settings import UploadLimits
from service.uploads import Upload, receive_upload, unpack_upload
from tests.dicom_factory import ct_bytes
from tests.service.helpers import FakeCore, case_files, run, serving, zip_of

FORM = "multipart/form-data; boundary=b"
SMALL = UploadLimits(body_bytes=5000, parts=3, instance_bytes=100, structure_bytes=200, options_bytes=50)


def part(name: str, content: bytes, extra: str = "") -> bytes:
    head = f'--b\r\nContent-Disposition: form-data; name="{name}"; filename="f"\r\n{extra}\r\n'
    return head.encode() + content + b"\r\n"


def received(*chunks: bytes, content_type: str = FORM, limits: UploadLimits = SMALL) -> Upload:
    async def body() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    return asyncio.run(receive_upload(body(), content_type, limits=limits, hold=lambda _: None))


def refusal_of(*chunks: bytes, **given: Any) -> str:
    with pytest.raises((Refusal, TooLarge)) as caught:
        received(*chunks, **given)
    return caught.value.code


def test_parts_arrive_whole_however_the_body_is_cut():
    content = bytes(range(256))[:90]
    body = part("daily_ct", content) + part("daily_ct", b"\r\n--b\r-") + part("options", b"{}") + b"--b--\r\n"
    for size in (1, 2, 7, 64, len(body)):
        upload = received(*(body[at : at + size] for at in range(0, len(body), size)))
        assert upload.of("daily_ct") == [content, b"\r\n--b\r-"]
        assert upload.options == b"{}"
        assert upload.received_bytes == len(body)


def test_parts_longer_than_what_is_left_of_their_memory_arrive_whole(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(uploads_memory, "BLOCK_BYTES", 256)
    contents = [bytes([number]) * size for number, size in enumerate((0, 1, 100, 99, 100, 64, 1, 0, 90))]
    body = b"".join(part("planning_structures", content * 2) for content in contents) + b"--b--"
    limits = SMALL.model_copy(update={"parts": 20})
    for size in (3, 50, len(body)):
        upload = received(*(body[at : at + size] for at in range(0, len(body), size)), limits=limits)
        assert upload.of("planning_structures") == [content * 2 for content in contents]


def test_every_object_is_parsed_once_it_is_there_unless_it_comes_in_a_zip():
    image = ct_bytes()[0]
    parts = (("daily_ct", image), ("planning_structures", zip_of({"1": b"one"})), ("daily_ct", b"no DICOM"))
    body = b"".join(part(name, content) for name, content in parts) + b"--b--"
    opened = unpack_upload(received(body, limits=UploadLimits()), limits=UploadLimits())
    assert opened.of("planning_structures") == [b"one"]
    assert list(opened.parsed) == ["daily_ct"]
    first, second = opened.parsed["daily_ct"]
    assert first.result().sha256 == hashlib.sha256(image).hexdigest()
    with pytest.raises(NotDicom):
        second.result()


@pytest.mark.parametrize(
    ("body", "content_type", "code"),
    [
        (b"", FORM, "multipart-invalid"),
        (b"no boundary here", FORM, "multipart-invalid"),
        (part("daily_ct", b"x"), FORM, "multipart-invalid"),
        (part("daily_ct", b"x") + b"--b--", "multipart/form-data", "multipart-invalid"),
        (part("daily_ct", b"x") + b"--b--", "multipart/form-data; boundary=" + "b" * 300, "multipart-invalid"),
        (part("patient", b"x") + b"--b--", FORM, "multipart-invalid"),
        (part("daily_ct", b"x", "Content-Transfer-Encoding: base64\r\n") + b"--b--", FORM, "multipart-invalid"),
        (part("daily_ct", b"x", "Content-Encoding: gzip\r\n") + b"--b--", FORM, "content-encoding-unsupported"),
        (b"{}", "application/json", "unsupported-media-type"),
        (b"", "", "unsupported-media-type"),
        (b"--b--", 'multipart/related; type="text/html"; boundary=b', "unsupported-media-type"),
        (b"PK nonsense", "application/zip", "archive-invalid"),
    ],
)
def test_a_broken_body_is_refused_for_what_is_wrong_with_it(body: bytes, content_type: str, code: str):
    assert refusal_of(body, content_type=content_type) == code


def test_every_limit_holds_while_the_bytes_arrive():
    end = b"--b--\r\n"
    assert refusal_of(part("daily_ct", b"x" * 101) + end) == "too-large"
    assert received(part("daily_ct", b"x" * 100) + end).count == 1
    assert refusal_of(part("planning_structures", b"x" * 201) + end) == "too-large"
    assert received(part("planning_structures", b"x" * 200) + end).count == 1
    assert refusal_of(part("options", b"x" * 51) + end) == "too-large"
    assert refusal_of(*(part("daily_ct", b"x") for _ in range(6)), end) == "too-large"
    assert refusal_of(b"PK\x03\x04" + b"x" * 5000, content_type="application/zip") == "too-large"


def test_the_body_stops_being_read_at_its_limit():
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        yield part("planning_structures", b"")[:-2]
        while True:
            sent += 10
            yield b"x" * 10

    with pytest.raises(TooLarge):
        asyncio.run(receive_upload(endless(), FORM, limits=SMALL, hold=lambda _: None))
    assert sent <= 210


def unpacked(archive: bytes, *, limits: UploadLimits | None = None) -> Upload:
    return unpack_upload(Upload({"unsorted": [archive]}), limits=limits or UploadLimits())


def test_a_zip_gives_its_files_and_its_options_but_not_its_clutter():
    upload = unpacked(
        zip_of({"a/1.dcm": b"one", "__MACOSX/a/._1.dcm": b"x", "DICOMDIR": b"x", "2": b"two", "options.json": b"{}"})
    )
    assert upload.of("unsorted") == [b"one", b"two"]
    assert upload.options == b"{}"


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "..\\x", "C:/x", "a/../../b", "a\\b"])
def test_a_zip_whose_paths_lead_out_of_it_is_refused_without_quoting_them(name: str):
    with pytest.raises(Refusal) as caught:
        unpacked(zip_of({"harmless.dcm": b"x", name: b"x"}))
    assert caught.value.code == "archive-invalid"
    assert name not in caught.value.detail


def test_a_zip_in_a_zip_is_refused():
    with pytest.raises(Refusal) as caught:
        unpacked(zip_of({"inner.zip": zip_of({"1.dcm": b"x"})}))
    assert caught.value.code == "archive-invalid"


def test_a_dicom_file_whose_preamble_looks_like_a_zip_is_no_zip():
    polyglot = b"PK\x03\x04".ljust(128, b"\0") + b"DICM" + b"rest"
    assert unpacked(zip_of({"1.dcm": polyglot})).of("unsorted") == [polyglot]


def test_a_zip_bomb_is_stopped_by_its_real_bytes_in_little_time():
    bomb = zip_of({f"{i}.dcm": b"\0" * (40 << 20) for i in range(2)})
    assert len(bomb) < 200_000
    begun = time.perf_counter()
    with pytest.raises(TooLarge):
        unpacked(bomb)
    assert time.perf_counter() - begun < 2


def test_a_zip_that_lies_about_its_sizes_is_refused():
    archive = bytearray(zip_of({"1.dcm": b"\0" * (60 << 20)}))
    central = archive.rfind(b"PK\x01\x02")
    for at in (22, central + 24):
        archive[at : at + 4] = struct.pack("<I", 10)
    with pytest.raises((Refusal, TooLarge)):
        unpacked(bytes(archive))


def test_a_zip_with_more_files_than_the_limit_is_refused_from_its_directory():
    archive = zip_of({f"{i}": b"x" for i in range(9)})
    with pytest.raises(TooLarge):
        unpacked(archive, limits=UploadLimits(parts=4))


@pytest.mark.parametrize("cut", [10, 60, -1, -10, -30])
def test_a_zip_that_was_cut_off_is_refused(cut: int):
    with pytest.raises(Refusal) as caught:
        unpacked(zip_of({"1.dcm": b"x" * 500}, method=zipfile.ZIP_STORED)[:cut])
    assert caught.value.code == "archive-invalid"


def test_a_zip_with_a_damaged_file_is_refused():
    archive = bytearray(zip_of({"1.dcm": b"x" * 500}, method=zipfile.ZIP_STORED))
    archive[100] ^= 1
    with pytest.raises(Refusal) as caught:
        unpacked(bytes(archive))
    assert caught.value.code == "archive-invalid"


def test_an_encrypted_zip_is_refused():
    archive = bytearray(zip_of({"1.dcm": b"x"}))
    archive[6] |= 1
    archive[archive.rfind(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(Refusal) as caught:
        unpacked(bytes(archive))
    assert caught.value.code == "archive-invalid"


MUTATIONS = st.lists(st.tuples(st.integers(0, 10_000), st.binary(max_size=4)), min_size=1, max_size=6)


def mutated(good: bytes, mutations: list[tuple[int, bytes]]) -> bytes:
    damaged = bytearray(good)
    for at, replacement in mutations:
        start = at % (len(damaged) + 1)
        damaged[start : start + max(1, len(replacement))] = replacement
    return bytes(damaged)


@given(mutations=MUTATIONS, method=st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
@settings(max_examples=300, deadline=None)
def test_a_damaged_zip_is_read_or_refused_but_never_a_fault(mutations: list[tuple[int, bytes]], method: int):
    good = zip_of({"a/1.dcm": b"x" * 300, "b": bytes(range(256))}, method=method)
    with contextlib.suppress(Refusal, TooLarge):
        unpacked(b"PK\x03\x04" + mutated(good, mutations)[4:])


@given(mutations=MUTATIONS, kind=st.sampled_from([FORM, "multipart/related; boundary=b"]))
@settings(max_examples=200, deadline=None)
def test_a_damaged_body_is_read_or_refused_but_never_a_fault(mutations: list[tuple[int, bytes]], kind: str):
    body = mutated(part("daily_ct", b"DATA") + part("options", b"{}") + part("plan_id", b"a") + b"--b--", mutations)
    with contextlib.suppress(Refusal, TooLarge):
        received(body[:50], body[50:], content_type=kind)


def test_a_declared_body_beyond_the_limit_is_refused_before_it_is_read():
    async def scenario() -> None:
        async def unread() -> AsyncIterator[bytes]:
            yield b""
            await asyncio.sleep(60)

        async with serving(FakeCore()) as client:
            begun = time.perf_counter()
            headers = {"Content-Type": "application/zip", "Content-Length": str(2 << 40)}
            request = client.build_request("POST", "/recontour", content=b"", headers=headers)
            answer = await client.send(request)
            assert (answer.status_code, answer.json()["code"]) == (413, "too-large")
            assert time.perf_counter() - begun < 1

    run(scenario())


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "gzip, identity"])
def test_a_compressed_body_is_refused(encoding: str):
    async def scenario() -> None:
        async with serving(FakeCore()) as client:
            headers = {"Content-Encoding": encoding, "Content-Type": "application/zip"}
            answer = await client.post("/recontour", content=b"x", headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (415, "content-encoding-unsupported")

    run(scenario())


def test_a_body_that_stalls_is_ended_with_408_and_its_place_is_free_again():
    async def scenario() -> None:
        async def stalling() -> AsyncIterator[bytes]:
            yield b"PK"
            await asyncio.sleep(30)

        async with serving(FakeCore(), body_stall_s=0.1, queue_length=0) as client:
            begun = time.perf_counter()
            answer = await client.post("/recontour", content=stalling(), headers={"Content-Type": "application/zip"})
            assert (answer.status_code, answer.json()["code"]) == (408, "body-stalled")
            assert answer.headers["connection"] == "close"
            assert time.perf_counter() - begun < 3
            assert (await client.post("/recontour", files=case_files())).status_code == 200

    run(scenario())


def test_no_request_leaves_a_file_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Starlette's own form reader would spool large parts into the temporary directory."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a temporary file was opened")

    monkeypatch.setattr(tempfile, "SpooledTemporaryFile", refuse)

    async def scenario() -> None:
        async with serving(FakeCore()) as client:
            files = [*case_files()[:3], ("daily_ct", ("3.dcm", b"x" * (3 << 20), "application/dicom"))]
            assert (await client.post("/recontour", files=files)).status_code == 200
            packed = zip_of({"a": b"x" * (3 << 20), "b": b"y"}, method=zipfile.ZIP_STORED)
            answer = await client.post("/recontour", content=packed, headers={"Content-Type": "application/zip"})
            assert answer.status_code == 200

    run(scenario())
    assert list(tmp_path.iterdir()) == []
