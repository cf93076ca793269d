"""Held against a known truth: Dice and surface distance of every ROI, step by step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from imaging.geometry import VolumeGeometry
from imaging.masks import PackedMasks, RoiPatch
from imaging.measures import measure, on_common_box
from imaging.metrics import dice, surface_distances
from imaging.propagation import propagate
from imaging.rasterize import rasterize
from imaging.structures import StructureSet
from imaging.transforms import AffineTransform, Deformation

Patches = Mapping[int, RoiPatch]
"""By ROI number, on the daily grid; empty ROIs are absent."""


@dataclass(frozen=True)
class Score:
    """One ROI against its truth; None where there is nothing to compare.

    Attributes:
        dice: Per step, from 0 to 1.
        mean_mm: Mean surface distance per step.
    """

    number: int
    name: str
    true_cc: float
    dice: Mapping[str, float | None]
    mean_mm: Mapping[str, float | None]


def patches_of(
    structures: StructureSet,
    drawn_on: VolumeGeometry,
    *,
    daily: VolumeGeometry,
    affine: AffineTransform | None = None,
) -> dict[int, RoiPatch]:
    """ROIs on the daily grid, as they lie or carried by an affine from the daily to their own patient.

    Args:
        structures: ROIs.
        drawn_on: Grid of the CT that they were drawn on.
        daily: Grid of the daily CT.
        affine: From the daily patient to that of `structures`; the identity if None.
    """
    # A truth is what its own pixels say; what is carried to other pixels goes as the service carries it.
    masks: tuple[PackedMasks, ...] = rasterize(structures, drawn_on, within=drawn_on != daily)
    found = propagate(masks, Deformation(affine or AffineTransform.identity()), daily)
    return {patch.roi_number: patch for patch in found if patch.inside.size}


def score(truth: Patches, steps: Mapping[str, Patches], names: Mapping[int, str]) -> tuple[Score, ...]:
    """Every ROI of the truth against every step that has it."""
    return tuple(
        _score_roi(patch, names[number], {step: patches.get(number) for step, patches in steps.items()})
        for number, patch in truth.items()
    )


def _score_roi(truth: RoiPatch, name: str, found: Mapping[str, RoiPatch | None]) -> Score:
    overlap: dict[str, float | None] = {}
    mean_mm: dict[str, float | None] = {}
    for step, patch in found.items():
        overlap[step] = mean_mm[step] = None
        if patch is not None:
            a, b = on_common_box(truth, patch)
            overlap[step] = dice(a, b)
            mean_mm[step] = surface_distances(a, b, spacing_mm=truth.geometry.spacing_mm).mean_mm
    return Score(truth.roi_number, name, measure(truth).volume_cc, overlap, mean_mm)


def mean_over(scores: Sequence[Score], step: str) -> float | None:
    """Mean Dice of a step over the ROIs that it has."""
    values = [value for one in scores if (value := one.dice[step]) is not None]
    return sum(values) / len(values) if values else None
