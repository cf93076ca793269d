"""`make bench-regression`: has a stage become slower? Processor time over two yardsticks, never absolute times.

    python -m bench.regression            compares with bench/regression.json, ends with 1 where a stage is slower
    python -m bench.regression --write    measures and writes bench/regression.json anew

A small case runs in a process of its own on one thread, its stages one after another, so that processor time counts
each stage alone. Before and after each repeat two fixed pieces of work are timed. The least of the repeats is
compared, because others on the machine can only slow things down.
"""

import argparse
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from bench.machine import processor
from bench.markdown import table, tell
from bench.regression_rules import FLOOR, MOST_GROWTH, STRANGE_GROWTH, Judged, Ratios, judge, ratios
from bench.yardsticks import Yardsticks

STORED = Path(__file__).with_name("regression.json")
ONE_THREAD = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")
REPEATS = 8
PROCESSES = 3
"""As many are measured to store, and at most as many before a stage is called slower."""
SLICES, IN_PLANE, ROIS = 60, 256, 12


def main() -> None:
    options = _parser().parse_args()
    if options.measure:
        measured = Measured()
        measured.repeat(options.repeats)
        print(json.dumps({"stages_s": measured.stages_s, "yardsticks_s": measured.yardsticks_s}))
        return
    merged = Merged()
    merged.add(_apart(options.repeats))
    if options.write:
        for _ in range(PROCESSES - 1):
            merged.add(_apart(options.repeats))
        content = {"processor": processor(), "case": [SLICES, IN_PLANE, ROIS], "ratios": _rounded(merged.ratios())}
        STORED.write_text(json.dumps(content, indent=1) + "\n")
        tell(f"wrote {STORED}")
        return
    stored = json.loads(STORED.read_text())
    same = stored["processor"] == processor()
    most = MOST_GROWTH if same else STRANGE_GROWTH
    judged = judge(stored["ratios"], merged.ratios(), most_growth=most)
    for _ in range(PROCESSES - 1):
        if not any(one.slower for one in judged):
            break
        # Luck with memory pages lasts as long as a process; slower code is slower in each of them.
        tell(f"{', '.join(one.stage for one in judged if one.slower)}: once more in another process")
        merged.add(_apart(options.repeats))
        judged = judge(stored["ratios"], merged.ratios(), most_growth=most)
    print(report(judged, most))
    if not same:
        print(f"\nStored on {stored['processor']}; here is {processor()}: only a growth of {100 * most:.0f} % counts.")
    sys.exit(1 if any(one.slower for one in judged) else 0)


def _apart(repeats: int) -> dict[str, Any]:
    """What a fresh process on one thread measures; the libraries read their number of threads when they are loaded."""
    command = [sys.executable, "-m", "bench.regression", "--measure", "--repeats", str(repeats)]
    environment = {**os.environ, **dict.fromkeys(ONE_THREAD, "1")}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


class Merged:
    """The repeats of several processes together."""

    def __init__(self) -> None:
        self._stages_s: dict[str, list[float]] = {}
        self._yardsticks_s: dict[str, list[float]] = {}

    def add(self, measured: dict[str, Any]) -> None:
        for stage, seconds in measured["stages_s"].items():
            self._stages_s.setdefault(stage, []).extend(seconds)
        for yardstick, seconds in measured["yardsticks_s"].items():
            self._yardsticks_s.setdefault(yardstick, []).extend(seconds)

    def ratios(self) -> Ratios:
        """In units of each yardstick."""
        return ratios(self._stages_s, self._yardsticks_s)


class Measured:
    """Processor seconds of every stage, one per repeat, and of every yardstick, two per repeat."""

    def __init__(self) -> None:
        from bench.pelvis import write_pelvis
        from service.pipeline import ClinicalCore
        from service.settings import NO_MODEL, Settings

        with TemporaryDirectory(prefix="recontour-regression-") as scratch:
            _, folders = write_pelvis(Path(scratch), seed=1, slices=SLICES, in_plane=IN_PLANE, rois=ROIS)
            self._images = {
                "planning_ct": [file.read_bytes() for file in sorted(folders.planning.glob("CT_*.dcm"))],
                "planning_structures": [folders.structures.read_bytes()],
                "daily_ct": [file.read_bytes() for file in sorted(folders.daily.glob("CT_*.dcm"))],
            }
        self._core = ClinicalCore(Settings(model=NO_MODEL))
        self._yardsticks = Yardsticks()
        self.stages_s: dict[str, list[float]] = {}
        self.yardsticks_s: dict[str, list[float]] = {}
        # The first run loads compiled kernels.
        self._run()

    def repeat(self, times: int) -> None:
        """So many repeats more."""
        for _ in range(times):
            gc.collect()
            self._measure_yardsticks()
            for stage, seconds in self._run().items():
                self.stages_s.setdefault(stage, []).append(seconds)
            self._measure_yardsticks()

    def _measure_yardsticks(self) -> None:
        for yardstick, seconds in self._yardsticks.cpu_s().items():
            self.yardsticks_s.setdefault(yardstick, []).append(seconds)

    def _run(self) -> dict[str, float]:
        with patch("imaging.recontour.ThreadPoolExecutor", AtOnce):
            return _one(self._core, self._images)


def _one(core: Any, images: dict[str, list[bytes]]) -> dict[str, float]:
    from service.uploads import Upload

    stopwatch = ProcessorStopwatch()
    begun = time.process_time()
    core.recontour(Upload({role: list(contents) for role, contents in images.items()}), None, stopwatch)  # type: ignore[misc]
    return {**stopwatch.seconds, "total": time.process_time() - begun}


class ProcessorStopwatch:
    """A stopwatch that counts processor time of all threads; its stages must not run beside each other."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.process_time()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.process_time() - start

    def record(self, name: str, seconds: float) -> None:
        self.seconds[name] = seconds


class AtOnce:
    """Stands for an executor: what is submitted is done before `submit` returns."""

    def __init__(self, _: int) -> None:
        pass

    def __enter__(self) -> "AtOnce":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, act: Callable[..., Any], *arguments: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        future.set_result(act(*arguments))
        return future


def report(judged: list[Judged], most_growth: float) -> str:
    """A table, and a line for each stage that is slower."""
    rows = []
    for one in judged:
        growth = "-" if one.growth is None else f"{100 * one.growth:+.0f} %"
        numbers = ["-" if value is None else f"{value:.3f}" for value in (one.before, one.now)]
        rows.append((f"`{one.stage}`", *numbers, growth, "SLOWER" if one.slower else ""))
    lines = [table(("stage, in units of a yardstick", "stored", "now", "growth", ""), rows), ""]
    for one in judged:
        if one.slower and one.growth is not None:
            lines.append(
                f"{one.stage} needs {100 * one.growth:.0f} % more processor time than stored; at most "
                f"{100 * most_growth:.0f} % is allowed. Make it faster, or say why not and run: "
                "make bench-regression ARGS=--write"
            )
    if not any(one.slower for one in judged):
        lines.append(f"No stage grew by more than {100 * most_growth:.0f} % and {FLOOR:g} units of every yardstick.")
    return "\n".join(lines)


def _rounded(found: Ratios) -> Ratios:
    return {stage: {unit: round(ratio, 4) for unit, ratio in by.items()} for stage, by in found.items()}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="store what is measured now")
    parser.add_argument("--repeats", type=int, default=REPEATS, help="in each process")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    main()
