"""What the kernel says of a process: processor time and memory."""

import os
from pathlib import Path

MIB = 2**20


def cpu_s(pid: int) -> float:
    """User and system time of a process so far: fields 14 and 15 of /proc/<pid>/stat, in ticks."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def status_mib(pid: int, key: str) -> float:
    """A line of /proc/<pid>/status in MiB: VmRSS now, VmHWM at its highest.

    `ru_maxrss` would not do: a new process inherits it from the one that started it.
    """
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024 / MIB
    raise KeyError(key)
