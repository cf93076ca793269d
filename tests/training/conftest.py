"""Fixtures import late, because collecting must also work where torch is not installed."""
# ruff: noqa: PLC0415

import pytest


@pytest.fixture(scope="session")
def recipe():
    from .tiny import tiny_recipe

    return tiny_recipe()


@pytest.fixture(scope="session")
def pairs():
    from .tiny import tiny_pairs

    return tiny_pairs()
