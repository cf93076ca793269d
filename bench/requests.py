"""Requests over HTTP to a service of our own: times per stage, memory, and whether the answers are the same bytes."""

import hashlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recontour.client import Client
from recontour.local_service import LocalService
from recontour.virtual_patient import CaseFolders

MIB = 2**20


@dataclass(frozen=True)
class Request:
    wall_s: float
    """From opening the request to the last byte of the answer, reading the files from disk included."""
    stages_s: Mapping[str, float]
    cpu_s: float
    """Processor time that the service spent, all threads: what is left of the wall clock on a busy machine."""
    resident_mib: float
    """Of the service's process, right after the answer."""
    digest: str
    """SHA-256 over all RTSTRUCTs of the answer."""


def send_case(client: Client, service: LocalService, folders: CaseFolders) -> Request:
    cpu_before_s, begun = cpu_s(service.pid), time.perf_counter()
    answer = client.recontour(planning=folders.planning, structures=folders.structures, daily=folders.daily)
    wall_s = time.perf_counter() - begun
    digest = hashlib.sha256()
    for kind, content in answer.objects.items():
        digest.update(kind.encode() + content)
    return Request(
        wall_s=wall_s,
        stages_s=answer.stages_s,
        cpu_s=cpu_s(service.pid) - cpu_before_s,
        resident_mib=status_mib(service.pid, "VmRSS"),
        digest=digest.hexdigest(),
    )


def median_stages(requests: list[Request]) -> dict[str, float]:
    """Median seconds per stage, in the order of the first request, and of the whole as the client saw it."""
    stages = {name: float(np.median([r.stages_s.get(name, 0.0) for r in requests])) for name in requests[0].stages_s}
    return stages | {"seen by the client": float(np.median([r.wall_s for r in requests]))}


def cpu_s(pid: int) -> float:
    """User and system time of a process so far: fields 14 and 15 of /proc/<pid>/stat, in ticks."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def status_mib(pid: int, key: str) -> float:
    """A line of /proc/<pid>/status in MiB: VmRSS now, VmHWM at its highest."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024 / MIB
    raise KeyError(key)
