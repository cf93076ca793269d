"""A virtual patient as DICOM on disk."""

from dataclasses import dataclass
from pathlib import Path

from phantom.case import CLINIC_A, CLINIC_B, PhantomCase, make_case
from phantom.dicom import identity_of, write_case, write_structure_set

CLINICS = {clinic.name: clinic for clinic in (CLINIC_A, CLINIC_B)}


@dataclass(frozen=True)
class CaseFolders:
    """Where a case lies below one folder."""

    root: Path

    @property
    def planning(self) -> Path:
        """Planning CT, and its RTSTRUCT."""
        return self.root / "planning"

    @property
    def structures(self) -> Path:
        """The planning RTSTRUCT."""
        return self.planning / "RS.dcm"

    @property
    def daily(self) -> Path:
        """CT of the day."""
        return self.root / "daily"

    @property
    def truth(self) -> Path:
        """True contours on the CT of the day."""
        return self.root / "truth" / "RS.dcm"


def write_virtual_patient(out: Path, *, seed: int, clinic: str, fraction: int = 1) -> tuple[PhantomCase, CaseFolders]:
    """Make a virtual patient and write both CTs, the planning RTSTRUCT and the truth below `out`.

    Raises:
        ValueError: If there is no such clinic or fraction.
    """
    if clinic not in CLINICS:
        raise ValueError(f"there is no clinic {clinic}; choose {' or '.join(CLINICS)}")
    case = make_case(seed, clinic=CLINICS[clinic], fraction=fraction)
    return case, write_folders(case, out)


def write_folders(case: PhantomCase, out: Path) -> CaseFolders:
    """Write a virtual patient, in the place of an earlier one.

    Raises:
        ValueError: If a folder holds anything else.
    """
    folders = CaseFolders(out)
    for folder in (folders.planning, folders.daily):
        # A longer series of an earlier patient must not lend its last slices to this one.
        for old in folder.glob("CT_*.dcm"):
            old.unlink()
        if any(file != folders.structures for file in folder.glob("*")):
            raise ValueError("the folder for the case holds other files; choose an empty one")
    write_case(case, out)
    folders.truth.parent.mkdir(parents=True, exist_ok=True)
    identity = identity_of(case.seed, case.clinic.name, case.fraction)
    truth = write_structure_set(case.daily_structures, identity=identity, geometry=case.daily.geometry)
    folders.truth.write_bytes(truth)
    return folders
