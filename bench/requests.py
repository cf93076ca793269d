"""Requests over HTTP to a service of our own, bytes prepared beforehand: times on both sides, memory, equal answers.

Two clocks stand round the time from the last byte received to the first byte sent. The service's own, `total` without
`receive`, ends just before the answer is packed. The client's, from the last byte handed to its kernel to the first
byte of the answer, begins while the end of the body still lies in the buffers of the socket.
"""

import hashlib
import http.client
import io
import secrets
import select
import threading
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from bench.process import cpu_s, status_mib
from recontour.client import server_timing
from recontour.local_service import LocalService
from recontour.virtual_patient import CaseFolders
from service.latency import TOTAL
from service.visits import QUEUE, RECEIVE

CHUNK = 2**20
TIMEOUT_S = 600.0
REFUSED = 429


@dataclass(frozen=True, eq=False, repr=False)
class Body:
    """multipart/form-data in memory, sent as often as one likes."""

    method: str
    path: str
    boundary: str
    content: bytes


@dataclass(frozen=True)
class Request:
    """One request and its answer.

    Attributes:
        status: HTTP status; 0 where the connection broke.
        wall_s: From opening the connection to the last byte of the answer.
        answer_s: From the last byte handed to the kernel to the first byte of the answer.
        stages_s: Seconds per stage, of Server-Timing.
        cpu_s: Processor time that the service spent meanwhile, all threads.
        resident_mib: Of the service's process, right after the answer.
        digest: SHA-256 over all RTSTRUCTs of the answer; '' of any other answer.
    """

    status: int
    wall_s: float
    answer_s: float
    stages_s: Mapping[str, float]
    cpu_s: float = 0.0
    resident_mib: float = 0.0
    digest: str = ""

    @property
    def served_s(self) -> float:
        """The service's clock from the last byte received: the total without receiving the body."""
        return self.stages_s[TOTAL] - self.stages_s.get(RECEIVE, 0.0)

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


def case_body(folders: CaseFolders) -> Body:
    """Planning CT, RTSTRUCT and daily CT."""
    parts = [*_planning(folders), *_images("daily_ct", folders.daily)]
    return _body("POST", "/recontour", parts)


def plan_body(folders: CaseFolders, plan_id: str) -> Body:
    """Planning CT and RTSTRUCT, sent ahead."""
    return _body("PUT", f"/plans/{plan_id}", _planning(folders))


def staged_body(folders: CaseFolders, plan_id: str) -> Body:
    """The daily CT of a plan that was sent ahead."""
    return _body("POST", "/recontour", [("plan_id", plan_id.encode()), *_images("daily_ct", folders.daily)])


def send(service: LocalService, body: Body) -> Request:
    """Send, wait, and ask the system what the service's process spent."""
    before_s = cpu_s(service.pid)
    found = exchange(service.url, body)
    return Request(
        status=found.status,
        wall_s=found.wall_s,
        answer_s=found.answer_s,
        stages_s=found.stages_s,
        cpu_s=cpu_s(service.pid) - before_s,
        resident_mib=status_mib(service.pid, "VmRSS"),
        digest=found.digest,
    )


def at_once(url: str, body: Body, clients: int) -> list[Request]:
    """As many clients send the same at the same moment, each on a connection of its own."""
    barrier = threading.Barrier(clients)
    found: list[Request] = []

    def one() -> None:
        barrier.wait()
        found.append(exchange(url, body))

    threads = [threading.Thread(target=one) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def exchange(url: str, body: Body) -> Request:
    """One request on a new connection."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=TIMEOUT_S)
    begun = sent = time.perf_counter()
    try:
        connection.putrequest(body.method, body.path)
        connection.putheader("Content-Type", f"multipart/form-data; boundary={body.boundary}")
        connection.putheader("Content-Length", str(len(body.content)))
        connection.putheader("Accept", "application/zip" if body.method == "POST" else "*/*")
        connection.endheaders()
        _send(connection, body.content)
        sent = time.perf_counter()
        answer = connection.getresponse()
        first = time.perf_counter()
        content = answer.read()
        ended = time.perf_counter()
    except (ConnectionError, http.client.HTTPException):
        return Request(0, time.perf_counter() - begun, 0.0, {})
    finally:
        connection.close()
    return Request(
        status=answer.status,
        wall_s=ended - begun,
        answer_s=first - sent,
        stages_s=server_timing(answer.headers.get("Server-Timing", "")),
        digest=_digest(content) if answer.status == 200 and body.method == "POST" else "",
    )


def median_stages(requests: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Median seconds per stage, in the order of the first request."""
    return {name: float(np.median([stages.get(name, 0.0) for stages in requests])) for name in requests[0]}


def everything_but(stages_s: Mapping[str, float], *left_out: str) -> float:
    """The service's clock from the last byte received, without some stages and without waiting for its turn."""
    without = sum(stages_s.get(name, 0.0) for name in {RECEIVE, QUEUE, *left_out})
    return stages_s[TOTAL] - without


def _planning(folders: CaseFolders) -> list[tuple[str, bytes]]:
    return [*_images("planning_ct", folders.planning), ("planning_structures", folders.structures.read_bytes())]


def _images(role: str, folder: Path) -> list[tuple[str, bytes]]:
    return [(role, file.read_bytes()) for file in sorted(folder.glob("CT_*.dcm"))]


def _body(method: str, path: str, parts: Sequence[tuple[str, bytes]]) -> Body:
    boundary = f"bench-{secrets.token_hex(16)}"
    pieces = []
    for number, (name, content) in enumerate(parts):
        file = "" if name == "plan_id" else f'; filename="{number:04d}.dcm"\r\nContent-Type: application/dicom'
        pieces += [f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode(), content]
        pieces.append(b"\r\n")
    return Body(method, path, boundary, b"".join([*pieces, f"--{boundary}--\r\n".encode()]))


def _send(connection: http.client.HTTPConnection, content: bytes) -> None:
    """All of it, or as much as the service wants: a full house answers before it has read the body."""
    view = memoryview(content)
    for start in range(0, len(view), CHUNK):
        if select.select([connection.sock], [], [], 0)[0]:
            return
        try:
            connection.send(view[start : start + CHUNK])
        except ConnectionError:
            return


def _digest(archive: bytes) -> str:
    digest = hashlib.sha256()
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        for name in sorted(opened.namelist()):
            # The report holds the times of its stages, which differ.
            if not name.endswith(".json"):
                digest.update(name.encode() + opened.read(name))
    return digest.hexdigest()
