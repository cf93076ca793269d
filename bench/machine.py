"""What numbers hold for: processor, device, software, and how busy the machine was while they were taken."""

import os
import platform
import subprocess
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

LIBRARIES = (
    "numpy", "numba", "scipy", "SimpleITK", "pydicom", "onnxruntime", "onnxruntime-gpu", "openvino", "itk-elastix",
)  # fmt: skip
ROOT = Path(__file__).resolve().parents[1]


def machine() -> dict[str, str]:
    """Facts of this machine, for the head of a report."""
    gpu = device_name()
    return {
        "processor": f"{processor()}, {cores()} cores",
        "accelerator": gpu or "none",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "software": f"Python {platform.python_version()}, {', '.join(_libraries())}",
        "recontour": _commit(),
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }


def processor() -> str:
    """The processor's name, family and model: a virtual machine often hides all but the maker in the name."""
    found: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        found.setdefault(key.strip(), value.strip())
    name = found.get("model name", platform.machine())
    return f"{name} (family {found.get('cpu family', '?')}, model {found.get('model', '?')})"


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0))


def device_name() -> str:
    """The first GPU as nvidia-smi calls it, or '' where there is none."""
    return _nvidia_smi("name")


def device_mib() -> float | None:
    """Memory in use on the first GPU, all processes; None where nvidia-smi does not answer."""
    used = _nvidia_smi("memory.used")
    return float(used) if used.replace(".", "").isdigit() else None


class Occupation:
    """Which share of the cores' time other processes took: on a busy machine no wall clock can be trusted.

    `own_s` gives the processor time of whoever is measured; what this process and its children used counts as own.
    """

    def __init__(self) -> None:
        self._busy_s, self._own_s, self._wall_s = _busy_s(), _own_s(), time.perf_counter()

    def others(self, *, besides_s: float = 0.0) -> float:
        """From 0 (alone) to 1 (all cores taken by others) since the start; `besides_s` is own time not yet reaped."""
        took_s = time.perf_counter() - self._wall_s
        foreign_s = (_busy_s() - self._busy_s) - (_own_s() - self._own_s) - besides_s
        return min(max(foreign_s / (took_s * (os.cpu_count() or 1)), 0.0), 1.0)


def with_occupation(facts: Mapping[str, Any], occupation: Occupation, *, besides_s: float = 0.0) -> dict[str, Any]:
    """The facts, and how much of the machine others took."""
    share = 100 * occupation.others(besides_s=besides_s)
    return {**facts, "taken by other processes": f"{share:.0f} % of the cores' time while measuring"}


def _busy_s() -> float:
    """Time that all cores together were at work since the machine started: /proc/stat without idle and iowait."""
    ticks = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


def _own_s() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _libraries() -> list[str]:
    found = []
    for name in LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return found


def _commit() -> str:
    found = _output(["git", "-C", str(ROOT), "rev-parse", "--short=10", "HEAD"])
    changed = _output(["git", "-C", str(ROOT), "status", "--porcelain", "--", "imaging", "service", "recontour"])
    return f"{version('recontour')}{f' at {found}' if found else ''}{' with changes' if changed else ''}"


def _nvidia_smi(field: str) -> str:
    lines = _output(["nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader,nounits"]).splitlines()
    return lines[0].strip() if lines else ""


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
