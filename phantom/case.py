"""A virtual patient at a clinic: planning CT, daily CTs, and the truth about both."""

from dataclasses import dataclass

import numpy as np

from imaging.arrays import LabelVoxels, Points
from imaging.geometry import VolumeGeometry
from imaging.structures import StructureSet
from imaging.transforms import AffineTransform, Deformation
from imaging.volume import Volume
from phantom.anatomy import draw_anatomy
from phantom.clinic import CLINIC_A, CLINIC_B, Clinic
from phantom.contents import draw_contents
from phantom.contours import draw_truth
from phantom.motion import draw_day, to_planning
from phantom.rendering import render
from phantom.scanner import acquire, add_couch
from phantom.texture import draw_textures

__all__ = ["CLINIC_A", "CLINIC_B", "Clinic", "PhantomCase", "Scan", "VirtualPatient", "make_case"]

FIELD_OF_VIEW_MM = 460.8
LENGTH_MM = 200.0
CENTRE_MM = (0.0, 0.0, 5.0)


@dataclass(frozen=True, eq=False)
class Scan:
    """One CT with the truth about it.

    Attributes:
        volume: Hounsfield units on the scan grid.
        structures: True contours in the planes of the scan.
        labels: 0 background, 1 Bladder, 2 Rectum, 3 SeminalVes, 4 Prostate, at the voxel centres.
        deformation: From this scan to the patient as planned; the identity for the planning CT.
        gas_fraction: Share of the rectal lumen that is gas.
    """

    volume: Volume
    structures: StructureSet
    labels: LabelVoxels
    deformation: Deformation
    gas_fraction: float


@dataclass(frozen=True, eq=False)
class PhantomCase:
    """One adaptive fraction of a virtual patient; arrays (z, y, x), LPS millimetres.

    Attributes:
        seed: Which patient.
        clinic: Where he is treated.
        fraction: Which day.
        planning: Planning CT.
        daily: CT of the day.
        planning_structures: Contours on the planning CT.
        daily_structures: True contours on the daily CT.
        planning_labels: Organs of the planning CT, values of `phantom.contours.LABELS`.
        daily_labels: Organs of the daily CT.
        deformation: Exact map from daily to planning points: planning = affine(p + field(p)).
    """

    seed: int
    clinic: Clinic
    fraction: int
    planning: Volume
    daily: Volume
    planning_structures: StructureSet
    daily_structures: StructureSet
    planning_labels: LabelVoxels
    daily_labels: LabelVoxels
    deformation: Deformation

    def daily_to_planning(self, points_mm: Points) -> Points:
        """Points (n, 3) of the daily CT, carried exactly to the planning CT."""
        return to_planning(self.deformation, points_mm)


class VirtualPatient:
    """A patient who can be scanned on many days. The same seed and clinic give the same bytes."""

    def __init__(self, seed: int, clinic: Clinic) -> None:
        self.seed = seed
        self.clinic = clinic
        self.anatomy = draw_anatomy(seed)
        self._textures = draw_textures(np.random.default_rng([seed, 2]))
        self._stream = sum(clinic.name.encode())

    def planning(
        self,
        *,
        slices: int | None = None,
        in_plane: int = 512,
        spacing_mm: tuple[float, float, float] | None = None,
    ) -> Scan:
        """The planning CT.

        Args:
            slices: Number of slices; by default as many as cover 200 mm.
            in_plane: Number of rows and columns over the 461 mm field of view.
            spacing_mm: Voxel spacing (x, y, z) instead of the clinic's.
        """
        geometry = self._grid(slices, in_plane, spacing_mm, offset_mm=0.0)
        return self._scan(0, Deformation(AffineTransform.identity()), geometry)

    def daily(
        self,
        fraction: int,
        *,
        slices: int | None = None,
        in_plane: int = 512,
        spacing_mm: tuple[float, float, float] | None = None,
    ) -> Scan:
        """The CT of one day, `fraction` counted from 1; arguments as in `planning`."""
        if fraction < 1:
            raise ValueError(f"fractions are counted from 1, not {fraction}")
        rng = np.random.default_rng([self.seed, 3, self._stream, fraction])
        day = draw_day(rng, self.anatomy, self.clinic.change)
        geometry = self._grid(slices, in_plane, spacing_mm, offset_mm=float(rng.uniform(-7, 7)))
        return self._scan(fraction, day.deformation, geometry)

    def _grid(
        self,
        slices: int | None,
        in_plane: int,
        spacing_mm: tuple[float, float, float] | None,
        *,
        offset_mm: float,
    ) -> VolumeGeometry:
        scanner = self.clinic.scanner
        pixel = FIELD_OF_VIEW_MM / in_plane
        sx, sy, sz = spacing_mm or (pixel, pixel, scanner.slice_mm)
        count = slices or int(np.ceil(LENGTH_MM / sz))
        origin = (
            CENTRE_MM[0] - (in_plane - 1) * sx / 2,
            CENTRE_MM[1] - (in_plane - 1) * sy / 2,
            round(CENTRE_MM[2] + offset_mm - (count - 1) * sz / 2, 2),
        )
        return VolumeGeometry((count, in_plane, in_plane), origin, (sx, sy, sz))

    def _scan(self, fraction: int, deformation: Deformation, geometry: VolumeGeometry) -> Scan:
        rng = np.random.default_rng([self.seed, 4, self._stream, fraction])
        contents = draw_contents(rng, self.anatomy, deformation)
        scanner = self.clinic.scanner
        hu = render(self.anatomy, geometry, deformation, contents, self._textures, scanner=scanner)
        structures, labels = draw_truth(self.anatomy, geometry, deformation)
        back = max(float(c.xy_mm[:, 1].max()) for c in structures.by_number(1).contours)
        add_couch(hu, geometry, top_mm=back - 1.0, scanner=scanner)
        volume = Volume(acquire(rng, hu, geometry, scanner), geometry)
        return Scan(volume, structures, labels, deformation, contents.gas_fraction)


def make_case(
    seed: int,
    *,
    clinic: Clinic,
    fraction: int = 1,
    slices: int | None = None,
    in_plane: int = 512,
    spacing_mm: tuple[float, float, float] | None = None,
) -> PhantomCase:
    """Planning and daily CT of one virtual patient, with the truth.

    Args:
        seed: Which patient.
        clinic: Where: `CLINIC_A` or `CLINIC_B`.
        fraction: Which day, from 1.
        slices: Number of slices of both scans; by default as many as cover 200 mm.
        in_plane: Rows and columns.
        spacing_mm: Voxel spacing (x, y, z) instead of the clinic's; give it for small, coarse cases.
    """
    patient = VirtualPatient(seed, clinic)
    planning = patient.planning(slices=slices, in_plane=in_plane, spacing_mm=spacing_mm)
    daily = patient.daily(fraction, slices=slices, in_plane=in_plane, spacing_mm=spacing_mm)
    return PhantomCase(
        seed,
        clinic,
        fraction,
        planning.volume,
        daily.volume,
        planning.structures,
        daily.structures,
        planning.labels,
        daily.labels,
        daily.deformation,
    )
