"""The image of a release can be built again: every package that it installs has one version, written down."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pinned(extra: str) -> dict[str, str]:
    lines = (ROOT / "deploy" / f"constraints-{extra}.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if not line.startswith("#")]
    assert all(len(pair) == 2 for pair in pairs)
    return dict(pairs)


@pytest.mark.parametrize("extra", ["cpu", "gpu"])
def test_every_package_that_the_image_asks_for_has_one_version_that_the_project_allows(extra: str) -> None:
    versions = pinned(extra)
    asked = [Requirement(text) for text in PROJECT["dependencies"] + PROJECT["optional-dependencies"][extra]]
    for requirement in asked:
        assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)]), requirement.name
    assert len(versions) > len(asked)


@pytest.mark.parametrize(("extra", "other"), [("cpu", "onnxruntime-gpu"), ("gpu", "onnxruntime")])
def test_an_image_has_one_onnx_runtime_and_nothing_that_only_training_and_tests_need(extra: str, other: str) -> None:
    assert not set(pinned(extra)) & {other, "torch", "onnx", "tensorboard", "pytest", "hypothesis", "ruff", "mypy"}


def test_both_images_are_of_the_same_packages_but_for_the_runtime() -> None:
    cpu, gpu = pinned("cpu"), pinned("gpu")
    assert [name for name in cpu.keys() & gpu.keys() if cpu[name] != gpu[name]] == []
    assert {name for name in cpu if name not in gpu} == {"onnxruntime", "openvino", "openvino-telemetry"}
    assert {name.split("-")[0] for name in gpu if name not in cpu} == {"onnxruntime", "nvidia"}


def test_the_build_holds_to_these_versions() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert "COPY deploy/constraints-${EXTRA}.txt constraints.txt" in dockerfile
    assert 'pip install --constraint constraints.txt ".[${EXTRA}]"' in dockerfile
    assert "!deploy/constraints-*.txt" in (ROOT / ".dockerignore").read_text().splitlines()
