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


@pytest.fixture(scope="session")
def rendered_scans():
    """Planning CT and two days of one phantom, coarse; drawn once, because that takes ten seconds."""
    from .dicom_cohort import render_scans

    return render_scans()
