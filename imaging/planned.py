"""What a plan alone says: its ROIs as bits, their sizes and places, and which planes it leaves out.

None of it needs the daily CT, so a staged plan waits with it.
"""

from dataclasses import dataclass

from imaging.findings import Finding, Verdict
from imaging.geometry import VolumeGeometry
from imaging.masks import PackedMasks
from imaging.measures import RoiMeasure, measure_packed
from imaging.plan import Plan, contour_points, grid_around
from imaging.rasterize import gapped_rois, interpolated_rois, rasterize
from imaging.structures import StructureSet
from imaging.volume import Volume

OUTLINE_MM = 4.0
"""Pixels on which the planned body outline is measured."""


@dataclass(frozen=True, eq=False)
class PlannedRois:
    """The ROIs of a plan on its CT.

    Attributes:
        masks: The carried ROIs as bits, on the part of the planning grid that holds them.
        measures: Volume and place of every planned ROI with contours; of the body outline on pixels of 4 mm, which is
            enough.
        findings: What became of planes that the plan leaves out.
    """

    masks: tuple[PackedMasks, ...]
    measures: dict[int, RoiMeasure]
    findings: tuple[Finding, ...]


def prepare_plan(plan: Plan, planning: Volume) -> PlannedRois:
    """Rasterize and measure the ROIs of a plan on its CT."""
    grid = planning.geometry
    masks: tuple[PackedMasks, ...] = ()
    if plan.carried.rois:
        masks = rasterize(plan.carried, grid_around(contour_points(plan.carried), grid), within=True)
    x, y, z = grid.spacing_mm
    outlines = rasterize(plan.external, grid.covering((max(x, OUTLINE_MM), max(y, OUTLINE_MM), z)))
    measures = {number: found for group in (*masks, *outlines) for number, found in measure_packed(group).items()}
    return PlannedRois(masks, measures, _gaps(plan.carried, grid))


def _gaps(carried: StructureSet, grid: VolumeGeometry) -> tuple[Finding, ...]:
    """What became of planes that the plan leaves out between drawn ones."""
    filled = "the plan leaves out slices inside this ROI; they were filled in between their neighbours"
    left = "the plan leaves out slices inside this ROI; they were taken as meant and stay empty"
    told = [("plan-interpolated", filled, interpolated_rois), ("plan-gaps", left, gapped_rois)]
    return tuple(
        Finding(check, Verdict.REVIEW, message, roi_number=number)
        for check, message, numbers in told
        for number in numbers(carried, grid)
    )
