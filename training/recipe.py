"""A training experiment as one small file: recipes/*.toml, read once, saved inside every checkpoint."""

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from imaging.manifest import HuWindow
from training.networks import MARGIN, PAPER_WIDTHS, SIZE_MULTIPLE

RECIPES = Path(__file__).parent / "recipes"


class RecipePart(BaseModel):
    """Frozen; a key that is not known is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Split(RecipePart):
    """Virtual patients by seed; no seed may be in two splits."""

    clinic: Literal["A", "B"] = Field(description="Which scanner look and protocol of the phantom")
    first_seed: Annotated[int, Field(ge=0)]
    patients: Annotated[int, Field(ge=1)]
    fractions: Annotated[int, Field(ge=1, description="Daily CTs per patient")]
    in_plane: Annotated[int, Field(ge=64, description="Rows and columns over the field of view; the clinics have 512")]


class Cohort(RecipePart):
    """Who is learned from, who decides, who is tested on."""

    training: tuple[Split, ...]
    validation: tuple[Split, ...]
    test: tuple[Split, ...]
    fov_margin_voxels: Annotated[int, Field(ge=MARGIN, description="Cached around the organs of both days")]

    @model_validator(mode="after")
    def _disjoint(self) -> "Cohort":
        seeds: list[int] = []
        for split in (*self.training, *self.validation, *self.test):
            seeds.extend(range(split.first_seed, split.first_seed + split.patients))
        if len(set(seeds)) != len(seeds):
            raise ValueError("a patient's seed occurs in two splits")
        return self


class LossWeights(RecipePart):
    """Factors of the terms in `training.losses`."""

    dice_segmentation: Annotated[float, Field(ge=0)]
    cross_entropy: Annotated[float, Field(ge=0)]
    dice_registration: Annotated[float, Field(ge=0)]
    ncc: Annotated[float, Field(ge=0)]
    bending: Annotated[float, Field(ge=0)]
    ncc_window: Annotated[int, Field(ge=0, description="Voxels, odd; 0 takes the whole patch")]
    levels: tuple[float, float, float] = Field(description="Share of the full, half and quarter resolution")


class Sampling(RecipePart):
    """How patches are drawn."""

    patch_size: Annotated[int, Field(gt=2 * MARGIN, multiple_of=SIZE_MULTIPLE)]
    patches: Annotated[int, Field(ge=1, description="Drawn per step, before roles are swapped")]
    roles: Literal["both", "either"] = Field(description="Swap fixed and moving: every patch twice, or by chance")
    hu_shift_sd: Annotated[float, Field(ge=0, description="HU offset drawn per image")]


class Optimisation(RecipePart):
    """RAdam, its learning rate over the steps, and the averaging of weights."""

    steps: Annotated[int, Field(ge=1)]
    learning_rate: Annotated[float, Field(gt=0)]
    final_learning_rate: Annotated[float, Field(ge=0)]
    beta2: Annotated[float, Field(gt=0, lt=1, description="Memory of RAdam's second moment")]
    warmup_steps: Annotated[int, Field(ge=0)]
    decay_steps: Annotated[int, Field(ge=0, description="At the end, from the learning rate down to the final one")]
    gradient_norm: Annotated[float, Field(gt=0, description="Larger gradients are scaled down to it")]
    ema_decay: Annotated[float, Field(ge=0, lt=1, description="Of the averaged weights; 0 keeps the last")]
    precision: Literal["bfloat16", "float32"]
    recalibration_patches: Annotated[int, Field(ge=0, description="For the batch statistics of the averaged weights")]


class Recipe(RecipePart):
    """One experiment."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    seed: int
    spacing_mm: Annotated[float, Field(gt=0, description="Isotropic model grid")]
    organs: tuple[str, ...] = Field(min_length=1, description="Names of labels 1, 2, ...")
    targets: tuple[int, ...] = Field(description="Labels of the first sampling group; the other organs are the second")
    widths: tuple[int, int, int] = PAPER_WIDTHS
    hu_window: HuWindow
    cohort: Cohort
    sampling: Sampling
    loss: LossWeights
    optimisation: Optimisation

    @property
    def classes(self) -> int:
        """Organs and background."""
        return len(self.organs) + 1


def read_recipe(file: Path) -> Recipe:
    """The recipe in a TOML file; pydantic's ValidationError names what is wrong with it."""
    return Recipe.model_validate(tomllib.loads(file.read_text()))
