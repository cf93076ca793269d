"""One adaptive fraction: what goes in and what comes out of the core."""

from dataclasses import dataclass
from typing import Literal

from imaging.findings import Finding
from imaging.masks import RoiPatch
from imaging.planned import PlannedRois
from imaging.structures import StructureSet
from imaging.transforms import Deformation
from imaging.volume import Volume


@dataclass(frozen=True, eq=False)
class Case:
    """Planning CT with its structures, and the CT of the day.

    Attributes:
        planned: What `prepare_plan` says of the ROIs that are asked for, where that is known already.
    """

    planning: Volume
    planning_structures: StructureSet
    daily: Volume
    planned: PlannedRois | None = None


@dataclass(frozen=True)
class RecontourOptions:
    """What a request may choose.

    Attributes:
        refine: 'auto' pulls the images together after affine and network where that helps; 'off' does not.
        rois: Numbers of the ROIs wanted, or None for every ROI of the plan.
    """

    refine: Literal["auto", "off"] = "auto"
    rois: tuple[int, ...] | None = None


CarriedBy = Literal["affine", "network", "refinement", "drawn anew", "nothing"]
"""The last step of the deformation that a propagated ROI owes its place to."""


RoiPath = Literal["propagated", "segmented"]


@dataclass(frozen=True, eq=False)
class RoiOutcome:
    """What happened to one ROI of the plan.

    Attributes:
        number: ROI number of the plan.
        recommended_path: Which of the two was recommended, or None if the ROI came back empty.
        carried_by: What placed the propagated contour.
        planned_cc: Volume in the plan.
        propagated_cc: Volume of the propagated ROI.
        segmented_cc: Volume of the segmented organ, or None where the network does not know it.
        shift_mm: Distance of the recommended ROI's centroid from the planned one after the affine, or None if empty.
    """

    number: int
    recommended_path: RoiPath | None
    carried_by: CarriedBy
    planned_cc: float
    propagated_cc: float
    segmented_cc: float | None
    shift_mm: float | None


@dataclass(frozen=True, eq=False)
class Recontouring:
    """The answer, on the daily CT.

    Attributes:
        recommended: Every ROI of the plan, per organ from the better path.
        propagated: Every ROI of the plan, carried by the deformation.
        segmented: The organs that the network knows, with the numbers and names of the plan where it has them.
        deformation: From the daily to the planning patient.
        rois: One outcome per ROI of the plan, in its order.
        findings: Every check with its verdict, ROI findings and case findings.
        propagated_patches: The propagated ROIs on the daily grid, for scoring and pictures.
        segmented_patches: The segmented organs on the daily grid.
        model_identity: Name and version of the model, or '' if none was used.
    """

    recommended: StructureSet
    propagated: StructureSet
    segmented: StructureSet
    deformation: Deformation
    rois: tuple[RoiOutcome, ...]
    findings: tuple[Finding, ...]
    propagated_patches: tuple[RoiPatch, ...]
    segmented_patches: tuple[RoiPatch, ...]
    model_identity: str
