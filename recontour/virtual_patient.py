"""A virtual patient as DICOM on disk."""

from dataclasses import dataclass
from pathlib import Path

from phantom.case import CLINIC_A, CLINIC_B, PhantomCase, make_case
from phantom.dicom import write_case

CLINICS = {clinic.name: clinic for clinic in (CLINIC_A, CLINIC_B)}


@dataclass(frozen=True)
class CaseFolders:
    """Where a case lies."""

    planning: Path
    structures: Path
    daily: Path


def write_virtual_patient(
    out: Path, *, seed: int, clinic: str, fraction: int = 1, slices: int | None = None, in_plane: int = 512
) -> tuple[PhantomCase, CaseFolders]:
    """Make a virtual patient and write both CTs and the planning RTSTRUCT below `out`.

    Raises:
        ValueError: If there is no such clinic or fraction.
    """
    if clinic not in CLINICS:
        raise ValueError(f"there is no clinic {clinic}; choose {' or '.join(CLINICS)}")
    case = make_case(seed, clinic=CLINICS[clinic], fraction=fraction, slices=slices, in_plane=in_plane)
    write_case(case, out)
    return case, CaseFolders(out / "planning", out / "structures", out / "daily")
