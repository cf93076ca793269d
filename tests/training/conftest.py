"""Fixtures import late, because collecting must also work where torch is not installed."""
# ruff: noqa: PLC0415

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def recipe():
    from .tiny import tiny_recipe

    return tiny_recipe()


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from .tiny import write_tiny_cohort

    folder = tmp_path_factory.mktemp("cohort")
    write_tiny_cohort(folder)
    return folder
