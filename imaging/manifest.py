"""manifest.json: what a model expects and returns. With the ONNX file it is the whole contract with training."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Path = Literal["propagated", "segmented"]


class ManifestPart(BaseModel):
    """Frozen; a key that is not known is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Organ(ManifestPart):
    """One organ that the network was trained on."""

    label: Annotated[int, Field(ge=1, le=255)]
    name: Annotated[str, Field(min_length=1, max_length=16, description="TG-263 name")]
    aliases: tuple[str, ...] = Field(description="Other spellings accepted from a plan, without regard to case")
    components: Annotated[int, Field(ge=1, le=4)] = Field(
        1, description="How many of the largest connected components of the segmentation are kept"
    )
    recommended: Path = Field(description="The better path on the validation cohort")
    colour: tuple[int, int, int]


class HuWindow(ManifestPart):
    """Clip to [lower, upper] HU, then divide by `divisor`."""

    lower: float
    upper: float
    divisor: Annotated[float, Field(gt=0)]


class ModelManifest(ManifestPart):
    """The whole contract between training and service, with the ONNX file."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    version: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")]
    device_uid: Annotated[str, Field(pattern=r"^[0-9.]{1,64}$", description="Changes with every training")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="Of model.onnx")]
    golden_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="Of golden.npz")]
    opset: Annotated[int, Field(ge=17)]
    spacing_mm: Annotated[float, Field(gt=0, description="Of the model grid, isotropic")]
    margin_voxels: Annotated[int, Field(ge=0, description="The outputs are smaller by this on every side")]
    size_multiple: Annotated[int, Field(ge=1, description="Every input size is a multiple of this")]
    region_sizes: tuple[tuple[int, int, int], ...] = Field(
        min_length=1, description="Input sizes (z, y, x) that the service uses and warms, smallest first"
    )
    hu_window: HuWindow
    label_encoding: Literal["integer-channel", "one-hot"]
    organs: tuple[Organ, ...] = Field(min_length=1)
    dvf_unit: Literal["mm"] = "mm"
    dvf_components: Literal["xyz"] = "xyz"
    dvf_direction: Literal["fixed-to-moving"] = "fixed-to-moving"
    parity_tolerance: Annotated[float, Field(gt=0, description="Largest difference to torch: probability and mm")]
    golden_tolerance: Annotated[
        float,
        Field(
            gt=0, description="99th percentile of the difference on the golden case, any back end: probability and mm"
        ),
    ]
    training_commit: str
    recipe: str
    cohort_hash: str
    intended_use: str

    @model_validator(mode="after")
    def _consistent(self) -> "ModelManifest":
        names = [spelling.casefold() for organ in self.organs for spelling in (organ.name, *organ.aliases)]
        if len(set(names)) != len(names):
            raise ValueError("an organ name or alias occurs twice")
        if [organ.label for organ in self.organs] != list(range(1, len(self.organs) + 1)):
            raise ValueError("labels must count 1, 2, 3, ...")
        for size in self.region_sizes:
            if any(n % self.size_multiple or n <= 2 * self.margin_voxels for n in size):
                raise ValueError(f"region size {size} is no multiple of {self.size_multiple} beyond the margin")
        return self

    @property
    def identity(self) -> str:
        """Name and version in one word."""
        return f"{self.name} {self.version}"

    def organ_of(self, roi_name: str) -> Organ | None:
        """The organ that a plan's ROI name means, by exact name or alias without regard to case; never by guess."""
        wanted = roi_name.strip().casefold()
        for organ in self.organs:
            if wanted in (spelling.casefold() for spelling in (organ.name, *organ.aliases)):
                return organ
        return None
