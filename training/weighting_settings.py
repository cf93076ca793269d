"""Which rule weighs the tasks of a joint network, and its numbers. No torch in here: a recipe is read without it."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

WeightingKind = Literal["equal", "uncertainty", "dwa", "gradnorm"]


class WeightingSettings(BaseModel):
    """Numbers of the rules; each rule reads its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epoch_steps: Annotated[int, Field(ge=1, description="Steps of an epoch; dynamic weight averaging moves once in it")]
    temperature: Annotated[float, Field(gt=0, description="Of dynamic weight averaging; Liu 2019 has 2")] = 2.0
    alpha: Annotated[float, Field(ge=0, description="How hard GradNorm pulls tasks that lag")] = 1.5
    learning_rate: Annotated[float, Field(gt=0, description="Of GradNorm's weights, Adam; our choice")] = 0.025
