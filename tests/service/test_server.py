"""The real server on a real socket: slow clients, early refusals, the ending."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.service.helpers import case_files

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import threading
from service.server import run
from tests.service.helpers import FakeCore, settings
core = FakeCore()
core.release.clear()
threading.Timer({release_s}, core.release.set).start()
run(settings(port=0, {settings}), core=core, on_started=lambda port: print(port, flush=True))
"""


@contextlib.contextmanager
def server(settings: str = "", *, release_s: float = 0.0) -> Iterator[tuple[subprocess.Popen[str], int]]:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(settings=settings, release_s=release_s)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        while httpx.get(f"http://127.0.0.1:{port}/health/ready").status_code != 200:
            time.sleep(0.02)
        yield process, port
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with server("body_stall_s=0.4, limits={'body_bytes': 100_000}") as (_, port):
        yield port


def closed_after(connection: socket.socket, *, drip: bytes = b"") -> float:
    """Seconds until the server has closed a connection that is fed one byte every 50 ms."""
    begun = time.monotonic()
    connection.settimeout(0.05)
    while time.monotonic() - begun < 5:
        try:
            if drip:
                connection.send(drip)
            if not connection.recv(65536):
                return time.monotonic() - begun
        except TimeoutError:
            continue
        except OSError:
            return time.monotonic() - begun
    raise AssertionError("the connection is still open")


def test_headers_that_come_too_slowly_close_the_connection(port: int):
    for opening, drip in ((b"", b""), (b"GET /health/live HTTP/1.1\r\nHost: x\r\nX-A: ", b"a")):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(opening)
            assert 0.2 < closed_after(connection, drip=drip) < 2


def test_headers_without_end_close_the_connection(port: int):
    with socket.create_connection(("127.0.0.1", port)) as connection, contextlib.suppress(OSError):
        connection.sendall(b"GET /health/live HTTP/1.1\r\nX-A: ")
        for _ in range(200):
            connection.sendall(b"a" * 1024)
        assert closed_after(connection) < 1


def test_a_body_that_stalls_is_answered_with_408_and_closed(port: int):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        head = "POST /recontour HTTP/1.1\r\nHost: x\r\nContent-Type: application/zip\r\nContent-Length: 1000\r\n\r\nPK"
        connection.sendall(head.encode())
        begun = time.monotonic()
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert answer.status == 408
        assert b"body-stalled" in answer.read()
        assert time.monotonic() - begun < 2


def test_a_client_that_is_still_sending_reads_why_it_was_refused(port: int):
    answer = httpx.post(
        f"http://127.0.0.1:{port}/recontour", content=b"x" * 5_000_000, headers={"Content-Type": "application/zip"}
    )
    assert (answer.status_code, answer.json()["code"]) == (413, "too-large")

    def chunks() -> Iterator[bytes]:
        for _ in range(50):
            yield b"x" * 100_000

    headers = {"Content-Type": "application/zip"}
    answer = httpx.post(f"http://127.0.0.1:{port}/recontour", content=chunks(), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (413, "too-large")


def test_what_is_no_http_is_a_400(port: int):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"DICM\0\0\0\0\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 400")


def test_a_head_request_has_no_body(port: int):
    answer = httpx.head(f"http://127.0.0.1:{port}/limits")
    assert (answer.status_code, answer.content) == (405, b"")


def test_sigterm_turns_unready_finishes_what_is_in_flight_and_ends_with_0():
    with server("drain_s=0.3, shutdown_s=10", release_s=1.5) as (process, port):
        url = f"http://127.0.0.1:{port}"
        with ThreadPoolExecutor(1) as pool:
            begun = time.monotonic()
            answer = pool.submit(httpx.post, f"{url}/recontour", files=case_files())
            while b"recontour_queue_depth 1.0" not in httpx.get(f"{url}/metrics").content:
                time.sleep(0.02)
            process.send_signal(signal.SIGTERM)
            time.sleep(0.1)
            assert httpx.get(f"{url}/health/ready").status_code == 503
            refused = httpx.post(f"{url}/recontour", files=case_files())
            assert (refused.status_code, refused.json()["code"]) == (503, "draining")
            assert answer.result().status_code == 200
        assert process.wait(5) == 0
        assert time.monotonic() - begun < 8
        assert process.stderr is not None
        assert all(line.startswith("{") for line in process.stderr.read().splitlines())
