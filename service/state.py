"""What the routes share: made once by `create_app`, kept on the application, never global."""

import asyncio
import gc
from typing import Literal

from fastapi import Request

from imaging.errors import ProviderUnavailable, RecontouringError
from service.core import Core, ReadPlan, ServedModel
from service.jobs import JobStore
from service.latency import Latency
from service.plans import PlanStore
from service.problems import Refusal
from service.queue import House
from service.schemas import Check, Readiness
from service.settings import NO_MODEL, Settings
from service.telemetry import Telemetry

CHECKS = ("model_hash", "provider", "warm_up", "golden_case")

SWEEP_S = 60.0
"""Nobody may ask again for an expired plan or job, and a patient's scans must not lie in memory until somebody does."""

GARBAGE = (10_000, 10, 1_000)
"""How seldom rings of objects are looked for while a case is at work. With Python's own numbers that took 7 ms of each
case and 50 ms of every third. All are looked for when the house is empty; those of a failed case hold no scans."""

Phase = Literal["starting", "ready", "failed", "draining"]


class ServiceState:
    """Settings, the core, its queue, and what is remembered in memory. Changed on the event loop only."""

    def __init__(self, settings: Settings, core: Core, telemetry: Telemetry) -> None:
        self.settings = settings
        self.core = core
        self.telemetry = telemetry
        self._patience_s = settings.deadline_s + settings.hang_grace_s
        self.latency = Latency(target_s=settings.latency_target_s)
        self.house = House(
            queue_length=settings.queue_length,
            memory_bytes=settings.memory_bytes,
            retry_after_s=self.latency.retry_after_s,
            on_depth=telemetry.queue_depth.set,
            hung_after_s=self._patience_s,
            on_hung=self._hung,
            on_hung_end=self._answers_again,
        )
        self.plans: PlanStore[ReadPlan] = PlanStore(capacity=settings.plans_max, ttl_s=settings.plan_ttl_s)
        self.jobs = JobStore(capacity=settings.jobs_max, ttl_s=settings.job_ttl_s)
        self.served: ServedModel | None = None
        self._checks = dict.fromkeys(("warm_up",) if settings.model == NO_MODEL else CHECKS, Check(passed=None))
        self._phase: Phase = "starting"
        self._was_ready = False
        self._bringing_up: asyncio.Task[None] | None = None
        self._sweeping: asyncio.Task[None] | None = None

    def open(self) -> None:
        """The application begins."""
        self.restart()
        self._sweeping = asyncio.get_running_loop().create_task(self._sweep())

    def restart(self) -> None:
        """Bring the model up, at the start or after its device was lost."""
        self._checks = dict.fromkeys(self._checks, Check(passed=None))
        self._bringing_up = asyncio.get_running_loop().create_task(self.bring_up())

    def close(self) -> None:
        """The application ends."""
        for task in (self._bringing_up, self._sweeping):
            if task is not None:
                task.cancel()
        self.house.close()

    async def bring_up(self) -> None:
        """Load and try the model. Never raises: what fails is what GET /health/ready says."""
        self._phase = "starting" if self._phase != "draining" else "draining"
        self.telemetry.ready.set(0)
        try:
            bringing_up = self.house.run_unplaced(lambda: self.core.bring_up(self._check))
            # A first start may tune for minutes and has a probe of its own; a lost device may hang here for ever.
            served = await asyncio.wait_for(bringing_up, self._patience_s if self._was_ready else None)
        except RecontouringError as error:
            self.telemetry.log("not-ready", code=error.code)
            self._advance("failed")
            return
        except Exception as error:  # noqa: BLE001  a fault while starting must leave a live, unready service
            self.telemetry.fault(error)
            self._advance("failed")
            return
        self.served = served
        # Half a million loaded objects stay for good; going through them would now and then cost a case 0.25 s.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GARBAGE)
        if served is not None:
            manifest = served.manifest
            self.telemetry.model_loaded(name=manifest.name, version=manifest.version, provider=served.provider)
            self.telemetry.log("ready", model=manifest.identity, provider=served.provider)
        self._advance("ready")

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            self.plans.forget_expired()
            self.jobs.forget_expired()
            if not self.house.depth:
                gc.collect()

    def drain(self) -> None:
        """From now on not ready; requests in the house are finished."""
        self._advance("draining")

    def readiness(self) -> Readiness:
        """The body of GET /health/ready."""
        return Readiness(
            ready=self._phase == "ready",
            phase=self._phase,
            checks=dict(self._checks),
            model="" if self.served is None else self.served.manifest.identity,
            provider="" if self.served is None else self.served.provider,
        )

    @property
    def alive(self) -> bool:
        """Whether this process can serve, now or later.

        A device that fails after it has served is lost to the process: CUDA recovers in a new one only. One that never
        came up needs a person, and a restart would hide why.
        """
        return not (self._was_ready and self._phase == "failed")

    def require_ready(self) -> None:
        """Refusal 'draining' or 'not-ready' while no case can be taken."""
        if self._phase == "draining":
            raise Refusal("draining", "this instance is shutting down.")
        if self._phase != "ready":
            raise Refusal("not-ready", f"the service is {self._phase}; GET /health/ready says more.")

    def lost_device(self, error: BaseException) -> bool:
        """Whether an error of a case means that the device must be brought up anew; then nothing is ready."""
        if not isinstance(error, ProviderUnavailable) or self._phase != "ready":
            return False
        self.telemetry.log("device-lost", code=error.code, fault=type(error.__cause__ or error).__name__)
        self._advance("failed")
        return True

    def _hung(self) -> None:
        self.telemetry.log("device-hangs", seconds=self._patience_s)
        if self._phase == "ready":
            name = "provider" if "provider" in self._checks else "warm_up"
            self._check(name, False, f"one case has been at work for {self._patience_s:g} s; the device hangs")
            self._advance("failed")

    def _answers_again(self) -> None:
        if self._phase == "failed":
            self.restart()

    def _check(self, name: str, passed: bool | None, detail: str) -> None:
        self._checks[name] = Check(passed=passed, detail=detail)

    def _advance(self, phase: Phase) -> None:
        if self._phase != "draining":
            self._phase = phase
        self._was_ready = self._was_ready or phase == "ready"
        self.telemetry.ready.set(1 if self._phase == "ready" else 0)


def state_of(request: Request) -> ServiceState:
    """The state of the application that serves the request."""
    state: ServiceState = request.app.state.service
    return state
