"""A core that does no medicine, and ways to talk to the application."""

import asyncio
import hashlib
import io
import threading
import zipfile
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import httpx
import numpy as np
from fastapi import FastAPI
from pydicom import Dataset

from imaging.dicom.objects import CtSeries, PlannedStructures
from imaging.errors import ModelError
from imaging.findings import Finding, Verdict
from imaging.geometry import VolumeGeometry
from imaging.structures import Roi, StructureSet
from imaging.timing import Stopwatch
from imaging.volume import Volume
from service.app import create_app
from service.contract import example_report
from service.core import Answer, PassCheck, ReadPlan, ServedModel
from service.schemas import read_options
from service.settings import Settings
from service.uploads import Upload, require_roles, unpack_upload
from tests.manifests import manifest_with

KEY = "a key that only the test knows"
KEY_SHA256 = hashlib.sha256(KEY.encode()).hexdigest()


class FakeCore:
    """Answers with the digest of what was sent, so that a mixed-up answer shows."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.release.set()
        self.done = 0
        self.error: BaseException | None = None
        self.failing_check = ""
        self.bring_ups = 0
        self.threads: set[str] = set()
        self.at_work = 0
        self.most_at_work = 0

    def bring_up(self, passed: PassCheck) -> ServedModel | None:
        self.bring_ups += 1
        for name in ("model_hash", "provider", "warm_up", "golden_case"):
            if name == self.failing_check:
                passed(name, False, "it did not pass")
                raise ModelError("it did not pass")
            passed(name, True, "")
        return ServedModel(manifest_with(), "OpenVINO CPU", "# Card")

    def read_plan(self, upload: Upload, stopwatch: Stopwatch) -> ReadPlan:
        with stopwatch.stage("parse"):
            self._work()
            opened = unpack_upload(upload, limits=Settings().limits)
        return plan_of(digest_of(opened))

    def recontour(self, upload: Upload, plan: ReadPlan | None, stopwatch: Stopwatch) -> Answer:
        with stopwatch.stage("parse"):
            opened = unpack_upload(upload, limits=Settings().limits)
            require_roles(opened, plan_staged=plan is not None)
            options = read_options(opened.options)
        with stopwatch.stage("affine"):
            self._work()
        planned = "" if plan is None else plan.ct.digest
        content = f"{digest_of(opened)} {planned} {options.refine}".encode()
        findings = (Finding("volume-ratio", Verdict.REVIEW, "The volume is 2.1 times that of the plan.", 2.1, 2.0),)
        report = example_report().model_copy(update={"stages_s": stopwatch.seconds, "options": options})
        return Answer(
            {"RECOMMENDED": b"R" + content, "PROPAGATED": b"P" + content, "SEGMENTED": b"S" + content}, report, findings
        )

    def _work(self) -> None:
        self.threads.add(threading.current_thread().name)
        self.at_work += 1
        self.most_at_work = max(self.most_at_work, self.at_work)
        try:
            assert self.release.wait(10)
            if self.error is not None:
                raise self.error
            self.done += 1
        finally:
            self.at_work -= 1


def digest_of(opened: Upload) -> str:
    digest = hashlib.sha256()
    for role, contents in sorted(opened.objects.items()):
        for content in contents:
            digest.update(f"{role} {len(content)} ".encode() + content)
    return digest.hexdigest()


def plan_of(digest: str) -> ReadPlan:
    geometry = VolumeGeometry((30, 4, 4), (0.0, 0.0, 0.0), (1.0, 1.0, 3.0))
    volume = Volume(np.zeros(geometry.shape, dtype=np.int16), geometry)
    ct = CtSeries(volume, Dataset(), ("1.2",) * 30, "1.3", "1.4", "HFS", digest)
    structures = StructureSet((Roi(1, "Bladder"), Roi(2, "Rectum")))
    return ReadPlan(ct, PlannedStructures(structures, Dataset(), digest))


def settings(**given: Any) -> Settings:
    return Settings(**{"drain_s": 0.0, **given})


@asynccontextmanager
async def serving(core: FakeCore, *, ready: bool = True, **given: Any) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(settings(**given), core=core)
    async with app.router.lifespan_context(app), client_of(app) as client:
        while ready and (await client.get("/health/ready")).status_code != 200:
            await asyncio.sleep(0.005)
        yield client


def client_of(app: FastAPI, **given: Any) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://test", timeout=10, **given)


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scenario)


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it never came true")


def case_files(name: str = "a") -> list[tuple[str, tuple[str, bytes, str]]]:
    """A case as form files. The contents are no DICOM; the fake core does not mind."""
    return [
        ("planning_ct", ("1.dcm", f"planning 1 {name}".encode(), "application/dicom")),
        ("planning_ct", ("2.dcm", f"planning 2 {name}".encode(), "application/dicom")),
        ("planning_structures", ("s.dcm", f"structures {name}".encode(), "application/dicom")),
        ("daily_ct", ("3.dcm", f"daily {name}".encode(), "application/dicom")),
    ]


def zip_of(files: dict[str, bytes], *, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()
