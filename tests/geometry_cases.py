"""The 48 geometry cases: 8 patient positions x 3 spacings x rows and columns swapped, on shapes of known volume.

`python -m tests.geometry_cases` runs them all and prints a table; with plastimatch on the path, and with
RECONTOUR_DCMRTSTRUCT2NII_PYTHON naming a Python that has dcmrtstruct2nii, both judge the written structure sets too.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
import shapely

from imaging.dicom.ct_series import read_ct_series
from imaging.dicom.objects import CtSeries, PlannedStructures
from imaging.dicom.parse import parse
from imaging.dicom.roi_items import Holes
from imaging.dicom.structure_set_reader import read_structure_set
from imaging.dicom.structure_set_writer import write_structure_set
from imaging.geometry import VolumeGeometry
from imaging.masks import RoiPatch
from imaging.rasterize import mask_of, rasterize
from imaging.structures import Roi, StructureSet
from imaging.trace import trace
from tests.closed_form import PROVENANCE, even_odd_cc, heights, sphere, tube
from tests.dicom_factory import ORIENTATIONS, SMALL, CtSpec, RoiSpec, ct_bytes, structure_bytes
from tests.referees import DCMRTSTRUCT_PYTHON, dcmrtstruct2nii_volumes_cc, plastimatch_volumes_cc

SPACINGS_MM = ((0.9, 1.2, 2.0), (1.0, 1.5, 3.0), (1.2, 2.0, 1.5))
FIELD_MM = (110.0, 100.0, 48.0)


@dataclass(frozen=True)
class GeometryCase:
    position: str
    spacing_mm: tuple[float, float, float]

    def __str__(self) -> str:
        return f"{self.position}-{'x'.join(map(str, self.spacing_mm))}"

    @property
    def spec(self) -> CtSpec:
        x, y, z = (int(np.ceil(field / step)) + 1 for field, step in zip(FIELD_MM, self.spacing_mm, strict=True))
        return CtSpec(
            name=str(self.spacing_mm),
            shape=(z, y, x),
            spacing_mm=self.spacing_mm,
            origin_mm=(-71.3, 12.9, -200.4),
            position=self.position,
        )


CASES = [
    GeometryCase(position, (y, x, z) if swapped else (x, y, z))
    for position, (x, y, z), swapped in product(ORIENTATIONS, SPACINGS_MM, (False, True))
]


def phantom(grid: VolumeGeometry) -> StructureSet:
    """A sphere, a ring around a hole, a cylinder and a small sphere; all inside the field."""
    x, y, z = (o + f / 2 for o, f in zip(grid.origin_mm, FIELD_MM, strict=True))
    # Axes lean, as organs do: a circle that lies alike on every grid plane would repeat one rounding on all of them.
    ring = tube(2, "Ring", (x + 15.4, y + 14.7), (26.0, 14.0), heights(grid, z - 16, z + 16), lean=(0.11, -0.07))
    cylinder = tube(3, "Cylinder", (x + 20.1, y - 22.6), (15.0,), heights(grid, z - 14, z + 22), lean=(0.13, 0.09))
    return StructureSet(
        (
            sphere(1, "Sphere", (x - 20.3, y - 15.2, z), 20.0, grid),
            ring,
            cylinder,
            sphere(4, "Small", (x - 31.7, y + 28.3, z - 4.1), 12.0, grid),
        )
    )


@dataclass(frozen=True)
class Opened:
    """A case after reading: the CT, and the structures that an independent writer drew on it."""

    drawn: StructureSet
    ct_files: tuple[bytes, ...]
    series: CtSeries
    planned: PlannedStructures


@lru_cache(maxsize=2)
def opened(case: GeometryCase) -> Opened:
    spec = case.spec
    files = tuple(ct_bytes(spec))
    series = read_ct_series([parse(data, limits=SMALL) for data in files], role="planning CT", limits=SMALL)
    drawn, stored = _drawn(GeometryCase("HFS", case.spacing_mm))
    return Opened(drawn, files, series, read_structure_set(parse(stored, limits=SMALL), series, limits=SMALL))


@lru_cache(maxsize=2 * len(SPACINGS_MM))
def _drawn(case: GeometryCase) -> tuple[StructureSet, bytes]:
    """The phantom and its RTSTRUCT by another writer than ours; in LPS it is the same in every patient position."""
    spec = case.spec
    drawn = phantom(VolumeGeometry(spec.shape, spec.origin_mm, spec.spacing_mm))
    rois = [
        RoiSpec(roi.number, roi.name, [(_plane(spec, c.z_mm), c.xy_mm.tolist()) for c in roi.contours])
        for roi in drawn.rois
    ]
    return drawn, structure_bytes(spec, rois)


def _plane(spec: CtSpec, z_mm: float) -> int:
    return round((z_mm - spec.origin_mm[2]) / spec.spacing_mm[2])


def written(case: GeometryCase, holes: Holes = "keyhole") -> bytes:
    """The structures, read and written again."""
    one = opened(case)
    return write_structure_set(
        one.planned.structures,
        kind="PROPAGATED",
        daily=one.series,
        plan=one.planned,
        provenance=PROVENANCE,
        holes=holes,
    )


def pass_through_error_mm(case: GeometryCase, holes: Holes = "keyhole") -> float:
    """Largest distance between drawn corners and those that were read, written and read again, either way."""
    one = opened(case)
    again = read_structure_set(parse(written(case, holes), limits=SMALL), one.series, limits=SMALL).structures
    return max(
        max(_corners_off(there, back, corners_only=True), _corners_off(back, there, corners_only=False))
        for there, back in zip(one.drawn.rois, again.rois, strict=True)
    )


def _corners_off(of: Roi, to: Roi, *, corners_only: bool) -> float:
    """Largest distance from a corner of `of` to a corner, or to any point of a line, of `to`; z included."""
    worst = 0.0
    for z_mm, corners in _by_height(of):
        at, lines = min(_by_height(to), key=lambda pair: abs(pair[0] - z_mm))
        target = (
            shapely.MultiPoint(np.concatenate(lines))
            if corners_only
            else shapely.MultiLineString([np.concatenate([line, line[:1]]) for line in lines])
        )
        shapely.prepare(target)
        in_plane = shapely.distance(target, shapely.points(np.concatenate(corners))).max()
        worst = max(worst, float(np.hypot(in_plane, at - z_mm)))
    return worst


def _by_height(roi: Roi) -> list[tuple[float, list[np.ndarray]]]:
    planes = sorted({contour.z_mm for contour in roi.contours})
    return [(z, [contour.xy_mm for contour in roi.contours if contour.z_mm == z]) for z in planes]


@dataclass(frozen=True)
class MaskError:
    """After contour -> mask -> contour.

    Attributes:
        name: Of the ROI.
        voxels: Farthest traced corner from the drawn line, in shares of the larger pixel side.
        cut: Farthest drawn corner from the traced line, likewise: the line also cuts the corners of the pixel stairs.
        percent: Error of the volume.
    """

    name: str
    voxels: float
    cut: float
    percent: float


def through_mask(case: GeometryCase) -> Iterator[MaskError]:
    one = opened(case)
    geometry = one.series.volume.geometry
    masks = rasterize(one.planned.structures, geometry)
    side, step = max(geometry.spacing_mm[:2]), geometry.spacing_mm[2]
    for drawn in one.drawn.rois:
        inside = mask_of(masks, drawn.number).astype(np.float32)
        traced = drawn.with_contours(trace(RoiPatch(drawn.number, (0, 0, 0), inside, geometry)))
        yield MaskError(
            name=drawn.name,
            voxels=_corners_off(traced, drawn, corners_only=False) / side,
            cut=_corners_off(drawn, traced, corners_only=False) / side,
            percent=100 * (even_odd_cc(traced, step) / even_odd_cc(drawn, step) - 1),
        )


def referee_percent(case: GeometryCase, referee: str) -> dict[str, float]:
    """Volume by an independent program against the formula, per ROI, in per cent."""
    one = opened(case)
    judge = {"plastimatch": plastimatch_volumes_cc, "dcmrtstruct2nii": dcmrtstruct2nii_volumes_cc}[referee]
    found = judge(written(case), list(one.ct_files))
    truth = {roi.name: even_odd_cc(roi, case.spacing_mm[2]) for roi in one.drawn.rois}
    return {name: 100 * (found[name] / truth[name] - 1) for name in truth}


def _main() -> None:
    referees = [name for name, there in (("plastimatch", shutil.which("plastimatch")),) if there]
    referees += ["dcmrtstruct2nii"] if DCMRTSTRUCT_PYTHON else []
    head = [
        "case",
        "read-write-read mm",
        "mask voxels",
        "corner cut voxels",
        "mask volume %",
        *(f"{name} %" for name in referees),
    ]
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))  # noqa: T201
    worst = np.zeros(len(head) - 1)
    for case in CASES:
        errors = list(through_mask(case))
        numbers = [
            max(pass_through_error_mm(case), pass_through_error_mm(case, "xor")),
            max(error.voxels for error in errors),
            max(error.cut for error in errors),
            max((error.percent for error in errors), key=abs),
            *(max(referee_percent(case, referee).values(), key=abs) for referee in referees),
        ]
        worst = np.maximum(worst, np.abs(numbers))
        print(f"| {case} | " + " | ".join(f"{number:.4f}" for number in numbers) + " |", flush=True)  # noqa: T201
    print("| worst | " + " | ".join(f"{number:.4f}" for number in worst) + " |")  # noqa: T201


if __name__ == "__main__":
    _main()
