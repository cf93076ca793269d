"""POST /recontour as its users meet it: every form of request and answer, and refusals."""

import asyncio
import io
import json
import uuid
import zipfile
from collections.abc import AsyncIterator

import pytest

from imaging.errors import MissingSlices, ProviderUnavailable, RegistrationRejected
from tests.service.helpers import KEY, KEY_SHA256, FakeCore, case_files, run, serving, until, zip_of

PART = b"--b\r\nContent-Type: application/dicom\r\n\r\n"
RELATED_BODY = PART + b"one\r\n" + PART + b"two\r\n--b--\r\n"


def test_a_case_sent_as_form_comes_back_as_the_recommended_structure_set():
    async def scenario() -> None:
        async with serving(FakeCore()) as client:
            answer = await client.post("/recontour", files=case_files())
            assert answer.status_code == 200
            assert answer.headers["content-type"] == "application/dicom"
            assert answer.headers["content-disposition"] == 'attachment; filename="RECOMMENDED.dcm"'
            assert answer.content.startswith(b"R")
            assert answer.headers["x-recontour-verdict"] == "pass"
            assert answer.headers["x-recontour-model"] == "prostate-ct 0.1.0"
            assert answer.headers["x-recontour-version"]
            assert answer.headers["cache-control"] == "no-store"

    run(scenario())


def test_server_timing_names_the_stages_in_milliseconds():
    async def scenario() -> None:
        async with serving(FakeCore()) as client:
            answer = await client.post("/recontour", files=case_files())
            stages = dict(stage.split(";dur=") for stage in answer.headers["server-timing"].split(", "))
            assert list(stages) == ["receive", "queue", "parse", "affine", "total"]
            assert 0 < float(stages["total"]) < 10_000

    run(scenario())


def test_accept_multipart_brings_every_structure_set():
    async def scenario() -> None:
        async with serving(FakeCore()) as client:
            answer = await client.post("/recontour", files=case_files(), headers={"Accept": "multipart/related"})
            kind, _, boundary = answer.headers["content-type"].partition("; boundary=")
            assert kind == 'multipart/related; type="application/dicom"'
            parts = answer.content.split(f"--{boundary}".encode())
            assert [part.split(b"\r\n\r\n")[1][:1] for part in parts[1:4]] == [b"R", b"P", b"S"]
            assert parts[4] == b"--\r\n"

    run(scenario())


def test_accept_zip_brings_every_structure_set_and_the_report_under_names_without_a_patient():
    async def scenario() -> None:
        async with serving(FakeCore()) as client:
            answer = await client.post("/recontour", files=case_files(), headers={"Accept": "application/zip"})
            with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
                assert archive.namelist() == ["RECOMMENDED.dcm", "PROPAGATED.dcm", "SEGMENTED.dcm", "report.json"]
                assert json.loads(archive.read("report.json"))["approval_status"] == "UNAPPROVED"

    run(scenario())


def test_accept_json_brings_the_report():
    async def scenario() -> None:
        async with serving(FakeCore()) as client:
            answer = await client.post("/recontour", files=case_files(), headers={"Accept": "application/json"})
            assert answer.headers["content-type"] == "application/json"
            assert answer.json()["rois"][0]["name"] == "Bladder"

    run(scenario())


def test_what_cannot_be_answered_in_an_acceptable_form_is_refused_before_the_body_is_read():
    async def scenario() -> None:
        async def endless() -> AsyncIterator[bytes]:
            raise AssertionError("the body was read")
            yield b""

        async with serving(FakeCore()) as client:
            answer = await client.post(
                "/recontour",
                content=endless(),
                headers={"Accept": "text/html", "Content-Type": "application/zip", "Content-Length": "0"},
            )
            assert (answer.status_code, answer.json()["code"]) == (406, "not-acceptable")

    run(scenario())


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (RELATED_BODY, 'multipart/related; type="application/dicom"; boundary=b'),
        (zip_of({"a.dcm": b"one", "b.dcm": b"two"}), "application/zip"),
    ],
)
def test_objects_may_come_unsorted(content: bytes, media_type: str):
    async def scenario() -> None:
        async with serving(FakeCore()) as client:
            answer = await client.post("/recontour", content=content, headers={"Content-Type": media_type})
            assert answer.status_code == 200

    run(scenario())


def test_a_zip_per_role_is_the_same_case_as_its_files():
    async def scenario() -> None:
        async with serving(FakeCore()) as client:
            files = case_files()
            single = await client.post("/recontour", files=files)
            planning = zip_of({"x/1.dcm": files[0][1][1], "x/2.dcm": files[1][1][1], "x/.DS_Store": b"clutter"})
            zipped = [("planning_ct", ("p.zip", planning, "application/zip")), files[2], files[3]]
            assert (await client.post("/recontour", files=zipped)).content == single.content

    run(scenario())


def test_the_same_case_twice_gives_the_same_bytes():
    async def scenario() -> None:
        async with serving(FakeCore()) as client:
            for accept in ("application/dicom", "multipart/related"):
                first = await client.post("/recontour", files=case_files(), headers={"Accept": accept})
                second = await client.post("/recontour", files=case_files(), headers={"Accept": accept})
                assert first.content == second.content

    run(scenario())


@pytest.mark.parametrize(
    "options", [b"{", b'{"refine": "maybe"}', b'{"colour": "red"}', b'{"rois": "Bladder"}', b'{"rois": [""]}', b"[]"]
)
def test_options_that_cannot_be_read_are_refused_without_quoting_them(options: bytes):
    async def scenario() -> None:
        async with serving(FakeCore()) as client:
            files = [*case_files(), ("options", (None, options, "application/json"))]
            answer = await client.post("/recontour", files=files)
            assert (answer.status_code, answer.json()["code"]) == (422, "options-invalid")
            for quoted in ("maybe", "colour", "red"):
                assert quoted not in answer.text

    run(scenario())


@pytest.mark.parametrize(
    ("extra", "status", "code"),
    [
        ([("plan_id", "couch-2"), ("plan_id", "couch-3")], 400, "multipart-invalid"),
        ([("options", '{"refine": "off"}'), ("options", '{"refine": "auto"}')], 400, "multipart-invalid"),
        ([("options", '{"refine": "off", "refine": "auto"}')], 422, "options-invalid"),
    ],
)
def test_what_is_said_twice_is_refused_because_nobody_knows_which_is_meant(extra, status: int, code: str):
    async def scenario() -> None:
        async with serving(FakeCore()) as client:
            files = [*case_files(), *((name, (None, value, "text/plain")) for name, value in extra)]
            answer = await client.post("/recontour", files=files)
            assert (answer.status_code, answer.json()["code"]) == (status, code)
            assert "twice" in answer.json()["detail"]

    run(scenario())


def test_options_that_lie_twice_in_a_zip_are_refused():
    async def scenario() -> None:
        async with serving(FakeCore()) as client:
            packed = zip_of({"a.dcm": b"one", "options.json": b"{}", "plan/options.json": b'{"refine": "off"}'})
            answer = await client.post("/recontour", content=packed, headers={"Content-Type": "application/zip"})
            assert (answer.status_code, answer.json()["code"]) == (400, "archive-invalid")

    run(scenario())


def test_options_reach_the_core():
    async def scenario() -> None:
        async with serving(FakeCore()) as client:
            files = [*case_files(), ("options", (None, b'{"refine": "off"}', "application/json"))]
            assert (await client.post("/recontour", files=files)).content.endswith(b" off")
            packed = zip_of({"a.dcm": b"one", "options.json": b'{"refine": "off"}'})
            answer = await client.post("/recontour", content=packed, headers={"Content-Type": "application/zip"})
            assert answer.content.endswith(b" off")

    run(scenario())


@pytest.mark.parametrize("role", ["planning_ct", "planning_structures", "daily_ct"])
def test_a_role_without_an_object_is_refused_by_name(role: str):
    async def scenario() -> None:
        async with serving(FakeCore()) as client:
            files = [file for file in case_files() if file[0] != role]
            answer = await client.post("/recontour", files=files)
            assert (answer.status_code, answer.json()["code"]) == (422, "missing-object")
            assert role in answer.json()["detail"]

    run(scenario())


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (MissingSlices("a gap after slice 12; send the series whole", positions=[-30.0]), 422, "missing-slices"),
        (RegistrationRejected("overlap 0.61 is below 0.80; contour by hand"), 422, "registration-rejected"),
        (ProviderUnavailable("the accelerator does not answer"), 503, "provider-unavailable"),
    ],
)
def test_what_the_core_refuses_becomes_a_problem_with_its_numbers(error: Exception, status: int, code: str):
    async def scenario() -> None:
        core = FakeCore()
        core.error = error
        async with serving(core) as client:
            answer = await client.post("/recontour", files=case_files())
            body = answer.json()
            assert answer.headers["content-type"] == "application/problem+json"
            assert (answer.status_code, body["status"], body["code"]) == (status, status, code)
            assert body["type"] == f"/problems/{code}"
            assert body["detail"] == str(error)
            assert body["instance"] == f"urn:uuid:{answer.headers['x-request-id']}"
            assert ("retry-after" in answer.headers) == (status == 503)
            described = (await client.get(body["type"])).json()
            assert described["title"] == body["title"]

    run(scenario())


def test_an_empty_list_of_rois_is_refused_before_any_work():
    async def scenario() -> None:
        core = FakeCore()
        async with serving(core) as client:
            files = [*case_files(), ("options", (None, b'{"rois": []}', "application/json"))]
            answer = await client.post("/recontour", files=files)
            assert (answer.status_code, answer.json()["code"]) == (422, "options-invalid")
            assert answer.json()["detail"].startswith("rois: ")
            assert core.threads == set()

    run(scenario())


def test_a_lost_accelerator_makes_the_service_unready_until_the_golden_case_passes_again():
    async def scenario() -> None:
        core = FakeCore()
        core.error = ProviderUnavailable("the accelerator does not answer")
        async with serving(core) as client:
            await client.post("/recontour", files=case_files())
            core.error = None
            await until(lambda: core.bring_ups == 2)
            for _ in range(100):
                if (await client.get("/health/ready")).status_code == 200:
                    break
                await asyncio.sleep(0.01)
            assert (await client.post("/recontour", files=case_files())).status_code == 200

    run(scenario())


def test_a_well_formed_request_id_is_echoed_and_any_other_replaced():
    async def scenario() -> None:
        async with serving(FakeCore()) as client:
            own = str(uuid.uuid4())
            for sent in (own, uuid.UUID(own).hex):
                answer = await client.get("/health/live", headers={"X-Request-ID": sent})
                assert answer.headers["x-request-id"] == sent
            for sent in ("SMITH^JOHN", "12345678", "a" * 33, ""):
                answer = await client.get("/health/live", headers={"X-Request-ID": sent})
                assert str(uuid.UUID(answer.headers["x-request-id"])) == answer.headers["x-request-id"]

    run(scenario())


def test_unknown_routes_and_methods_are_problems_too():
    async def scenario() -> None:
        async with serving(FakeCore()) as client:
            unknown = await client.get("/patients/SMITH")
            assert (unknown.status_code, unknown.json()["code"]) == (404, "not-found")
            assert "SMITH" not in unknown.text
            # A redirect would have the case sent twice.
            assert (await client.post("/recontour/", files=case_files())).status_code == 404
            wrong = await client.get("/recontour")
            assert (wrong.status_code, wrong.json()["code"]) == (405, "method-not-allowed")
            assert wrong.headers["allow"] == "POST"
            head = await client.head("/recontour")
            assert head.status_code == 405
            for answer in (unknown, wrong, head):
                assert answer.headers["content-type"] == "application/problem+json"
                assert answer.headers["x-request-id"]

    run(scenario())


def test_with_a_key_set_only_its_bearer_is_served_and_probes_stay_open():
    async def scenario() -> None:
        async with serving(FakeCore(), api_key_sha256=(KEY_SHA256,)) as client:
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic " + KEY}):
                answer = await client.post("/recontour", files=case_files(), headers=headers)
                assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
                assert answer.headers["www-authenticate"] == "Bearer"
            good = {"Authorization": f"Bearer {KEY}"}
            assert (await client.post("/recontour", files=case_files(), headers=good)).status_code == 200
            assert (await client.get("/models")).status_code == 401
            assert (await client.put("/plans/a", files=case_files())).status_code == 401
            assert (await client.get("/jobs/a")).status_code == 401
            assert (await client.get("/health/live")).status_code == 200
            assert (await client.get("/health/ready")).status_code == 200

    run(scenario())


def test_before_it_is_ready_the_service_refuses_cases_but_lives():
    async def scenario() -> None:
        core = FakeCore()
        core.failing_check = "golden_case"
        async with serving(core, ready=False) as client:
            await until(lambda: core.bring_ups == 1)
            answer = await client.post("/recontour", files=case_files())
            assert (answer.status_code, answer.json()["code"]) == (503, "not-ready")
            assert "retry-after" in answer.headers
            assert (await client.get("/health/live")).status_code == 200

    run(scenario())
