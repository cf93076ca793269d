"""A training experiment as one small file: recipes/*.toml, read once, saved inside every checkpoint."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from imaging.manifest import HuWindow
from training.adversarial_settings import AdversarialSettings
from training.augmentation_settings import Augmentation
from training.deep_atlas_settings import DeepAtlasSettings
from training.weighting_settings import WeightingKind, WeightingSettings

Channel = Literal["fixed", "moving", "moving_labels"]
"""I_f, I_m and S_m of the papers; S_m is one channel of whole numbers, as in the authors' code."""

Widths = tuple[int, int, int]

MARGIN = 20
"""Input voxels per side that the full-resolution output does not reach."""

SIZE_MULTIPLE = 4
"""Two halvings that must come out even."""

METHODS = ("adversarial", "deep_atlas")
"""Tables that make a recipe one of another way of learning."""

RECIPES = Path(__file__).parent / "recipes"


class RecipePart(BaseModel):
    """Frozen; a key that is not known is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class NetworkSpec(RecipePart):
    """Which network, what its paths see, and how wide it is."""

    family: Literal["segmentation", "registration", "dense", "sedd", "cross-stitch", "deep-atlas"]
    segmentation_inputs: tuple[Channel, ...] = Field(description="Of the path that segments; empty without one")
    registration_inputs: tuple[Channel, ...] = Field(description="Of the path that registers; empty without one")
    widths: Widths = Field(description="Channels at full, half and quarter resolution")

    @model_validator(mode="after")
    def _inputs_fit(self) -> "NetworkSpec":
        if self.segments != bool(self.segmentation_inputs) or self.registers != bool(self.registration_inputs):
            raise ValueError(f"{self.family}: name the inputs of the paths that it has, and of no other")
        if self.family in ("dense", "sedd") and self.segmentation_inputs != self.registration_inputs:
            raise ValueError(f"{self.family}: both tasks see the inputs of the shared layers; name the same twice")
        return self

    @property
    def segments(self) -> bool:
        """Whether there is a segmentation path."""
        return self.family != "registration"

    @property
    def registers(self) -> bool:
        """Whether there is a registration path."""
        return self.family != "segmentation"


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
    hu_window: HuWindow
    network: NetworkSpec
    sampling: Sampling
    augmentation: Augmentation = Augmentation()
    loss: LossWeights
    weighting: WeightingKind = Field(default="equal", description="How a joint network's tasks are weighed")
    weighting_settings: WeightingSettings = WeightingSettings(epoch_steps=100)
    optimisation: Optimisation
    adversarial: AdversarialSettings | None = Field(default=None, description="JRS-GAN: a critic judges the warp")
    deep_atlas: DeepAtlasSettings | None = Field(default=None, description="DeepAtlas: two networks take turns")

    @model_validator(mode="after")
    def _one_way_of_learning(self) -> "Recipe":
        if (self.deep_atlas is not None) != (self.network.family == "deep-atlas"):
            raise ValueError("the settings [deep_atlas] belong to the network family deep-atlas, and it to them")
        if self.adversarial is not None and self.network.family != "registration":
            raise ValueError("the generator of JRS-GAN is the network family registration")
        if self.weighting != "equal" and (self.adversarial or self.deep_atlas):
            raise ValueError("JRS-GAN and DeepAtlas have weights of their own: leave weighting at equal")
        if self.weighting != "equal" and self._tasks < 2:
            raise ValueError("there is one task only: leave weighting at equal")
        return self

    @property
    def _tasks(self) -> int:
        network, loss = self.network, self.loss
        similarity = network.registers and (loss.ncc or loss.bending)
        overlap = network.registers and loss.dice_registration
        segmentation = network.segments and (loss.dice_segmentation or loss.cross_entropy)
        return sum(map(bool, (similarity, overlap, segmentation)))

    @property
    def classes(self) -> int:
        """Organs and background."""
        return len(self.organs) + 1


def read_recipe(file: Path, *overlays: Path) -> Recipe:
    """A recipe as TOML; `extends = "other.toml"` names one in its folder whose values hold where it has none itself.

    Args:
        file: The system.
        overlays: Files whose values replace those before them, for example the scale of an experiment; their tables
            [adversarial] and [deep_atlas] are for recipes that have one.

    Raises:
        FileNotFoundError: If a file or one that it extends is not there.
        pydantic.ValidationError: Names the value that is wrong or missing.
    """
    content = _extended(file)
    for overlay in overlays:
        over = _extended(overlay)
        content = _merged(content, {key: value for key, value in over.items() if key in content or key not in METHODS})
    return Recipe.model_validate(content)


def recipe_file(name: str) -> Path:
    """The file that a name or a path means: `dense` is recipes/dense.toml.

    Raises:
        FileNotFoundError: With the names there are.
    """
    shipped, given = RECIPES / f"{name}.toml", Path(name)
    if shipped.is_file():
        return shipped
    if given.is_file():
        return given
    names = ", ".join(sorted(file.stem for file in RECIPES.glob("*.toml") if "release" not in file.name))
    raise FileNotFoundError(f"there is no recipe {given.name}; give a file, or one of {names}")


def _extended(file: Path) -> dict[str, Any]:
    content = tomllib.loads(file.read_text())
    base = content.pop("extends", None)
    return content if base is None else _merged(_extended(file.parent / base), content)


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Tables are merged key by key, everything else is replaced."""
    tables = {
        key: _merged(base[key], value)
        for key, value in over.items()
        if isinstance(value, dict) and isinstance(base.get(key), dict)
    }
    return base | over | tables
