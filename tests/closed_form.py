"""Shapes whose volumes follow from a formula, as ROIs; and the objects that the writer needs, made by hand."""

import numpy as np
from pydicom import Dataset

from imaging.dicom.objects import CtSeries, PlannedStructures
from imaging.dicom.provenance import Provenance
from imaging.geometry import VolumeGeometry
from imaging.structures import Contour, Roi, StructureSet
from imaging.volume import Volume

CORNERS = 120


def circle(z_mm: float, centre: tuple[float, float], radius_mm: float, *, corners: int = CORNERS) -> Contour:
    """A regular polygon with the area of the circle."""
    angle = np.arange(corners) * 2 * np.pi / corners
    radius = radius_mm * np.sqrt(2 * np.pi / corners / np.sin(2 * np.pi / corners))
    return Contour(z_mm, np.stack([centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)], axis=1))


def rectangle(z_mm: float, x0: float, y0: float, x1: float, y1: float) -> Contour:
    return Contour(z_mm, np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float64))


def heights(geometry: VolumeGeometry, low_mm: float, high_mm: float) -> list[float]:
    """z of the planes from low_mm to high_mm."""
    z = geometry.origin_mm[2] + np.arange(geometry.shape[0]) * geometry.spacing_mm[2]
    return [float(value) for value in z if low_mm <= value <= high_mm]


def sphere(number: int, name: str, centre: tuple[float, float, float], radius_mm: float, grid: VolumeGeometry) -> Roi:
    x, y, z = centre
    planes = [(at, radius_mm**2 - (at - z) ** 2) for at in heights(grid, z - radius_mm, z + radius_mm)]
    loops = [circle(at, (x, y), float(np.sqrt(square))) for at, square in planes if square > 1.0]
    return Roi(number, name, interpreted_type="ORGAN", colour=(200, 30, 30), contours=tuple(loops))


def tube(
    number: int,
    name: str,
    centre: tuple[float, float],
    radii_mm: tuple[float, ...],
    z: list[float],
    *,
    lean: tuple[float, float] = (0.0, 0.0),
) -> Roi:
    """Concentric circles on every plane: the second one is a hole, the third an island, and so on.

    The axis leans by `lean` (x, y) millimetres per millimetre of height from the first plane on.
    """
    loops = tuple(
        circle(at, (centre[0] + lean[0] * (at - z[0]), centre[1] + lean[1] * (at - z[0])), radius)
        for at in z
        for radius in radii_mm
    )
    return Roi(number, name, interpreted_type="ORGAN", colour=(30, 200, 30), contours=loops)


def even_odd_cc(roi: Roi, spacing_z_mm: float) -> float:
    """Volume of concentric or separate loops: per plane the largest minus the second plus the third ..., by nesting."""
    total = 0.0
    for z in {contour.z_mm for contour in roi.contours}:
        areas = sorted((abs(c.signed_area_mm2) for c in roi.contours if c.z_mm == z), reverse=True)
        total += sum(area * (-1) ** depth for depth, area in enumerate(areas))
    return total * spacing_z_mm / 1000


def ct_header() -> Dataset:
    """A CT header with what the writer copies."""
    header = Dataset()
    header.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    header.SOPInstanceUID = "2.25.1000"
    header.StudyInstanceUID = "2.25.11"
    header.PatientName, header.PatientID = "Phantom^Form", "CASE-1"
    header.PatientBirthDate, header.PatientSex = "19500102", "M"
    header.StudyDate, header.StudyTime = "20240304", "101112"
    header.AcquisitionDate, header.AcquisitionTime = "20240305", "091500.5"
    header.StudyID, header.AccessionNumber, header.ReferringPhysicianName = "7", "A7", "Ref^Erring"
    header.PositionReferenceIndicator = "XY"
    return header


def daily_series(geometry: VolumeGeometry, header: Dataset | None = None) -> CtSeries:
    planes = geometry.shape[0]
    return CtSeries(
        volume=Volume(np.zeros(geometry.shape, np.int16), geometry),
        header=header or ct_header(),
        sop_instance_uids=tuple(f"2.25.{1000 + k}" for k in range(planes)),
        frame_of_reference_uid="2.25.12",
        series_instance_uid="2.25.13",
        patient_position="HFS",
        digest="d" * 64,
    )


def planned(structures: StructureSet) -> PlannedStructures:
    header = Dataset()
    header.SOPInstanceUID = "2.25.99"
    return PlannedStructures(structures, header, "e" * 64)


PROVENANCE = Provenance("0.1.0", "prostate-ct", "0.1.0", "2.25.77", "f" * 64, "a" * 64, "b" * 64)
