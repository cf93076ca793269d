"""A virtual patient's organs against their truth."""

from collections.abc import Mapping

from imaging.alignment import align
from imaging.masks import RoiPatch
from phantom.case import PhantomCase
from phantom.contours import LABELS
from recontour.scoring import patches_of, score


def by_the_affine(case: PhantomCase) -> dict[int, RoiPatch]:
    """The planned ROIs carried by the service's affine alone."""
    affine = align(fixed=case.daily, moving=case.planning)
    return patches_of(case.planning_structures, case.planning.geometry, daily=case.daily.geometry, affine=affine)


def distances(case: PhantomCase, rows: Mapping[str, Mapping[int, RoiPatch]]) -> dict[str, dict[str, float | None]]:
    """Mean surface distance in mm by row and organ; rows hold patches on the daily grid by ROI number."""
    truth = patches_of(case.daily_structures, case.daily.geometry, daily=case.daily.geometry)
    names = {roi.number: roi.name for roi in case.planning_structures.rois}
    organs = {number: patch for number, patch in truth.items() if names[number] in LABELS}
    there = {row: {n: patch for n, patch in patches.items() if patch.inside.size} for row, patches in rows.items()}
    scores = score(organs, there, names)
    return {row: {one.name: one.mean_mm[row] for one in scores} for row in rows}
