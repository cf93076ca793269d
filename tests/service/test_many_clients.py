"""POST /recontour when many ask at once, or one stays too long: nobody is mixed up, and nobody waits for nothing."""

import asyncio
from collections.abc import AsyncIterator

import httpx

from tests.service.helpers import FakeCore, case_files, run, serving, until, zip_of


def test_a_full_house_answers_at_once_with_retry_after_and_everyone_inside_is_served():
    async def scenario() -> None:
        core = FakeCore()
        core.release.clear()
        async with serving(core, queue_length=2) as client:
            inside = [asyncio.create_task(client.post("/recontour", files=case_files(str(i)))) for i in range(3)]
            while b"recontour_queue_depth 3.0" not in (await client.get("/metrics")).content:
                await asyncio.sleep(0.01)
            refused = await client.post("/recontour", files=case_files("late"))
            assert (refused.status_code, refused.json()["code"]) == (429, "queue-full")
            assert 1 <= int(refused.headers["retry-after"]) <= 60
            assert (await client.get("/health/live")).status_code == 200
            core.release.set()
            assert [answer.status_code for answer in await asyncio.gather(*inside)] == [200, 200, 200]
            assert (await client.post("/recontour", files=case_files())).status_code == 200

    run(scenario())


def test_cases_sent_at_once_run_one_at_a_time_on_one_thread_and_are_never_mixed():
    async def scenario() -> None:
        core = FakeCore()
        async with serving(core) as client:
            alone = [(await client.post("/recontour", files=case_files(str(i)))).content for i in range(8)]
            posts = [client.post("/recontour", files=case_files(str(i))) for i in range(8)]
            together = [answer.content for answer in await asyncio.gather(*posts)]
            assert together == alone
            assert len(set(alone)) == 8
            assert core.most_at_work == 1
            assert len(core.threads) == 1

    run(scenario())


def test_bodies_that_would_not_fit_into_memory_together_are_refused():
    async def scenario() -> None:
        async with serving(FakeCore(), memory_bytes=1000) as client:
            answer = await client.post("/recontour", content=b"x" * 1001, headers={"Content-Type": "application/zip"})
            assert (answer.status_code, answer.json()["code"]) == (429, "queue-full")

            async def undeclared() -> AsyncIterator[bytes]:
                for _ in range(11):
                    yield b"x" * 100

            answer = await client.post("/recontour", content=undeclared(), headers={"Content-Type": "application/zip"})
            assert (answer.status_code, answer.json()["code"]) == (429, "queue-full")
            metrics = await client.get("/metrics")
            assert b"recontour_queue_depth 0.0" in metrics.content

    run(scenario())


def test_an_answer_that_takes_too_long_is_a_504_and_its_place_is_free_only_after_the_work_has_ended():
    async def scenario() -> None:
        core = FakeCore()
        core.release.clear()
        async with serving(core, deadline_s=0.05, queue_length=0) as client:
            answer = await client.post("/recontour", files=case_files())
            assert (answer.status_code, answer.json()["code"]) == (504, "deadline-exceeded")
            assert (await client.post("/recontour", files=case_files())).status_code == 429
            core.release.set()
            await until(lambda: core.at_work == 0)
            await asyncio.sleep(0.02)
            assert (await client.post("/recontour", files=case_files())).status_code == 200

    run(scenario())


def test_the_event_loop_answers_probes_while_a_case_is_at_work():
    async def scenario() -> None:
        core = FakeCore()
        core.release.clear()
        async with serving(core) as client:
            case = asyncio.create_task(client.post("/recontour", files=case_files()))
            await until(lambda: core.at_work == 1)
            answers = await asyncio.wait_for(asyncio.gather(*(client.get("/health/live") for _ in range(20))), 2)
            assert all(answer.status_code == 200 for answer in answers)
            assert not case.done()
            core.release.set()
            assert (await case).status_code == 200

    run(scenario())


def test_a_client_that_hangs_up_while_waiting_frees_its_place_undone():
    async def scenario() -> None:
        core = FakeCore()
        core.release.clear()
        async with serving(core) as client:
            first = asyncio.create_task(client.post("/recontour", files=case_files("1")))
            await until(lambda: core.at_work == 1)
            app = client._transport.app  # type: ignore[attr-defined]
            body = zip_of({"a.dcm": b"one"})
            messages = [
                {"type": "http.request", "body": body, "more_body": False},
                {"type": "http.disconnect"},
            ]
            sent: list[object] = []

            async def receive() -> object:
                return messages.pop(0)

            async def send(message: object) -> None:
                sent.append(message)

            request = httpx.Request("POST", "http://test/recontour", content=body)
            scope = {
                "type": "http",
                "method": "POST",
                "path": "/recontour",
                "raw_path": b"/recontour",
                "query_string": b"",
                "headers": [
                    (b"content-type", b"application/zip"),
                    (b"content-length", request.headers["content-length"].encode()),
                ],
            }
            await app(scope, receive, send)
            assert sent == []
            while b"recontour_queue_depth 1.0" not in (await client.get("/metrics")).content:
                await asyncio.sleep(0.01)
            core.release.set()
            assert (await first).status_code == 200
            assert core.done == 1

    run(scenario())
