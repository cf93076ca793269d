"""DeepAtlas as a recipe sees it: weights, whose turn it is, and which contours training may look at.

Xu and Niethammer, MICCAI 2019. Defaults are the authors' where their repository or paper gives a number; the fields say
which are ours.
"""

import hashlib
from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, model_validator

from training.names import patient_of

Side = Literal["fixed", "moving"]
"""Of a cached pair: the daily and the planning scan, before any change of roles."""


class DeepAtlasSettings(BaseModel):
    """The alternation of a registration and a segmentation network, and how much is labelled."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lambda_similarity: Annotated[float, Field(ge=0, description="Of 1 - NCC of the images")] = 1.0
    ncc_window: Annotated[int, Field(ge=0, description="Voxels, odd; 0 takes the whole patch, as the authors")] = 0
    smoothness: Literal["bending", "gradient"] = Field(
        default="bending", description="Second or first derivatives of the displacement, squared"
    )
    lambda_smoothness: Annotated[
        float, Field(ge=0, description="Of the smoothness in voxels; ours: the authors' fields are in other units")
    ] = 0.5
    lambda_anatomy: Annotated[float, Field(ge=0, description="Of the overlap after the warp, in both networks")] = 3.0
    lambda_supervised: Annotated[float, Field(ge=0, description="Of the overlap with drawn contours")] = 3.0
    segmentation_learning_rate: Annotated[float, Field(gt=0, description="Adam's; MONAI's too")] = 1e-3
    registration_learning_rate: Annotated[float, Field(gt=0, description="Adam's; 5e-4 in MONAI's tutorial")] = 1e-3
    segmentation_alone: Annotated[
        float, Field(ge=0, lt=1, description="Share of the recipe's steps that trains the segmentation first; ours")
    ] = 0.25
    registration_alone: Annotated[
        float, Field(ge=0, lt=1, description="Share of the recipe's steps that trains the registration first; ours")
    ] = 0.25
    registration_steps_per_segmentation_step: Annotated[
        int, Field(ge=1, description="While both take turns; 20 are the authors', 8 MONAI's")
    ] = 20
    loss_border: Annotated[
        int, Field(ge=0, le=20, description="Voxels per side of a patch that no loss looks at; ours")
    ] = 8
    labels: Literal["daily-fraction", "one-planning"] = Field(
        default="daily-fraction",
        description="Every planning scan and a fraction of the daily ones, or a single planning scan of the cohort",
    )
    labelled_fraction: Annotated[float, Field(ge=0, le=1, description="Of the daily scans; 1 is fully labelled")] = 1.0
    label_seed: Annotated[int, Field(ge=0, description="Another one labels other scans")] = 0

    @model_validator(mode="after")
    def _time_for_turns(self) -> "DeepAtlasSettings":
        if self.segmentation_alone + self.registration_alone > 1:
            raise ValueError("the networks alone take more than all steps")
        return self


class Turn(NamedTuple):
    """Which network a step trains, and whether the other one helps it."""

    network: Literal["segmentation", "registration"]
    helped: bool


def turn(number: int, *, steps: int, settings: DeepAtlasSettings) -> Turn:
    """Whose turn step `number` of `steps` is: each network alone first, then one after the other.

    With one labelled scan the registration learns first, from images alone, and helps the segmentation from its first
    step on: there is nothing else to learn contours from. Otherwise the segmentation comes first.
    """
    segmentation = int(settings.segmentation_alone * steps)
    registration = int(settings.registration_alone * steps)
    if number >= segmentation + registration:
        cycle = (number - segmentation - registration) % (settings.registration_steps_per_segmentation_step + 1)
        return Turn("segmentation" if cycle == 0 else "registration", True)
    if settings.labels == "one-planning":
        return Turn("segmentation", True) if number >= registration else Turn("registration", False)
    return Turn("registration" if number >= segmentation else "segmentation", False)


def is_labelled(pair_name: str, side: Side, settings: DeepAtlasSettings, *, cohort: Sequence[str] = ()) -> bool:
    """Whether training may look at the contours of one side of a pair.

    A daily scan is decided by a hash of its pair's name, so every run hides the same ones, and one that is labelled at
    a small fraction is labelled at a larger one too.

    Args:
        pair_name: 'PATIENT-DAY'.
        side: 'fixed' is the daily, 'moving' the planning scan.
        settings: What is labelled.
        cohort: Names of all training pairs; one labelled planning scan is the one of the patient whose hash is lowest.

    Raises:
        ValueError: If one planning scan is labelled and the cohort is not given.
    """
    if settings.labels == "one-planning":
        if not cohort:
            raise ValueError("which planning scan is the labelled one depends on the whole cohort")
        patients = {patient_of(name) for name in cohort}
        only = min(patients, key=lambda patient: (_position(patient, settings), patient))
        return side == "moving" and patient_of(pair_name) == only
    return side == "moving" or _position(pair_name, settings) < settings.labelled_fraction


def pairs_to_draw_from(
    cohort: Sequence[str], number: int, *, steps: int, settings: DeepAtlasSettings
) -> tuple[int, ...]:
    """Which pairs step `number` may draw patches from, as positions in the names of all training pairs.

    The segmentation learns nothing from a pair without a label, which most are where one planning scan is labelled.
    """
    if settings.labels == "one-planning" and turn(number, steps=steps, settings=settings).network == "segmentation":
        return tuple(i for i, name in enumerate(cohort) if is_labelled(name, "moving", settings, cohort=cohort))
    return tuple(range(len(cohort)))


def _position(name: str, settings: DeepAtlasSettings) -> float:
    """A number from 0 up to 1 that looks random but belongs to the name."""
    digest = hashlib.sha256(f"{settings.label_seed} {name}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
