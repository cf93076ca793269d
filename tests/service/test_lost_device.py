"""A device that fails or hangs while patients are being treated: the service must notice, say so, and be restarted."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from imaging.backends.onnx_runtime import DEVICE_FAULTS, OnnxRuntimeBackend
from imaging.backends.open_vino import OpenVinoBackend
from imaging.errors import ProviderUnavailable
from imaging.timing import Stopwatch
from service.core import Answer, PassCheck, ReadPlan, ServedModel
from service.uploads import Upload
from tests.service.helpers import FakeCore, case_files, run, serving, until

SECRET = "CUDA failure 719: unspecified launch failure ; hostname=node-7 ; file=/build/onnxruntime/cuda_call.cc"
IMAGE = np.zeros((1, 1, 2, 2, 2), np.float32)


class LostRuntime:
    """Stands for the session of either runtime whose device has gone."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def run(self, *_: object) -> None:
        raise self._error

    def infer(self, *_: object) -> None:
        raise self._error


def lost_onnx_runtime(error: Exception) -> OnnxRuntimeBackend:
    backend = OnnxRuntimeBackend.__new__(OnnxRuntimeBackend)
    backend._session = LostRuntime(error)
    return backend


def lost_open_vino(error: Exception) -> OpenVinoBackend:
    backend = OpenVinoBackend.__new__(OpenVinoBackend)
    backend._request = LostRuntime(error)
    return backend


@pytest.mark.parametrize(
    "backend", [*(lost_onnx_runtime(kind(SECRET)) for kind in DEVICE_FAULTS), lost_open_vino(RuntimeError(SECRET))]
)
def test_a_device_lost_in_flight_is_named_so_without_the_runtimes_own_words(backend: Any):
    with pytest.raises(ProviderUnavailable) as caught:
        backend.run(IMAGE, IMAGE, IMAGE)
    assert "nothing was contoured" in caught.value.message
    assert not set(SECRET.split()) & set(str(caught.value).split())


def test_a_wrong_input_is_our_own_fault_and_not_a_lost_device():
    with pytest.raises(ValueError, match="rank"):
        lost_onnx_runtime(ValueError("rank")).run(IMAGE, IMAGE, IMAGE)


def test_a_fault_of_cuda_never_moves_the_session_to_the_cpu_in_silence(monkeypatch: pytest.MonkeyPatch):
    class Session(LostRuntime):
        fallback = True

        def __init__(self, *_: object, **__: object) -> None:
            super().__init__(RuntimeError())

        def get_providers(self) -> list[str]:
            return ["CUDAExecutionProvider"]

        def disable_fallback(self) -> None:
            self.fallback = False

    monkeypatch.setattr("imaging.backends.onnx_runtime.onnxruntime.InferenceSession", Session)
    assert OnnxRuntimeBackend(Path("model.onnx"), cuda=False)._session.fallback is False


class CoreWithBackend(FakeCore):
    """Runs a back end that has lost its device, as the network stage would."""

    def __init__(self, backend: OnnxRuntimeBackend) -> None:
        super().__init__()
        self.backend = backend
        self.comes_back = False

    def bring_up(self, passed: PassCheck) -> ServedModel | None:
        if self.bring_ups and not self.comes_back:
            self.bring_ups += 1
            self.backend.run(IMAGE, IMAGE, IMAGE)
        return super().bring_up(passed)

    def recontour(self, upload: Upload, plan: ReadPlan | None, stopwatch: Stopwatch) -> Answer:
        if not self.comes_back:
            self.backend.run(IMAGE, IMAGE, IMAGE)
        return super().recontour(upload, plan, stopwatch)


async def settled(client: httpx.AsyncClient, phase: str) -> None:
    for _ in range(1000):
        if (await client.get("/health/ready")).json()["phase"] == phase:
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"it never became {phase}")


@pytest.mark.parametrize("route", ["/health/live", "/v2/health/live"])
def test_a_lost_device_that_does_not_come_back_ends_the_probe_of_life_so_that_the_pod_is_restarted(route: str):
    async def scenario() -> None:
        core = CoreWithBackend(lost_onnx_runtime(DEVICE_FAULTS[0](SECRET)))
        async with serving(core) as client:
            assert (await client.get(route)).status_code == 200
            answer = await client.post("/recontour", files=case_files())
            assert (answer.status_code, answer.json()["code"]) == (503, "provider-unavailable")
            assert "retry-after" in answer.headers
            await until(lambda: core.bring_ups == 2)
            await settled(client, "failed")
            dead = await client.get(route)
            assert (dead.status_code, dead.json()["live"]) == (503, False)
            assert (await client.get("/health/ready")).status_code == 503
            assert (await client.post("/recontour", files=case_files())).json()["code"] == "not-ready"

    run(scenario())


def test_a_device_that_comes_back_serves_on_without_a_restart():
    async def scenario() -> None:
        core = CoreWithBackend(lost_onnx_runtime(DEVICE_FAULTS[0](SECRET)))
        async with serving(core) as client:
            await client.post("/recontour", files=case_files())
            await until(lambda: core.bring_ups == 2)
            core.comes_back = True
            await settled(client, "failed")
            app: FastAPI = client._transport.app  # type: ignore[attr-defined]
            app.state.service.restart()
            await settled(client, "ready")
            assert (await client.get("/health/live")).status_code == 200
            assert (await client.post("/recontour", files=case_files())).status_code == 200

    run(scenario())


def test_a_service_that_never_was_ready_stays_alive_so_that_its_reason_can_be_read():
    async def scenario() -> None:
        core = FakeCore()
        core.failing_check = "model_hash"
        async with serving(core, ready=False) as client:
            await settled(client, "failed")
            assert (await client.get("/health/live")).status_code == 200

    run(scenario())


@pytest.mark.parametrize("waits", [True, False])
def test_a_device_that_hangs_is_noticed_though_nobody_waits_for_its_answer_any_more(waits: bool):
    async def scenario() -> None:
        core = FakeCore()
        core.release.clear()
        async with serving(core, deadline_s=0.1, hang_grace_s=0.1) as client:
            case = asyncio.create_task(client.post("/recontour", files=case_files()))
            await until(lambda: core.at_work == 1)
            if waits:
                assert (await case).json()["code"] == "deadline-exceeded"
            else:
                case.cancel()
            assert (await client.get("/health/live")).status_code == 200
            await settled(client, "failed")
            assert (await client.get("/health/live")).status_code == 503
            ready = await client.get("/health/ready")
            assert ready.status_code == 503
            assert ready.json()["checks"]["provider"] == {
                "passed": False,
                "detail": "one case has been at work for 0.2 s; the device hangs",
            }
            assert (await client.post("/recontour", files=case_files())).json()["code"] == "not-ready"
            core.release.set()

    run(scenario())


def test_work_that_was_only_slow_is_followed_by_all_checks_before_the_next_case():
    async def scenario() -> None:
        core = FakeCore()
        core.release.clear()
        async with serving(core, deadline_s=0.05, hang_grace_s=0.05) as client:
            assert (await client.post("/recontour", files=case_files())).status_code == 504
            await settled(client, "failed")
            core.release.set()
            await settled(client, "ready")
            assert core.bring_ups == 2
            assert (await client.get("/health/live")).status_code == 200
            assert (await client.post("/recontour", files=case_files())).status_code == 200

    run(scenario())


def test_a_device_that_hangs_while_it_is_brought_up_again_is_noticed_too():
    answers = threading.Event()

    class Core(FakeCore):
        def bring_up(self, passed: PassCheck) -> ServedModel | None:
            if self.bring_ups:
                assert answers.wait(10)
            return super().bring_up(passed)

    async def scenario() -> None:
        core = Core()
        async with serving(core, deadline_s=0.05, hang_grace_s=0.05) as client:
            core.error = ProviderUnavailable("the device failed")
            answer = await client.post("/recontour", files=case_files())
            assert answer.json()["code"] == "provider-unavailable"
            await settled(client, "failed")
            assert (await client.get("/health/live")).status_code == 503
            answers.set()

    run(scenario())


def test_work_within_its_time_leaves_no_watch_behind():
    async def scenario() -> None:
        core = FakeCore()
        async with serving(core, deadline_s=0.2, hang_grace_s=0.0) as client:
            assert (await client.post("/recontour", files=case_files())).status_code == 200
            await asyncio.sleep(0.3)
            assert (await client.get("/health/live")).status_code == 200
            assert (await client.get("/health/ready")).status_code == 200

    run(scenario())
