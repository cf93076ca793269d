"""What may lie in the repository, and how long a file may be."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("imaging", "service", "phantom", "training", "recontour")

LONGEST = 400
LONGER_WITH_REASON: dict[str, str] = {}
"""File -> why it is one idea all the same."""

LARGEST_KIB = 2048


def committed() -> list[Path]:
    """Every file that git tracks."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode != 0:
        pytest.skip("not a git checkout: which files are committed cannot be asked")
    return [ROOT / name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()]


def lines_of(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_a_file_of_the_packages_has_one_idea_and_at_most_400_lines() -> None:
    long = {
        str(path.relative_to(ROOT)): lines_of(path)
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if lines_of(path) > LONGEST
    }
    assert set(long) == set(LONGER_WITH_REASON), long


def test_no_dicom_file_is_ever_committed() -> None:
    """A DICOM file in the history is a patient's data in the history, until somebody proves otherwise."""
    found = []
    for path in committed():
        with path.open("rb") as file:
            start = file.read(132)
        if path.suffix.lower() in (".dcm", ".ima") or start[128:] == b"DICM":
            found.append(path.name)
    assert found == []


def test_only_models_are_large() -> None:
    large = [
        str(path.relative_to(ROOT))
        for path in committed()
        if path.stat().st_size > LARGEST_KIB * 1024 and path.relative_to(ROOT).parts[0] != "models"
    ]
    assert large == []


def test_what_the_service_imports_is_packaged_with_types() -> None:
    assert [package for package in PACKAGES if not (ROOT / package / "py.typed").is_file()] == []
