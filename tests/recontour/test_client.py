import errno
import io
import json
import zipfile
from collections.abc import Callable
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import httpx
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset

from recontour.client import RT_OBJECTS, Answer, Client, ClientError, Refused, Unreachable, dicom_files, server_timing

URL = "http://service.test"
REPORT = {"verdict": "pass", "rois": []}


def client(handler: Callable[[httpx.Request], httpx.Response], key: str = "") -> Client:
    return Client(URL, key=key, transport=httpx.MockTransport(handler))


def zip_answer(request: httpx.Request) -> httpx.Response:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("RECOMMENDED.dcm", b"one")
        archive.writestr("PROPAGATED.dcm", b"two")
        archive.writestr("report.json", json.dumps(REPORT))
        archive.writestr("../../.bashrc", b"never")
    headers = {
        "Content-Type": "application/zip",
        "Server-Timing": "parse;dur=40.5, total;dur=1200",
        "X-Request-ID": "abc",
    }
    return httpx.Response(200, content=packed.getvalue(), headers=headers)


def parts_of(request: httpx.Request) -> list[Message]:
    content_type = request.headers["Content-Type"].encode()
    whole = message_from_bytes(b"Content-Type: " + content_type + b"\r\n\r\n" + request.content)
    assert whole.is_multipart()
    return list(whole.get_payload())  # type: ignore[arg-type]


def test_a_case_travels_as_one_part_per_object_under_neutral_names(tmp_path: Path) -> None:
    """Exports are named after patients; those names must not reach a server's log."""
    folder = tmp_path / "DOE^JOHN"
    folder.mkdir()
    for name in ("DOE_2.dcm", "DOE_1.dcm"):
        (folder / name).write_bytes(name.encode())
    (folder / ".hidden").write_bytes(b"no")
    (folder / "DICOMDIR").write_bytes(b"no")
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        request.read()
        seen.append(request)
        return zip_answer(request)

    with client(handler) as service:
        service.recontour(planning=folder, structures=[b"rtss"], daily=[b"d1", b"d2"], options={"refine": "off"})
    parts = [(p.get_param("name", header="Content-Disposition"), p.get_payload(decode=True)) for p in parts_of(seen[0])]
    assert parts == [
        ("planning_ct", b"DOE_1.dcm"),
        ("planning_ct", b"DOE_2.dcm"),
        ("planning_structures", b"rtss"),
        ("daily_ct", b"d1"),
        ("daily_ct", b"d2"),
        ("options", b'{"refine": "off"}'),
    ]
    assert b"DOE^" not in seen[0].content
    assert all("DOE" not in (part.get_filename() or "") for part in parts_of(seen[0]))
    assert int(seen[0].headers["Content-Length"]) == len(seen[0].content)
    assert "Transfer-Encoding" not in seen[0].headers


def test_progress_reaches_the_whole_body() -> None:
    told: list[tuple[int, int]] = []
    sizes: list[int] = []

    def handler(request: httpx.Request) -> httpx.Response:
        sizes.append(len(request.read()))
        return zip_answer(request)

    with client(handler) as service:
        service.recontour(
            planning=[b"a" * 1000],
            structures=[b"b"],
            daily=[b"c"],
            progress=lambda sent, whole: told.append((sent, whole)),
        )
    assert sum(sent for sent, _ in told) == sizes[0]
    assert {whole for _, whole in told} == {sizes[0]}


def test_the_answer_holds_structure_sets_report_and_times_and_nothing_else(tmp_path: Path) -> None:
    with client(zip_answer) as service:
        answer = service.recontour(planning=[b"a"], structures=[b"b"], daily=[b"c"])
    assert answer.objects == {"RECOMMENDED": b"one", "PROPAGATED": b"two"}
    assert answer.report == REPORT
    assert answer.stages_s == {"parse": 0.0405, "total": 1.2}
    assert answer.request_id == "abc"
    written = answer.save(tmp_path / "new" / "out")
    assert [file.name for file in written] == ["RECOMMENDED.dcm", "PROPAGATED.dcm", "report.json"]
    assert written[0].read_bytes() == b"one"
    assert json.loads(written[2].read_text()) == REPORT


@pytest.mark.parametrize(
    ("form", "accept", "response", "objects", "report"),
    [
        (
            "recommended",
            "application/dicom",
            httpx.Response(200, content=b"dcm", headers={"Content-Type": "application/dicom"}),
            {"RECOMMENDED": b"dcm"},
            {},
        ),
        ("report", "application/json", httpx.Response(200, json=REPORT), {}, REPORT),
        (
            "related",
            'multipart/related; type="application/dicom"',
            httpx.Response(
                200,
                content=b'--xyz\r\nContent-Disposition: attachment; filename="RECOMMENDED.dcm"\r\n\r\none\r\n\r\n'
                b'--xyz\r\nContent-Disposition: attachment; filename="SEGMENTED.dcm"\r\n\r\ntwo\r\n--xyz--\r\n',
                headers={"Content-Type": 'multipart/related; type="application/dicom"; boundary=xyz'},
            ),
            {"RECOMMENDED": b"one\r\n", "SEGMENTED": b"two"},
            {},
        ),
    ],
)  # fmt: skip
def test_every_form_of_answer_is_asked_for_and_read(
    form: str, accept: str, response: httpx.Response, objects: dict[str, bytes], report: dict[str, object]
) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        assert request.headers["Accept"] == accept
        return response

    with client(handler) as service:
        answer = service.recontour(planning=[b"a"], structures=[b"b"], daily=[b"c"], form=form)  # type: ignore[arg-type]
    assert (answer.objects, answer.report) == (objects, report)


def test_a_problem_becomes_an_error_with_its_code_and_advice() -> None:
    problem = {"status": 422, "code": "missing-slices", "detail": "a gap of 6 mm", "advice": "Send every slice."}

    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(422, json=problem, headers={"X-Request-ID": "abc"})

    with client(handler) as service, pytest.raises(Refused) as caught:
        service.recontour(planning=[b"a"], structures=[b"b"], daily=[b"c"])
    assert (caught.value.status, caught.value.code, caught.value.request_id) == (422, "missing-slices", "abc")
    assert str(caught.value) == "422 missing-slices: a gap of 6 mm. Send every slice."


def test_an_error_of_a_proxy_that_knows_no_problems_is_still_understood() -> None:
    with client(lambda _: httpx.Response(502, text="<html>")) as service, pytest.raises(Refused) as caught:
        service.get("/limits")
    assert (caught.value.status, caught.value.code) == (502, "http-error")


def test_something_else_that_answers_at_the_address_is_noticed() -> None:
    with client(lambda _: httpx.Response(200, html="<p>hello</p>")) as service, pytest.raises(ClientError):
        service.recontour(planning=[b"a"], structures=[b"b"], daily=[b"c"])


def test_no_service_is_said_so() -> None:
    with Client("http://127.0.0.1:1") as service, pytest.raises(Unreachable):
        service.get("/limits")


def test_the_key_travels_as_a_bearer_token() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"key": request.headers.get("Authorization")})

    with client(handler, key="secret") as service:
        assert service.get("/limits") == {"key": "Bearer secret"}
    with client(handler) as service:
        assert service.get("/limits") == {"key": None}


def test_waiting_ends_when_the_service_is_ready_and_when_it_failed() -> None:
    states = iter(
        [{"ready": False, "phase": "starting", "checks": {}}, {"ready": True, "phase": "ready", "checks": {}}]
    )
    with client(lambda _: httpx.Response(200, json=next(states))) as service:
        service.wait_until_ready(patience_s=30)
    failed = {"ready": False, "phase": "failed", "checks": {"model_hash": {"passed": False, "detail": "differs"}}}
    with client(lambda _: httpx.Response(503, json=failed)) as service:
        with pytest.raises(Unreachable, match="model_hash: differs"):
            service.wait_until_ready(patience_s=30)
        with pytest.raises(Unreachable):
            service.wait_until_ready(patience_s=30, alive=lambda: False)


def test_an_empty_or_missing_folder_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ClientError):
            dicom_files(path, role="daily_ct")


def test_a_folder_of_everything_is_sorted_into_images_and_structures(tmp_path: Path) -> None:
    """A planning system exports CT, structures, plan and dose side by side."""
    kinds = {"ct": "1.2.840.10008.5.1.4.1.1.2", "rtss": f"{RT_OBJECTS}3", "plan": f"{RT_OBJECTS}5"}
    for name, sop_class in kinds.items():
        dataset = FileDataset(str(tmp_path / name), {}, preamble=b"\0" * 128, file_meta=FileMetaDataset())
        dataset.file_meta.MediaStorageSOPClassUID = sop_class
        dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
        dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"
        dataset.save_as(tmp_path / name)
    (tmp_path / "broken").write_bytes(b"a slice that was cut off")
    assert dicom_files(tmp_path, role="planning_ct") == (tmp_path / "broken", tmp_path / "ct")
    # What cannot be read stays in both, so that the service can refuse it.
    assert dicom_files(tmp_path, role="planning_structures") == (tmp_path / "broken", tmp_path / "rtss")


def test_server_timing_is_read_in_seconds() -> None:
    assert server_timing('affine;dur=66.5;desc="a", write;dur=83') == {"affine": 0.0665, "write": 0.083}
    assert server_timing("") == {}


def test_an_answer_takes_the_place_of_an_earlier_one_and_never_mixes_with_it(tmp_path: Path) -> None:
    """Hazard: another day's contours beside today's, under names that belong together."""
    Answer({"RECOMMENDED": b"a", "PROPAGATED": b"a", "SEGMENTED": b"a"}, {"verdict": "pass"}).save(tmp_path)
    (tmp_path / "notes.txt").write_text("kept")
    Answer({"RECOMMENDED": b"b"}, {}).save(tmp_path)
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"RECOMMENDED.dcm": "b", "notes.txt": "kept"}


def test_a_full_disk_leaves_the_earlier_answer_and_no_part_of_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hazard: a torn RTSTRUCT under its final name in an import folder."""
    Answer({"RECOMMENDED": b"a"}, {"verdict": "pass"}).save(tmp_path)
    write = Path.write_bytes

    def full(file: Path, content: bytes) -> int:
        write(file, content[:2])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match="the answer was not saved"):
            Answer({"RECOMMENDED": b"bbbb"}, {}).save(tmp_path)
    assert (tmp_path / "RECOMMENDED.dcm").read_bytes() == b"a"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["RECOMMENDED.dcm", "report.json"]
