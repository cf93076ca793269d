"""What may be changed at random in a training patch, how often and by how much. All of it is off by default.

No torch in here: a recipe is read without it.
"""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

INJECTIVE_SHARE = 0.4
"""Largest control displacement of a cubic B-spline in three dimensions, as a share of the control spacing, for which no
lattice folds; 1 / 2.48 after Choi and Lee, Graphical Models 2000."""


def _ascending(limits: tuple[float, float]) -> tuple[float, float]:
    if limits[0] > limits[1]:
        raise ValueError("the lower end of a range is above the upper one")
    return limits


Probability = Annotated[float, Field(ge=0, le=1)]
Size = Annotated[float, Field(ge=0)]
PositiveRange = Annotated[
    tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]], AfterValidator(_ascending)
]
HuRange = Annotated[tuple[float, float], AfterValidator(_ascending)]


class Augmentation(BaseModel):
    """Draws of one patch. Grey values change on both sides independently, everything else on one side by chance.

    Ranges are drawn from uniformly, volume factors uniformly in their logarithm. Widths are standard deviations of
    Gaussians.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    offset_hu_sd: Size = Field(default=0.0, description="HU added to an image, normal")
    gain_sd: Size = Field(default=0.0, description="Factor on HU, normal about 1")
    gamma_log_sd: Size = Field(default=0.0, description="Log of the power on the windowed grey value, normal")
    noise_probability: Probability = 0.0
    noise_hu: Size = Field(default=30.0, description="Largest standard deviation of added noise")
    noise_grain_mm: Size = Field(default=2.0, description="Largest width of its grain; 0 is white noise")
    blur_probability: Probability = 0.0
    blur_mm: Size = Field(default=1.5, description="Largest width")

    gas_probability: Probability = Field(default=0.0, description="Gas in the rectum of one side")
    gas_pockets: Annotated[int, Field(ge=1, description="At most")] = 3
    gas_radius_mm: PositiveRange = Field(default=(5.0, 20.0), description="Semi-axes of an ellipsoid pocket")
    gas_hu: HuRange = (-1000.0, -300.0)
    stool_probability: Probability = Field(default=0.0, description="Rectum of one side filled, over what it held")
    stool_hu: HuRange = (-50.0, 90.0)
    stool_texture_hu: Size = Field(default=25.0, description="Standard deviation of the filling's grain")
    rectum_label: Annotated[int, Field(ge=1)] = 2

    deformation_probability: Probability = Field(default=0.0, description="Smooth random deformation of one side")
    deformation_mm: Size = Field(default=6.0, description="Largest displacement per component")
    deformation_grid_mm: PositiveRange = Field(default=(25.0, 60.0), description="Spacing of the B-spline's controls")
    bladder_probability: Probability = Field(default=0.0, description="Bladder of one side filled or emptied")
    bladder_volume: PositiveRange = Field(default=(0.4, 3.0), description="Factor on its volume")
    bladder_label: Annotated[int, Field(ge=1)] = 1
    rigid_probability: Probability = Field(default=0.0, description="What the affine alignment left, on one side")
    rigid_mm: Size = Field(default=3.0, description="Largest shift per axis")
    rigid_deg: Size = Field(default=2.0, description="Largest rotation about each axis")

    lacking_probability: Probability = Field(
        default=0.0, description="Of each organ: that the plan shown to the network lacks it; losses still know it"
    )

    @model_validator(mode="after")
    def _does_not_fold(self) -> "Augmentation":
        if self.deformation_mm > INJECTIVE_SHARE * self.deformation_grid_mm[0]:
            raise ValueError(f"deformation_mm above {INJECTIVE_SHARE} of the finest deformation_grid_mm may fold")
        return self
