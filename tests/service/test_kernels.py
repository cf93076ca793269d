"""Compiled kernels: an installation compiles everything once, and a start knows whether anything is missing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from service import kernels
from service.kernels import kernels_are_compiled

RUN_A_CASE = """
from service.kernels import kernels_are_compiled, made_up_network
from service.warm_up import run_made_up_case
assert kernels_are_compiled()
run_made_up_case(made_up_network())

from imaging.case import Case, RecontourOptions
from imaging.plausibility_limits import PlausibilityLimits
from imaging.recontour import recontour
from imaging.timing import Stopwatch
from phantom.case import CLINIC_B, make_case
case = make_case(3, clinic=CLINIC_B, slices=40, in_plane=128, spacing_mm=(3.6, 3.6, 5.0))
recontour(
    Case(case.planning, case.planning_structures, case.daily), made_up_network(),
    limits=PlausibilityLimits(), options=RecontourOptions(), stopwatch=Stopwatch(),
)
"""


@pytest.mark.slow
def test_after_warm_a_case_compiles_nothing_more(tmp_path: Path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    for _ in range(2):
        subprocess.run([sys.executable, "-m", "recontour", "warm"], env=environment, check=True, timeout=300)
        compiled = compiled_in(tmp_path)
        assert any(path.suffix == ".nbc" for path in compiled)
        subprocess.run([sys.executable, "-c", RUN_A_CASE], env=environment, check=True, timeout=300)
        assert compiled_in(tmp_path) == compiled


def compiled_in(folder: Path) -> dict[Path, int]:
    """The files of the service's kernels with their times; the phantom's are none of them."""
    return {path: path.stat().st_mtime_ns for path in folder.glob("imaging*/**/*") if path.is_file()}


def noted(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(kernels, "_note", lambda: folder / kernels.NOTE)
    (folder / kernels.NOTE).write_text(kernels._fingerprint())


def test_what_was_compiled_for_another_processor_does_not_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    noted(monkeypatch, tmp_path)
    assert kernels_are_compiled()
    monkeypatch.setattr(kernels, "_processor", lambda: "x86_64-unknown-linux-gnu z80 +sse2")
    assert not kernels_are_compiled()


def test_what_was_compiled_from_other_sources_does_not_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    sources = tmp_path / "imaging"
    sources.mkdir()
    (sources / "kernel.py").write_text("1")
    monkeypatch.setattr(kernels.imaging, "__path__", [str(sources)])
    noted(monkeypatch, tmp_path)
    assert kernels_are_compiled()
    (sources / "kernel.py").write_text("2")
    assert not kernels_are_compiled()


def test_where_nothing_was_compiled_nothing_is_claimed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(kernels, "_note", lambda: tmp_path / "not there" / kernels.NOTE)
    assert not kernels_are_compiled()
