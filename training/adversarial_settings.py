"""How JRS-GAN's critic and its well-aligned examples are made. No torch in here: a recipe is read without it.

Elmahdy et al., "Adversarial optimization for joint registration and segmentation in prostate CT radiotherapy", MICCAI
2019 (arXiv 1906.12223). The numbers of the paper could not be found; those that stand here are ours.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Range = tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(ge=0)]]


class AlignedExampleSettings(BaseModel):
    """Theta of the paper: how the fixed image becomes a moving image that is well aligned. All numbers are ours.

    Noise and blur go together: on virtual patients at 2 mm, what the 1-2-1 smoothing takes away has an SD of 18 HU in
    an example (6 to 36), and of 10 to 17 HU in a warped image. Without the blur it would be 30, and a critic that tells
    both by their grain rewards a rough deformation.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    noise_hu: Annotated[Range, Field(description="Least and largest SD of white noise, HU, before the blur")] = (
        20.0,
        40.0,
    )
    gain: Annotated[float, Field(ge=0, lt=1, description="Largest relative change of the values, either way")] = 0.05
    offset_hu: Annotated[float, Field(ge=0, description="Largest shift of the values, either way")] = 10.0
    contrast_hu: Annotated[float, Field(ge=0, description="SD of the shift of an organ, each by itself: filling")] = 8.0
    blur: Annotated[float, Field(ge=0, le=1, description="Largest share of the image smoothed by 1-2-1")] = 1.0
    jitter_voxels: Annotated[float, Field(ge=0, description="Longest displacement of image and labels together")] = 1.0
    jitter_spacing_voxels: Annotated[int, Field(ge=1, description="Between the control points of the jitter")] = 8

    @model_validator(mode="after")
    def _noise_rises(self) -> "AlignedExampleSettings":
        if self.noise_hu[0] > self.noise_hu[1]:
            raise ValueError("noise_hu: the least SD is larger than the largest")
        return self


class AdversarialSettings(BaseModel):
    """The critic, its updates, and its weight in the generator's loss."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lambda_adversarial: Annotated[
        float, Field(ge=0, description="Weight of the critic's term, the paper's lambda 2; ours. 0 trains without it")
    ] = 0.01
    critic_widths: Annotated[
        tuple[Annotated[int, Field(ge=1)], ...],
        Field(min_length=1, description="Channels of the strided layers; n of them see 4 * 2^n - 1 voxels; ours"),
    ] = (16, 32, 64)
    critic_steps: Annotated[
        int, Field(ge=1, description="Updates of the critic per update of the generator; 5 as in Gulrajani 2017; ours")
    ] = 5
    lipschitz: Annotated[
        Literal["gradient-penalty", "weight-clipping"],
        Field(
            description="What keeps the critic's slope near 1. The paper speaks of the penalty as future work, so "
            "it clipped: RMSprop with clipping, Adam (0, 0.9) with the penalty"
        ),
    ] = "gradient-penalty"
    critic_learning_rate: Annotated[
        float, Field(gt=0, description="Constant. 1e-4 with the penalty, 5e-5 with clipping, as their papers; ours")
    ] = 1e-4
    gradient_penalty: Annotated[float, Field(gt=0, description="Its weight; 10 as in Gulrajani 2017; ours")] = 10.0
    weight_limit: Annotated[
        float,
        Field(
            gt=0,
            description="Of clipped weights; ours. The 0.01 of Arjovsky 2017 silences a critic without normalisation: "
            "its gradient on the displacement was 6,000 times smaller than with the penalty, with 0.1 five times",
        ),
    ] = 0.1
    aligned_example: AlignedExampleSettings = AlignedExampleSettings()
