"""Plans that were staged ahead, and jobs that are asked for later: in memory, bounded, for a limited time."""

import asyncio

import pytest

from imaging.errors import MissingSlices
from service.plans import PlanStore
from service.problems import Refusal
from tests.service.helpers import FakeCore, case_files, run, serving, until

PLAN = case_files()[:3]
DAILY = case_files()[3:]
ASYNC = {"Prefer": "respond-async"}


def test_a_staged_plan_replaces_the_planning_objects():
    async def scenario() -> None:
        async with serving(FakeCore()) as client:
            put = await client.put("/plans/couch-2", files=PLAN)
            assert put.status_code == 201
            assert (put.json()["planning_slices"], put.json()["rois"]) == (30, 2)
            assert put.headers["etag"] == f'"{put.json()["etag"]}"'
            assert (await client.get("/plans/couch-2")).json() == put.json()
            files = [("plan_id", (None, b"couch-2", "text/plain")), *DAILY]
            answer = await client.post("/recontour", files=files)
            assert answer.status_code == 200
            again = await client.post("/recontour", files=files)
            assert again.content == answer.content
            assert (await client.delete("/plans/couch-2")).status_code == 204
            gone = await client.post("/recontour", files=files)
            assert (gone.status_code, gone.json()["code"]) == (404, "plan-not-found")

    run(scenario())


def test_another_plan_never_silently_takes_the_place_of_one():
    async def scenario() -> None:
        async with serving(FakeCore()) as client:
            assert (await client.put("/plans/a", files=PLAN)).status_code == 201
            assert (await client.put("/plans/a", files=PLAN)).status_code == 200
            other = await client.put("/plans/a", files=case_files("other")[:3])
            assert (other.status_code, other.json()["code"]) == (409, "plan-conflict")

    run(scenario())


def test_planning_objects_beside_a_plan_id_are_refused():
    async def scenario() -> None:
        async with serving(FakeCore()) as client:
            await client.put("/plans/a", files=PLAN)
            files = [("plan_id", (None, b"a", "text/plain")), *case_files()]
            answer = await client.post("/recontour", files=files)
            assert (answer.status_code, answer.json()["code"]) == (400, "multipart-invalid")
            assert (await client.put("/plans/b", files=case_files())).status_code == 400
            missing = await client.put("/plans/b", files=PLAN[:2])
            assert (missing.status_code, missing.json()["code"]) == (422, "missing-object")

    run(scenario())


@pytest.mark.parametrize("plan_id", ["a%20b", "x" * 65, "a%5Eb"])
def test_a_plan_id_is_short_and_plain(plan_id: str):
    async def scenario() -> None:
        async with serving(FakeCore()) as client:
            answer = await client.put(f"/plans/{plan_id}", files=PLAN)
            assert (answer.status_code, answer.json()["code"]) == (400, "bad-request")

    run(scenario())


def test_plans_are_bounded_in_number_and_time():
    now = 0.0
    store: PlanStore[str] = PlanStore(capacity=2, ttl_s=10, clock=lambda: now)
    store.put("a", "A", etag="1", slices=30, rois=1)
    now = 5.0
    store.put("b", "B", etag="2", slices=30, rois=1)
    with pytest.raises(Refusal, match="the limit"):
        store.put("c", "C", etag="3", slices=30, rois=1)
    now = 10.0
    store.put("c", "C", etag="3", slices=30, rois=1)
    with pytest.raises(Refusal):
        store.get("a")
    assert store.get("b").plan == "B"


def test_a_full_store_of_plans_tells_the_client_to_come_again():
    async def scenario() -> None:
        async with serving(FakeCore(), plans_max=1) as client:
            assert (await client.put("/plans/a", files=PLAN)).status_code == 201
            refused = await client.put("/plans/b", files=PLAN)
            assert (refused.status_code, refused.json()["code"]) == (429, "plans-full")
            assert int(refused.headers["retry-after"]) >= 1

    run(scenario())


def test_plans_and_jobs_can_be_switched_off():
    async def scenario() -> None:
        async with serving(FakeCore(), plans_max=0, jobs_max=0) as client:
            plan = await client.put("/plans/a", files=PLAN)
            job = await client.post("/recontour", files=case_files(), headers=ASYNC)
            for answer in (plan, job):
                assert (answer.status_code, answer.json()["code"]) == (404, "switched-off")

    run(scenario())


def test_respond_async_answers_202_and_the_result_is_that_of_the_plain_request():
    async def scenario() -> None:
        core = FakeCore()
        core.release.clear()
        async with serving(core) as client:
            accepted = await client.post("/recontour", files=case_files(), headers=ASYNC)
            assert accepted.status_code == 202
            assert accepted.headers["preference-applied"] == "respond-async"
            where = accepted.headers["location"]
            await until(lambda: core.at_work == 1)
            await asyncio.sleep(0.02)
            assert (await client.get(where)).json()["state"] == "running"
            early = await client.get(f"{where}/result")
            assert (early.status_code, early.json()["code"]) == (409, "job-not-finished")
            assert early.headers["retry-after"] == "1"
            core.release.set()
            while (job := (await client.get(where)).json())["state"] == "running":
                await asyncio.sleep(0.01)
            assert job["state"] == "succeeded"
            result = await client.get(job["result"])
            assert result.content == (await client.post("/recontour", files=case_files())).content
            assert (await client.delete(where)).status_code == 204
            gone = await client.get(job["result"])
            assert (gone.status_code, gone.json()["code"]) == (404, "job-not-found")
            assert (await client.get(where)).status_code == 404

    run(scenario())


def test_a_failed_job_answers_with_the_problem_of_its_case():
    async def scenario() -> None:
        core = FakeCore()
        core.error = MissingSlices("a gap after slice 12; send the series whole")
        async with serving(core) as client:
            where = (await client.post("/recontour", files=case_files(), headers=ASYNC)).headers["location"]
            while (job := (await client.get(where)).json())["state"] != "failed":
                await asyncio.sleep(0.01)
            assert job["problem"]["code"] == "missing-slices"
            result = await client.get(f"{where}/result")
            assert (result.status_code, result.json()["code"]) == (422, "missing-slices")

    run(scenario())


def test_a_job_that_waits_can_be_cancelled_and_frees_its_place():
    async def scenario() -> None:
        core = FakeCore()
        core.release.clear()
        async with serving(core, queue_length=1) as client:
            first = (await client.post("/recontour", files=case_files("1"), headers=ASYNC)).headers["location"]
            second = (await client.post("/recontour", files=case_files("2"), headers=ASYNC)).headers["location"]
            assert (await client.post("/recontour", files=case_files("3"), headers=ASYNC)).status_code == 429
            assert (await client.get(second)).json()["state"] == "queued"
            await client.delete(second)
            assert (await client.get(second)).json()["state"] == "cancelled"
            gone = await client.get(f"{second}/result")
            assert (gone.status_code, gone.json()["code"]) == (409, "job-cancelled")
            while b"recontour_queue_depth 1.0" not in (await client.get("/metrics")).content:
                await asyncio.sleep(0.01)
            core.release.set()
            while (await client.get(first)).json()["state"] != "succeeded":
                await asyncio.sleep(0.01)
            assert core.done == 1

    run(scenario())


def test_finished_jobs_are_forgotten_after_their_time():
    async def scenario() -> None:
        async with serving(FakeCore(), job_ttl_s=0.05) as client:
            where = (await client.post("/recontour", files=case_files(), headers=ASYNC)).headers["location"]
            for _ in range(200):
                answer = await client.get(where)
                if answer.status_code == 404:
                    break
                await asyncio.sleep(0.01)
            assert answer.json()["code"] == "job-not-found"

    run(scenario())


def test_scans_and_answers_whose_time_is_over_leave_the_memory_though_nobody_asks(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("service.state.SWEEP_S", 0.01)

    async def scenario() -> None:
        async with serving(FakeCore(), plan_ttl_s=0.1, job_ttl_s=0.1) as client:
            state = client._transport.app.state.service  # type: ignore[attr-defined]
            assert (await client.put("/plans/a", files=PLAN)).status_code == 201
            assert (await client.post("/recontour", files=case_files(), headers=ASYNC)).status_code == 202
            assert (len(state.plans), len(state.jobs)) == (1, 1)
            await until(lambda: len(state.plans) == 0 and len(state.jobs) == 0)

    run(scenario())


def test_unfinished_jobs_are_bounded():
    async def scenario() -> None:
        core = FakeCore()
        core.release.clear()
        async with serving(core, jobs_max=1) as client:
            assert (await client.post("/recontour", files=case_files(), headers=ASYNC)).status_code == 202
            refused = await client.post("/recontour", files=case_files(), headers=ASYNC)
            assert (refused.status_code, refused.json()["code"]) == (429, "queue-full")
            assert "retry-after" in refused.headers
            core.release.set()

    run(scenario())
