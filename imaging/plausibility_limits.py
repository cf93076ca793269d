"""Where the plausibility checks begin to ask for review and where they fail."""

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Percent = Annotated[float, Field(ge=0, le=100)]


class PlausibilityLimits(BaseModel):
    """Where review begins and where a check fails. Unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    volume_ratio_review: tuple[Positive, Positive] = (0.5, 2.0)
    """Volume now over volume in the plan: review outside. Hazard analysis, contour gates."""
    volume_ratio_fail: tuple[Positive, Positive] = (0.33, 3.0)
    """Volume now over volume in the plan: fail outside. Hazard analysis, contour gates."""
    centroid_shift_review_mm: Positive = 20.0
    """Distance from the planned centroid after the affine: review above. Hazard analysis, contour gates."""
    centroid_shift_fail_mm: Positive = 40.0
    """Distance from the planned centroid after the affine: fail above. Hazard analysis, contour gates."""
    paths_dice_review: Share = 0.8
    """Dice of the propagated and the segmented ROI: review below. Ours, after TG-132's 0.8 to 0.9 for contours."""
    paths_dice_fail: Share = 0.5
    """Dice of the propagated and the segmented ROI: fail below. Ours."""
    paths_surface_review_mm: Positive = 2.5
    """Mean surface distance of the two paths: review above. TG-132's 2 to 3 mm for contours, calibrated on virtual
    patients: docs/model-development.md, experiment 14."""
    paths_surface_fail_mm: Positive = 10.0
    """Mean surface distance of the two paths: fail above. Ours."""
    paths_hausdorff_review_mm: Positive = 10.0
    """95 % Hausdorff distance of the two paths: review above. Ours."""
    paths_hausdorff_fail_mm: Positive = 25.0
    """95 % Hausdorff distance of the two paths: fail above. Ours."""
    jacobian_review: Annotated[float, Field(ge=0)] = 0.2
    """Smallest Jacobian determinant inside the ROI: review below, that is tissue squeezed to a fifth. Ours."""
    folded_review_percent: Percent = 0.0
    """Share of the ROI where the determinant is zero or negative: review above. TG-132: no folding."""
    folded_fail_percent: Percent = 1.0
    """Share of the ROI where the determinant is zero or negative: fail above. Ours."""
    outside_scan_review_percent: Percent = 0.0
    """Share of the planned volume beyond the first or last daily slice: review above. Ours."""
    outside_scan_fail_percent: Percent = 50.0
    """Share of the planned volume beyond the first or last daily slice: fail above. Ours."""
    wrong_side_fail_mm: Annotated[float, Field(ge=0)] = 5.0
    """Distance of a sided ROI's centroid beyond the midline: fail above, review from 0. Ours; the side is a gate."""

    @model_validator(mode="after")
    def _review_comes_before_fail(self) -> Self:
        low_fail, high_fail = self.volume_ratio_fail
        low, high = self.volume_ratio_review
        rising = [
            (low_fail, low, 1.0, high, high_fail),
            (self.centroid_shift_review_mm, self.centroid_shift_fail_mm),
            (self.paths_dice_fail, self.paths_dice_review),
            (self.paths_surface_review_mm, self.paths_surface_fail_mm),
            (self.paths_hausdorff_review_mm, self.paths_hausdorff_fail_mm),
            (self.folded_review_percent, self.folded_fail_percent),
            (self.outside_scan_review_percent, self.outside_scan_fail_percent),
        ]
        for limits in rising:
            if any(a > b for a, b in pairwise(limits)):
                raise ValueError(f"limits {limits} are out of order: review must come before fail")
        return self

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Limits of a JSON file; keys that it leaves out keep their defaults. ValueError if it is not valid."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "its text"
            known = ", ".join(cls.model_fields)
            raise ValueError(f"the plausibility file, {where}: {first['msg']}; the keys are {known}") from None
