"""Who may know whom: the house of docs/decisions/0001, checked on the source and in a running interpreter."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

IMPORT_EVERYTHING = """
import importlib, pkgutil, sys
for name in sys.argv[1].split(","):
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, name + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
for unwanted in sys.argv[2].split(","):
    if unwanted in sys.modules:
        print(unwanted)
"""


def loaded(packages: str, unwanted: str) -> list[str]:
    """Which of the unwanted modules a fresh interpreter has after importing every module of the packages."""
    run = subprocess.run(
        [sys.executable, "-c", IMPORT_EVERYTHING, packages, unwanted],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.split()


def test_no_package_imports_sideways_or_upwards() -> None:
    run = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_every_file_of_the_core_is_held_to_the_contract_on_dicom() -> None:
    """The contract names its modules one by one, so a new file could slip past it."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (contract,) = [entry for entry in contracts if "pydicom" in entry.get("forbidden_modules", ())]
    there = {f"imaging.{path.stem}" for path in (ROOT / "imaging").iterdir() if path.suffix == ".py" or path.is_dir()}
    assert set(contract["source_modules"]) == there - {"imaging.__init__", "imaging.__pycache__", "imaging.dicom"}


@pytest.mark.parametrize(
    ("packages", "unwanted"),
    [
        pytest.param("service,recontour", "torch,onnx,tensorboard,training", id="the service runs without torch"),
        pytest.param("service", "phantom,matplotlib", id="the service knows no virtual patients"),
        pytest.param("imaging", "fastapi,starlette,uvicorn,httpx,torch,service", id="the core knows no web"),
        pytest.param("phantom", "fastapi,starlette,uvicorn,torch,service", id="a virtual patient knows no web"),
    ],
)
def test_importing_a_package_loads_nothing_that_it_must_not_know(packages: str, unwanted: str) -> None:
    assert loaded(packages, unwanted) == []


def test_the_runtime_of_the_network_reports_to_nobody() -> None:
    """ONNX Runtime sends usage data to its maker unless this variable is set before it is loaded."""
    run = subprocess.run(
        [sys.executable, "-c", "import imaging.backends.onnx_runtime, os; print(os.environ['ORT_DISABLE_TELEMETRY'])"],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert run.stdout.strip() == "1"
    assert "ORT_DISABLE_TELEMETRY=1" in (ROOT / "Dockerfile").read_text()


def test_the_probe_itself_sees_what_is_loaded() -> None:
    assert loaded("imaging", "numpy,pydicom") == ["numpy", "pydicom"]
