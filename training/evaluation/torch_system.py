"""A run as a system: its network executed by torch, behind the protocol of the service's back ends."""

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import nn

from imaging.arrays import FloatVoxels
from imaging.manifest import ModelManifest, Organ
from imaging.model import Device, RecontouringModel
from training.checkpoint import NETWORK, TrainedNetwork, read_network
from training.evaluation.network_system import NetworkSystem
from training.evaluation.system import COMPONENTS, PathName
from training.evaluation.unseen import Cohort
from training.recipe import MARGIN, SIZE_MULTIPLE, NetworkSpec, Recipe


def run_system(name: str, run: Path, *, device: Device = "auto") -> NetworkSystem:
    """The network that came out of a run, on a region fitted to every case.

    Args:
        name: What it is called in tables.
        run: Folder of the run.
        device: 'auto' takes a GPU where there is one.

    Raises:
        FileNotFoundError: If the run has no network yet.
    """
    trained = read_network(run)
    recipe = trained.recipe
    where = torch.device("cuda" if device == "auto" and torch.cuda.is_available() else device.replace("auto", "cpu"))
    backend = TorchBackend(trained.network, classes=recipe.classes, spacing_mm=recipe.spacing_mm, device=where)
    identity = hashlib.sha256((run / NETWORK).read_bytes()).hexdigest()
    model = RecontouringModel(working_manifest(recipe), run, backend)
    return NetworkSystem(
        name,
        identity,
        model,
        paths_of(recipe.network),
        exported=False,
        learned_from=cohorts_of(trained),
        unfinished=unfinished(trained),
    )


def cohorts_of(trained: TrainedNetwork) -> tuple[Cohort, ...]:
    """What a network learned from, stage by stage."""
    return tuple(Cohort(stage.patients, stage.cohort_hash) for stage in trained.stages)


def unfinished(trained: TrainedNetwork) -> str:
    """'step 300 of 2,000' of a run that was stopped before its recipe's end; empty for one that came to it."""
    steps = trained.recipe.optimisation.steps
    return f"step {trained.step:,} of {steps:,}" if trained.step < steps else ""


def paths_of(spec: NetworkSpec) -> tuple[PathName, ...]:
    """The paths that a network has."""
    both: tuple[tuple[PathName, bool], ...] = (("segmentation", spec.segments), ("registration", spec.registers))
    return tuple(path for path, there in both if there)


def working_manifest(recipe: Recipe) -> ModelManifest:
    """The contract of a network that was not exported; hashes, names and tolerances say nothing in it."""
    organs = tuple(
        Organ(
            label=label,
            name=name,
            aliases=(),
            components=COMPONENTS.get(name, 1),
            recommended="segmented",
            colour=(255, 255, 255),
        )
        for label, name in enumerate(recipe.organs, start=1)
    )
    return ModelManifest(
        name=recipe.name,
        version="0.0.0",
        device_uid="0",
        sha256="0" * 64,
        golden_sha256="0" * 64,
        opset=18,
        spacing_mm=recipe.spacing_mm,
        margin_voxels=MARGIN,
        size_multiple=SIZE_MULTIPLE,
        region_sizes=((2 * MARGIN + SIZE_MULTIPLE,) * 3,),
        hu_window=recipe.hu_window,
        label_encoding="integer-channel",
        organs=organs,
        parity_tolerance=1.0,
        golden_tolerance=1.0,
        training_commit="",
        recipe=recipe.name,
        cohort_hash="",
        intended_use="",
    )


class TorchBackend:
    """A network of training behind the service's back-end protocol.

    A path that the network does not have answers nothing: background everywhere, or no displacement.
    """

    def __init__(self, network: nn.Module, *, classes: int, spacing_mm: float, device: torch.device) -> None:
        self._network = network.to(device).eval()
        self._classes, self._spacing_mm, self._device = classes, spacing_mm, device

    @property
    def provider(self) -> str:
        """See `Backend.provider`."""
        return f"torch {self._device}"

    def run(self, fixed: FloatVoxels, moving: FloatVoxels, labels: FloatVoxels) -> tuple[FloatVoxels, FloatVoxels]:
        """See `Backend.run`."""
        tensors = [torch.from_numpy(np.ascontiguousarray(array)).to(self._device) for array in (fixed, moving, labels)]
        with torch.inference_mode():
            logits, dvf = self._network(*tensors)[0]
            shape = [n - 2 * MARGIN for n in fixed.shape[2:]]
            if logits is None:
                probabilities = torch.zeros(1, self._classes, *shape)
                probabilities[:, 0] = 1
            else:
                probabilities = logits.float().softmax(dim=1).cpu()
            vectors = torch.zeros(1, 3, *shape) if dvf is None else (dvf.float() * self._spacing_mm).cpu()
        return probabilities.numpy(), vectors.numpy()
