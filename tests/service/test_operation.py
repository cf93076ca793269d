"""Probes, metrics, logs, limits: what operators see, and that no patient is in it."""

import asyncio
import gc
import json
import logging
import re
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from imaging.dicom.ct_geometry import slice_spacing
from imaging.errors import InputError, MissingSlices, RecontouringError, RegistrationRejected
from service.latency import Latency, percentile
from service.problems import PROBLEMS, problem_of
from service.telemetry import JsonLines, Telemetry, configure_logging
from tests.service.helpers import FakeCore, case_files, run, serving, until

PATIENT = "SMITH^JOHN 19500101 PAT-4711"


@pytest.mark.parametrize("route", ["/health/ready", "/v2/health/ready"])
def test_ready_means_hash_provider_warm_up_and_golden_case(route: str):
    async def scenario() -> None:
        async with serving(FakeCore()) as client:
            answer = await client.get(route)
            body = answer.json()
            assert (answer.status_code, body["ready"], body["phase"]) == (200, True, "ready")
            assert {name: check["passed"] for name, check in body["checks"].items()} == {
                "model_hash": True, "provider": True, "warm_up": True, "golden_case": True,
            }  # fmt: skip
            assert body["provider"] == "OpenVINO CPU"

    run(scenario())


@pytest.mark.parametrize("check", ["model_hash", "provider", "warm_up", "golden_case"])
def test_a_check_that_fails_keeps_the_service_unready_and_is_named(check: str):
    async def scenario() -> None:
        core = FakeCore()
        core.failing_check = check
        async with serving(core, ready=False) as client:
            await until(lambda: core.bring_ups == 1)
            while (answer := await client.get("/health/ready")).json()["phase"] == "starting":
                await asyncio.sleep(0.005)
            assert answer.status_code == 503
            assert answer.json()["checks"][check] == {"passed": False, "detail": "it did not pass"}
            assert b"recontour_ready 0.0" in (await client.get("/metrics")).content

    run(scenario())


def test_while_the_model_is_loading_the_service_lives_but_is_not_ready():
    class SlowCore(FakeCore):
        def bring_up(self, passed):  # type: ignore[no-untyped-def]
            assert self.release.wait(10)
            return super().bring_up(passed)

    async def scenario() -> None:
        core = SlowCore()
        core.release.clear()
        async with serving(core, ready=False) as client:
            assert (await client.get("/health/ready")).json()["phase"] == "starting"
            assert (await client.get("/health/live")).status_code == 200
            assert (await client.get("/models")).json() == []
            core.release.set()

    run(scenario())


def test_draining_turns_the_service_unready_and_refuses_new_cases():
    async def scenario() -> None:
        async with serving(FakeCore()) as client:
            client._transport.app.state.service.drain()  # type: ignore[attr-defined]
            assert (await client.get("/health/ready")).status_code == 503
            answer = await client.post("/recontour", files=case_files())
            assert (answer.status_code, answer.json()["code"]) == (503, "draining")
            assert (await client.get("/health/live")).status_code == 200

    run(scenario())


def test_latency_is_reported_per_stage_from_real_requests_against_the_target():
    async def scenario() -> None:
        async with serving(FakeCore(), latency_target_s=60) as client:
            assert (await client.get("/health/latency")).json()["within_target"] is None
            for _ in range(3):
                await client.post("/recontour", files=case_files())
            report = (await client.get("/health/latency")).json()
            assert (report["requests"], report["within_target"], report["target_s"]) == (3, True, 60)
            assert list(report["stages"]) == ["receive", "queue", "parse", "affine", "total"]

    run(scenario())


def test_percentiles_are_by_nearest_rank():
    assert percentile([1.0], 95) == 1.0
    assert percentile([float(n) for n in range(1, 101)], 95) == 95.0
    assert percentile([1.0, 2.0, 3.0, 4.0], 50) == 2.0


def test_a_p95_beyond_the_target_is_said():
    latency = Latency(target_s=1.0)
    for total in (0.5, 0.5, 2.0):
        latency.record({"total": total})
    assert latency.report().within_target is False


def test_metrics_count_requests_stages_findings_and_name_the_model():
    async def scenario() -> None:
        async with serving(FakeCore()) as client:
            await client.post("/recontour", files=case_files())
            await client.post("/recontour", files=case_files()[:1])
            text = (await client.get("/metrics")).text
            for line in (
                'recontour_requests_total{method="POST",route="/recontour",status="200"} 1.0',
                'recontour_requests_total{method="POST",route="/recontour",status="422"} 1.0',
                'recontour_problems_total{code="missing-object"} 1.0',
                'recontour_findings_total{check="volume-ratio",verdict="review"} 1.0',
                'recontour_model_info{name="test-model",provider="OpenVINO CPU",version="0.0.1"} 1.0',
                'recontour_request_duration_seconds_count{outcome="answered",stage="affine"} 1.0',
                'recontour_request_duration_seconds_count{outcome="refused",stage="receive"} 1.0',
                "recontour_queue_depth 0.0",
                "recontour_ready 1.0",
            ):
                assert line in text, line

    run(scenario())


def test_no_patient_string_reaches_a_problem_a_log_a_metric_or_a_header(caplog: pytest.LogCaptureFixture):
    """Names, dates and numbers are planted wherever a client or a library could leave them."""

    async def scenario() -> None:
        core = FakeCore()
        async with serving(core) as client:
            answers = []
            core.error = RuntimeError(f"could not decode {PATIENT}")
            answers.append(await client.post("/recontour", files=case_files()))
            accepted = await client.post("/recontour", files=case_files(), headers={"Prefer": "respond-async"})
            while (job := await client.get(accepted.headers["location"])).json()["state"] in ("queued", "running"):
                await asyncio.sleep(0.01)
            answers += [job, await client.get(f"{accepted.headers['location']}/result")]
            core.error = None
            named = [(field, (f"{PATIENT}.dcm", content, kind)) for field, (_, content, kind) in case_files()]
            answers.append(await client.post("/recontour", files=named))
            answers.append(await client.post("/recontour", files=[(PATIENT, ("a", b"x", "application/dicom"))]))
            options = [*case_files(), ("options", (None, json.dumps({PATIENT: PATIENT}), "application/json"))]
            answers.append(await client.post("/recontour", files=options))
            rois = [*case_files(), ("plan_id", (None, PATIENT.encode(), "text/plain"))]
            answers.append(await client.post("/recontour", files=rois))
            for path in (f"/{PATIENT}", f"/plans/{PATIENT}", f"/jobs/{PATIENT}", f"/models/{PATIENT}"):
                answers.append(await client.get(path))
            answers.append(await client.request(PATIENT.split("^", maxsplit=1)[0], "/recontour"))
            headers = {"X-Request-ID": PATIENT, "Accept": PATIENT, "User-Agent": PATIENT, "Content-Type": PATIENT}
            answers.append(await client.post(f"/recontour?patient={PATIENT}", content=b"x", headers=headers))
            assert [answer.status_code for answer in answers] == [
                500, 200, 500, 200, 400, 422, 404, 404, 404, 404, 404, 405, 406,
            ]  # fmt: skip
            told = [answer.text + str(answer.headers) for answer in answers]
            told.append((await client.get("/metrics")).text)
            told += [JsonLines().format(record) for record in caplog.records if record.name == "recontour"]
            assert len(told) > 2 * len(answers)
            for text in told:
                for planted in ("SMITH", "JOHN", "19500101", "PAT-4711"):
                    assert planted not in text

    caplog.set_level(logging.INFO, logger="recontour")
    run(scenario())


def test_a_fault_is_logged_by_class_and_place_under_the_request_id(caplog: pytest.LogCaptureFixture):
    async def scenario() -> None:
        core = FakeCore()
        core.error = ZeroDivisionError(PATIENT)
        async with serving(core) as client:
            answer = await client.post("/recontour", files=case_files())
            assert (answer.status_code, answer.json()["code"]) == (500, "internal-error")
            lines = [json.loads(JsonLines().format(record)) for record in caplog.records]
            fault = next(line for line in lines if line["event"] == "fault")
            assert fault["fault"] == "ZeroDivisionError"
            assert fault["at"].startswith("helpers.py:")
            assert fault["request_id"] == answer.headers["x-request-id"]

    caplog.set_level(logging.INFO, logger="recontour")
    run(scenario())


def test_a_log_field_that_is_not_allowed_is_a_bug():
    with pytest.raises(KeyError):
        Telemetry().log("request", patient_name=PATIENT)


def test_texts_of_libraries_and_warnings_never_reach_the_log(capfd: pytest.CaptureFixture[str]):
    """pydicom warns with the value of the attribute that it does not like."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        configure_logging()
        logging.getLogger("pydicom").warning("invalid value %s", PATIENT)
        try:
            raise ValueError(PATIENT)
        except ValueError:
            logging.getLogger("asyncio").exception(PATIENT)
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn(PATIENT, stacklevel=1)
    finally:
        logging.captureWarnings(False)
        root.handlers[:] = handlers
        root.setLevel(level)
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [line["event"] for line in lines] == ["library"] * 3
    assert lines[1]["fault"] == "ValueError"
    assert "SMITH" not in json.dumps(lines)


def test_models_limits_and_problems_are_told():
    async def scenario() -> None:
        async with serving(FakeCore()) as client:
            (model,) = (await client.get("/models")).json()
            assert model == {
                "name": "test-model", "version": "0.0.1", "provider": "OpenVINO CPU", "organs": ["Bladder", "Rectum"],
            }  # fmt: skip
            description = (await client.get("/models/test-model")).json()
            assert (description["manifest"]["name"], description["card"]) == ("test-model", "# Card")
            assert (await client.get("/models/other")).json()["code"] == "model-not-found"
            limits = (await client.get("/limits")).json()
            assert limits["upload"]["body_bytes"] == 1536 * 1024 * 1024
            assert len((await client.get("/problems")).json()) == len(PROBLEMS)
            assert (await client.get("/problems/none")).status_code == 404

    run(scenario())


def test_every_refusal_of_the_core_has_its_row_in_the_table():
    def family(kind: type[Exception]) -> set[type[Exception]]:
        return {kind}.union(*(family(sub) for sub in kind.__subclasses__()))

    codes = {kind.code for kind in family(RecontouringError) if kind.__module__ == "imaging.errors"}  # type: ignore[attr-defined]
    assert codes <= set(PROBLEMS)


def test_the_problem_in_the_documentation_is_what_the_reader_says_of_such_a_scan():
    """Slices of 2.5 mm from z = 98 to 128 mm, those at 108 and 118 mm missing."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "http.md").read_text()
    shown = json.loads(re.search(r"^    (\{\"type\".*?\}\})$", page, re.DOTALL | re.MULTILINE).group(1))  # type: ignore[union-attr]
    z_mm = np.array([z for z in np.arange(98.0, 128.1, 2.5) if z not in (108.0, 118.0)])
    with pytest.raises(MissingSlices) as refused:
        slice_spacing(z_mm)
    assert problem_of(refused.value).body("7b0f4a52-6f0c-4c1c-9d0e-0a8f6c2f9f10") == shown


def test_an_error_of_the_core_without_a_row_is_a_bug_and_not_a_guess():
    class Unlisted(InputError):
        code = "unlisted"

    assert problem_of(Unlisted("text")).status == 500


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("too-large", 413), ("unsupported-object", 415), ("lossy-pixel-data", 415), ("not-dicom", 415),
        ("truncated", 422), ("patient-mismatch", 422), ("structure-reference-mismatch", 422),
        ("registration-rejected", 422), ("options-invalid", 422), ("model-not-found", 404), ("plan-not-found", 404),
        ("job-not-found", 404), ("model-error", 503), ("provider-unavailable", 503), ("queue-full", 429),
        ("plans-full", 429), ("not-ready", 503), ("draining", 503),
        ("plan-conflict", 409), ("deadline-exceeded", 504), ("body-stalled", 408), ("internal-error", 500),
    ],
)  # fmt: skip
def test_status_codes_are_as_the_hazard_analysis_says(code: str, status: int):
    assert PROBLEMS[code].status == status


def test_cases_that_fail_one_after_another_leave_no_scans_behind():
    class Scan:
        pass

    class FailingCore(FakeCore):
        def recontour(self, *_: object):  # type: ignore[no-untyped-def]
            scan = Scan()
            left.append(weakref.ref(scan))
            with ThreadPoolExecutor(1) as beside:
                return beside.submit(refuse, scan).result()

    def refuse(scan: Scan) -> None:
        raise RegistrationRejected(f"the patient turned {len(left)} times")

    left: list[weakref.ref[Scan]] = []

    async def scenario() -> None:
        async with serving(FailingCore()) as client:
            gc.disable()
            for _ in range(5):
                assert (await client.post("/recontour", files=case_files())).status_code == 422
            assert [scan() for scan in left] == [None] * 5

    try:
        run(scenario())
    finally:
        gc.enable()
