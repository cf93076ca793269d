"""The papers' comparison as settings: how large it is, what takes part, and where everything lies."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from imaging.model import Device
from training.baselines.elastix import Effort, elastix_systems
from training.baselines.hybrid import hybrid_systems
from training.baselines.references import reference_systems
from training.dataset import Dataset, read_datasets
from training.evaluation.loading import bladder_of, network_system
from training.evaluation.system import System
from training.recipe import RECIPES, Recipe, RecipePart, read_recipe

FILE = Path(__file__).parent / "reproduction.toml"
BLADDER_NETWORK = "segmentation-a"


class ClinicSize(RecipePart):
    """How many patients and scans; as many scans as the paper's where none are named."""

    patients: int
    scans: int | None = None


class Scale(RecipePart):
    """How large the experiment is."""

    in_plane: int
    slices: int | None = None
    seed: int
    clinic_a: ClinicSize
    clinic_b: ClinicSize
    validation: float = Field(description="Share of clinic A's patients")
    prepare_margin: int = Field(description="Voxels of the model grid round the organs")
    days: int | None = Field(default=None, description="Evaluated of each held-out patient; None: all")
    settings: int | None = Field(default=None, description="Tried of elastix and of Hybrid each; None: all")
    iterations: int | None = Field(default=None, description="Of elastix, Hybrid, demons at a resolution; None: theirs")


@dataclass(frozen=True)
class Reproduction:
    """One experiment in one folder.

    Attributes:
        name: Of the scale.
        scale: Its size.
        networks: Recipe -> name in the tables.
        out: Folder of everything.
        workers: Processes side by side, one thread each where there are several.
        device: 'auto' takes CUDA where there is one.
    """

    name: str
    scale: Scale
    networks: dict[str, str]
    out: Path
    workers: int
    device: Device = "auto"

    def recipe(self, system: str) -> Recipe:
        """The recipe of a system at this scale."""
        return read_recipe(RECIPES / f"{system}.toml", RECIPES / "scales" / f"{self.name}.toml")

    def data(self, clinic: str) -> Path:
        """The dataset of a clinic."""
        return self.out / "data" / clinic

    def run(self, system: str) -> Path:
        """The run of a network."""
        return self.out / "runs" / system

    def dataset(self) -> Dataset:
        """Both clinics as one: A holds the training and validation patients, B those of the test."""
        return read_datasets([self.data("A"), self.data("B")])

    def tried(self) -> dict[str, tuple[System, ...]]:
        """The paper's name of a method -> a system for each of its settings; validation keeps one of them."""
        effort = Effort(self.scale.settings, self.scale.iterations)
        bladder = bladder_of(self.run(BLADDER_NETWORK), device=self.device)
        return {"elastix": elastix_systems(effort=effort), "Hybrid": hybrid_systems(bladder, effort=effort)}

    def systems(self, *, kept: Mapping[str, str] | None = None) -> list[System]:
        """References, elastix, Hybrid, and the networks, in the order of the tables.

        Args:
            kept: Method -> the one setting that is wanted; None for all settings.
        """
        settings = [
            one
            for method, systems in self.tried().items()
            for one in systems
            if kept is None or kept[method] == one.name
        ]
        networks = [
            network_system(title, self.run(system), device=self.device) for system, title in self.networks.items()
        ]
        return [*reference_systems(iterations=self.scale.iterations), *settings, *networks]


def read_reproduction(scale: str, out: Path, *, workers: int, device: Device = "auto") -> Reproduction:
    """The experiment of `reproduction.toml` at one scale."""
    content = tomllib.loads(FILE.read_text())
    return Reproduction(
        scale, Scale.model_validate(content["scales"][scale]), content["networks"], out, workers, device
    )
