"""Small phantom scans as DICOM for any number of patients: one is rendered, the others are copies under other names."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom import Dataset

from phantom.case import CLINIC_A, Scan, VirtualPatient
from phantom.dicom import SeriesIdentity, write_ct_series, write_structure_set

SLICES, IN_PLANE, SPACING_MM = 46, 80, (5.76, 5.76, 4.5)

Edit = Callable[[Dataset], None]


def render_scans() -> tuple[Scan, ...]:
    """Planning CT and two days of one virtual patient, coarse."""
    patient = VirtualPatient(3, CLINIC_A)
    grid = {"slices": SLICES, "in_plane": IN_PLANE, "spacing_mm": SPACING_MM}
    return (patient.planning(**grid), patient.daily(1, **grid), patient.daily(2, **grid))


@dataclass(frozen=True)
class Writer:
    """Writes the rendered scans below `root` as scans of whoever is named."""

    root: Path
    scans: tuple[Scan, ...]

    def scan(self, patient: str, day: int, *, folder: str = "", structures: bool = True) -> Path:
        """CT, and RTSTRUCT if wanted, of one day (0 is the planning CT); returns their folder."""
        identity = _identity(patient, day)
        place = self.root / (folder or f"{patient}/scan{day}")
        place.mkdir(parents=True, exist_ok=True)
        scan = self.scans[day]
        for number, content in enumerate(write_ct_series(scan.volume, identity=identity)):
            (place / f"CT{number:03d}.dcm").write_bytes(content)
        if structures:
            drawn = write_structure_set(scan.structures, identity=identity, geometry=scan.volume.geometry)
            (place / "RS.dcm").write_bytes(drawn)
        return place

    def patient(self, patient: str) -> list[Path]:
        """Planning CT and both days."""
        return [self.scan(patient, day) for day in range(len(self.scans))]


def edit(file: Path, change: Edit) -> None:
    """Change the data set of a file."""
    dataset = pydicom.dcmread(io.BytesIO(file.read_bytes()))
    change(dataset)
    dataset.save_as(file)


def rename_rois(file: Path, names: dict[str, str]) -> None:
    """Give ROIs of an RTSTRUCT other names."""

    def change(dataset: Dataset) -> None:
        for item in dataset.StructureSetROISequence:
            item.ROIName = names.get(item.ROIName, item.ROIName)

    edit(file, change)


def drop_contours_above(file: Path, z_mm: float) -> None:
    """Leave out the contours of an RTSTRUCT above a plane, as a scan that ended there would have had them."""

    def change(dataset: Dataset) -> None:
        for item in dataset.ROIContourSequence:
            item.ContourSequence = [loop for loop in item.ContourSequence if float(loop.ContourData[2]) < z_mm]

    edit(file, change)


def _identity(patient: str, day: int) -> SeriesIdentity:
    return SeriesIdentity(patient, f"scan{day}", f"2026010{day + 1}")
