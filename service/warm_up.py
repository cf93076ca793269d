"""A made-up case that runs through every step once, so that no patient waits while code is being compiled.

It has the shapes of a trunk and nothing of a patient; its answer is thrown away.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from imaging.case import Case, RecontourOptions
from imaging.dicom.limits import ReadLimits
from imaging.dicom.objects import CtSeries, PlannedStructures
from imaging.dicom.parse import CT_IMAGE, parse
from imaging.dicom.provenance import Provenance, uid_from
from imaging.dicom.structure_set_reader import read_structure_set
from imaging.dicom.structure_set_writer import write_structure_set
from imaging.geometry import VolumeGeometry
from imaging.model import RecontouringModel
from imaging.plausibility_limits import PlausibilityLimits
from imaging.recontour import recontour
from imaging.structures import EXTERNAL, Contour, Roi, StructureSet
from imaging.timing import Stopwatch
from imaging.volume import AIR_HU, Volume

GEOMETRY = VolumeGeometry((56, 80, 104), (-206.0, -158.0, -82.5), (4.0, 4.0, 3.0))
MOVED_MM = (5.0, -4.0, 3.0)
TRUNK_MM = (180.0, 125.0)
"""Half axes (x, y)."""
BLOBS = (
    # Centre (x, y, z), half axes (x, y, z), Hounsfield units.
    ((0.0, -20.0, 0.0), (35.0, 30.0, 25.0), 15),
    ((0.0, 45.0, 5.0), (18.0, 16.0, 45.0), -50),
    ((-95.0, 10.0, -10.0), (28.0, 28.0, 30.0), 600),
    ((95.0, 10.0, -10.0), (28.0, 28.0, 30.0), 600),
    ((0.0, 95.0, 10.0), (30.0, 14.0, 60.0), 500),
    ((45.0, -70.0, 40.0), (20.0, 18.0, 18.0), -850),
)


def run_made_up_case(model: RecontouringModel | None, *, refine: Literal["auto", "off"] = "auto") -> None:
    """Recontour the case with `model`, write the answer, and read it back.

    Args:
        model: The network, or None to do without.
        refine: 'off' leaves the refinement out.

    Raises:
        RecontouringError: If the core refuses a case that it must be able to do.
    """
    organ = "Bladder" if model is None else model.manifest.organs[0].name
    planned = made_up_plan(organ)
    planning, daily = made_up_scans()
    answer = recontour(
        Case(planning.volume, planned, daily.volume),
        model,
        limits=PlausibilityLimits(),
        options=RecontourOptions(refine=refine),
        stopwatch=Stopwatch(),
    )
    write_and_read(answer.recommended, daily)


def write_and_read(drawn: StructureSet, daily: CtSeries) -> None:
    """Write contours on the CT of the day as DICOM and read them again."""
    plan = PlannedStructures(drawn, Dataset(), "0" * 64)
    written = write_structure_set(
        drawn, kind="RECOMMENDED", daily=daily, plan=plan, provenance=Provenance("0"), holes="keyhole"
    )
    limits = ReadLimits()
    read_structure_set(parse(written, limits=limits), daily, limits=limits)


def made_up_plan(organ: str) -> StructureSet:
    """Body outline, an organ of this name, and a ROI that no network knows."""
    return StructureSet((_trunk(1), _roi(2, organ, BLOBS[0]), _roi(3, "Other", BLOBS[1])))


def made_up_scans() -> tuple[CtSeries, CtSeries]:
    """Planning CT and CT of the day."""
    return _series("planning", (0.0, 0.0, 0.0)), _series("daily", MOVED_MM)


def _series(name: str, moved_mm: tuple[float, float, float]) -> CtSeries:
    x, y, z = (GEOMETRY.axis_mm(axis) - shift for axis, shift in zip("xyz", moved_mm, strict=True))
    grid = (z[:, None, None], y[None, :, None], x[None, None, :])
    hu = np.full(GEOMETRY.shape, AIR_HU, dtype=np.int16)
    hu[np.broadcast_to((grid[2] / TRUNK_MM[0]) ** 2 + (grid[1] / TRUNK_MM[1]) ** 2 < 1, hu.shape)] = 40
    for centre, half, value in BLOBS:
        hu[_inside(grid, centre, half)] = value
    noise = np.random.default_rng(seed=len(name)).normal(0.0, 10.0, hu.shape)
    header = Dataset()
    header.SOPClassUID = CT_IMAGE
    header.StudyInstanceUID = uid_from("warm-up", name, "study")
    return CtSeries(
        volume=Volume((hu + noise).astype(np.int16), GEOMETRY),
        header=header,
        sop_instance_uids=tuple(uid_from("warm-up", name, str(k)) for k in range(GEOMETRY.shape[0])),
        frame_of_reference_uid=uid_from("warm-up", name, "frame"),
        series_instance_uid=uid_from("warm-up", name, "series"),
        patient_position="HFS",
        digest="0" * 64,
    )


def _inside(
    grid: tuple[NDArray[np.float64], ...], centre: tuple[float, float, float], half: tuple[float, float, float]
) -> NDArray[np.bool_]:
    z, y, x = grid
    inside: NDArray[np.bool_] = ((x - centre[0]) / half[0]) ** 2 + ((y - centre[1]) / half[1]) ** 2 + (
        (z - centre[2]) / half[2]
    ) ** 2 < 1
    return inside


def _trunk(number: int) -> Roi:
    loops = tuple(_ellipse(z, (0.0, 0.0), TRUNK_MM) for z in GEOMETRY.axis_mm("z"))
    return Roi(number, "BODY", interpreted_type=EXTERNAL, contours=loops)


def _roi(number: int, name: str, blob: tuple[tuple[float, float, float], tuple[float, float, float], int]) -> Roi:
    centre, half, _ = blob
    loops = []
    for z in GEOMETRY.axis_mm("z"):
        share = 1 - ((z - centre[2]) / half[2]) ** 2
        if share > 0.05:
            scale = float(np.sqrt(share))
            loops.append(_ellipse(float(z), (centre[0], centre[1]), (half[0] * scale, half[1] * scale)))
    return Roi(number, name, contours=tuple(loops))


def _ellipse(z_mm: float, centre_mm: tuple[float, float], half_mm: tuple[float, float]) -> Contour:
    angles = np.linspace(0.0, 2 * np.pi, 48, endpoint=False)
    corners = np.column_stack((centre_mm[0] + half_mm[0] * np.cos(angles), centre_mm[1] + half_mm[1] * np.sin(angles)))
    return Contour(float(z_mm), corners)
