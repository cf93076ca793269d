"""How long until the service is ready: with nothing compiled, and after `recontour warm`; fresh processes each time.

    python -m bench.cold_start --repeats 3 --out docs/benchmarks/cold_start

Processor time stands beside the wall clock: on a busy machine it is what can be compared.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.machine import machine
from recontour.local_service import local_service
from recontour.table import text_table

IMPORTS = ("recontour.client", "service.server", "service.pipeline")
GOAL_S = 10.0


@dataclass(frozen=True)
class Timed:
    what: str
    wall_s: float
    """Least of all repeats."""
    cpu_s: float
    """Of the process and of those that it started, in the same repeat."""


def main() -> None:
    options = _parser().parse_args()
    with tempfile.TemporaryDirectory(prefix="recontour-cold-") as folder:
        result = measure(Path(folder), repeats=options.repeats, arguments=["--model", options.model])
    print(text_table(("", "wall s", "processor s"), [(t.what, f"{t.wall_s:.1f}", f"{t.cpu_s:.1f}") for t in result]))
    installed, bare = result[-1], result[-2]
    print(f"installed / bare: {installed.wall_s / bare.wall_s:.2f} wall, {installed.cpu_s / bare.cpu_s:.2f} processor")
    print(f"ready after installation: {installed.wall_s:.1f} s, goal {GOAL_S:g} s")
    if options.out is not None:
        content = {"machine": machine(), "repeats": options.repeats, "times": [asdict(timed) for timed in result]}
        options.out.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n")


def measure(folder: Path, *, repeats: int, arguments: Sequence[str]) -> list[Timed]:
    """Imports, `recontour warm`, and the time to ready with an empty and with a filled cache below `folder`."""
    result = [
        _least(f"import {name}", repeats, lambda _, name=name: _run([sys.executable, "-c", f"import {name}"], {}))
        for name in IMPORTS
    ]

    def empty(number: int, name: str) -> Mapping[str, str]:
        return {"NUMBA_CACHE_DIR": str(folder / f"{name}-{number}")}

    warm = [sys.executable, "-m", "recontour", "warm"]
    result.append(_least("recontour warm", repeats, lambda number: _run(warm, empty(number, "warm"))))
    result.append(_least("ready, nothing compiled", repeats, lambda n: _start(arguments, empty(n, "service"))))
    filled = empty(0, "warm")
    result.append(_least("ready, installed", repeats, lambda _: _start(arguments, filled)))
    return result


def _least(what: str, repeats: int, act: Callable[[int], None]) -> Timed:
    found = []
    for number in range(repeats):
        wall_s, cpu_s = time.perf_counter(), _children_s()
        act(number)
        found.append(Timed(what, time.perf_counter() - wall_s, _children_s() - cpu_s))
        print(f"{what}: {found[-1].wall_s:.1f} s", file=sys.stderr, flush=True)
    return min(found, key=lambda timed: timed.wall_s)


def _run(command: Sequence[str], environment: Mapping[str, str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, **environment})


def _start(arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    with local_service(arguments, environment=environment):
        pass


def _children_s() -> float:
    """Processor time of all child processes that have ended, and of theirs."""
    times = os.times()
    return times.children_user + times.children_system


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--model", default="prostate-ct")
    parser.add_argument("--out", type=Path, help="file to write, without its ending")
    return parser


if __name__ == "__main__":
    main()
