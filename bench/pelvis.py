"""A virtual patient with as many ROIs, and as many corners per contour, as one wants."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from imaging.geometry import VolumeGeometry
from imaging.structures import Contour, Roi, StructureSet
from phantom.case import CLINIC_A, PhantomCase, make_case
from recontour.virtual_patient import CaseFolders, write_folders

CORNERS = 150
PLANES = 80
"""Corners per contour and contours per added ROI: the load of the project's speed measurements."""


def write_pelvis(
    folder: Path,
    *,
    seed: int,
    slices: int,
    in_plane: int,
    rois: int,
    spacing_mm: tuple[float, float, float] | None = None,
) -> tuple[PhantomCase, CaseFolders]:
    """A case on disk whose plan has `rois` ROIs: the phantom's own, then ellipsoids in its soft tissue."""
    case = make_case(seed, clinic=CLINIC_A, slices=slices, in_plane=in_plane, spacing_mm=spacing_mm)
    case = with_rois(case, rois)
    return case, write_folders(case, folder)


def write_small(folder: Path, *, seed: int, rois: int) -> tuple[PhantomCase, CaseFolders]:
    """The same patient on 40 coarse slices, for many requests in a row."""
    return write_pelvis(folder, seed=seed, slices=40, in_plane=128, rois=rois, spacing_mm=(3.6, 3.6, 5.0))


def with_rois(case: PhantomCase, rois: int) -> PhantomCase:
    """The first `rois` ROIs of the phantom, the organs before the targets, then ellipsoids."""
    plan = case.planning_structures
    own = sorted(plan.rois, key=lambda roi: roi.interpreted_type in ("PTV", "CTV"))[:rois]
    kept = tuple(roi for roi in plan.rois if roi in own)
    first = 1 + max(roi.number for roi in plan.rois)
    rng = np.random.default_rng(case.seed)
    added = tuple(ellipsoid(first + k, case.planning.geometry, rng=rng) for k in range(rois - len(kept)))
    return replace(case, planning_structures=StructureSet((*kept, *added), label=plan.label))


def with_finer_contours(case: PhantomCase, times: int) -> PhantomCase:
    """The same lines with `times` as many corners: each edge is cut into equal pieces."""
    plan = case.planning_structures
    rois = tuple(
        replace(roi, contours=tuple(Contour(c.z_mm, cut_edges(c.xy_mm, times)) for c in roi.contours))
        for roi in plan.rois
    )
    return replace(case, planning_structures=StructureSet(rois, label=plan.label))


def cut_edges(corners: np.ndarray, times: int) -> np.ndarray:
    """Corners (n, 2) of a closed line, each edge cut into `times` pieces: (n * times, 2)."""
    step = (np.roll(corners, -1, axis=0) - corners) / times
    return (corners[:, None] + step[:, None] * np.arange(times)[None, :, None]).reshape(-1, 2)


def ellipsoid(number: int, geometry: VolumeGeometry, *, rng: np.random.Generator) -> Roi:
    """An ROI of `PLANES` slices, or of as many as there are, somewhere inside the body."""
    z_mm = geometry.axis_mm("z")
    planes = z_mm[max((len(z_mm) - PLANES) // 2, 1) : max((len(z_mm) + PLANES) // 2, 2)]
    middle, half = planes.mean(), (planes[-1] - planes[0]) / 2 * 1.01
    x, y = rng.uniform(-60, 60), rng.uniform(-40, 40)
    radius = rng.uniform(10, 30)
    turn = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    contours = []
    for z in planes:
        here = radius * np.sqrt(1 - ((z - middle) / half) ** 2)
        contours.append(Contour(float(z), np.column_stack([x + here * np.cos(turn), y + here * np.sin(turn)])))
    return Roi(number, f"Extra_{number:02d}", "ORGAN", (200, 200, 0), tuple(contours))
