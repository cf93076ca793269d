"""A service of our own on loopback, for as long as a `with` block lasts."""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from recontour.client import Client, Unreachable

START_S = 300.0
"""Longest wait until ready: a first start may have to compile."""
STOP_S = 30.0
TAIL_LINES = 5


@dataclass(frozen=True)
class LocalService:
    """A service that is ready."""

    url: str
    pid: int
    start_s: float


@contextmanager
def local_service(
    arguments: Sequence[str] = (), *, environment: Mapping[str, str] | None = None
) -> Iterator[LocalService]:
    """Start `recontour serve` on a free port of 127.0.0.1, wait until it is ready, stop it at the end.

    Args:
        arguments: More arguments of `recontour serve`.
        environment: Variables beyond those of this process.

    Raises:
        Unreachable: If it does not become ready, with the last lines that it wrote.
    """
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="recontour-") as folder:
        log = Path(folder) / "service.log"
        with log.open("wb") as sink:
            process = subprocess.Popen(
                [sys.executable, "-m", "recontour", "serve", "--host", "127.0.0.1", "--port", "0", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env={**os.environ, "RECONTOUR_DRAIN_S": "0", **(environment or {})},
            )
        try:
            url = _address(process, log)
            with Client(url, timeout_s=10) as client:
                client.wait_until_ready(patience_s=START_S, alive=lambda: process.poll() is None)
            yield LocalService(url, process.pid, time.monotonic() - begun)
        except Unreachable as error:
            raise Unreachable(f"{error}{_tail(log)}") from None
        finally:
            _stop(process)


def _address(process: "subprocess.Popen[bytes]", log: Path) -> str:
    """The address that the service says it listens on."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        found = re.search(r"recontour listens on (http://\S+)", log.read_text(errors="replace"))
        if found:
            return found[1]
        time.sleep(0.05)
    raise Unreachable("the service did not start")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()[-TAIL_LINES:]
    return f"; it wrote: {' | '.join(lines)}" if lines else ""
