"""A checkpoint becomes models/<name>/<version>: model.onnx, golden.npz, manifest.json. Weights leave in no other form.

The graph holds the full-resolution outputs only: class probabilities, and the displacement in millimetres. An export
that differs from torch is refused.
"""

import hashlib
import math
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import torch
from onnxscript.optimizer import fold_constants
from pydantic import Field
from torch import Tensor, nn

from imaging.arrays import FloatVoxels
from imaging.backends.onnx_runtime import OnnxRuntimeBackend
from imaging.errors import ModelError
from imaging.manifest import ModelManifest, Organ
from imaging.volume import AIR_HU
from training.checkpoint import TrainedNetwork, read_network
from training.dataset import HeldOutCase
from training.pairs import aligned_pair, to_network
from training.recipe import MARGIN, SIZE_MULTIPLE, Recipe, RecipePart
from training.sampling import cut

OPSET = 18
EXPORT_SIZE = (64, 64, 64)
PARITY_SIZES = ((60, 72, 64), (84, 48, 76))
GOLDEN_SIZE = 64
LARGEST_AXIS = 1024
LARGEST_CONSTANT = 10_000_000
INPUTS = ("fixed", "moving", "moving_labels")
OUTPUTS = ("segmentation", "dvf")


class Release(RecipePart):
    """What a manifest says beyond what training knows: the folder's name and version, and recipes/*.release.toml."""

    name: str
    version: str
    organs: tuple[Organ, ...]
    region_mm: tuple[tuple[int, int, int], ...] = Field(description="Sizes (z, y, x) of the output, smallest first")
    parity_tolerance: float
    golden_tolerance: float
    intended_use: str
    not_intended: str
    data: str
    limits: tuple[str, ...]


class DeployedNetwork(nn.Module):
    """The contract's outputs of a trained network: probabilities, and the displacement in millimetres."""

    def __init__(self, network: nn.Module, *, spacing_mm: float) -> None:
        super().__init__()
        self.network = network
        self.spacing_mm = spacing_mm

    def forward(self, fixed: Tensor, moving: Tensor, moving_labels: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs (1, 1, z, y, x); outputs (1, classes, ...) and (1, 3, ...), 40 voxels smaller per axis."""
        logits, dvf = self.network(fixed, moving, moving_labels)[0]
        return logits.softmax(dim=1), dvf * self.spacing_mm


def export(run: Path, *, golden: HeldOutCase, release: Release, out: Path) -> ModelManifest:
    """Write a model folder.

    Args:
        run: Folder of a run with its network.pt.
        golden: The case of the self-test; a virtual patient, because it travels with the model.
        release: Version, organs, sizes and tolerances.
        out: models/<name>/<version>; files in it are replaced.

    Raises:
        FileNotFoundError: If the run has no network yet.
        ModelError: If the network lacks a path of the contract, or ONNX Runtime and torch differ by more than the
            release allows.
    """
    trained = read_network(run)
    recipe = trained.recipe
    if not (recipe.network.segments and recipe.network.registers):
        raise ModelError(f"{recipe.name} has one path only; the service needs a network that segments and registers")
    deployed = DeployedNetwork(trained.network, spacing_mm=recipe.spacing_mm).eval()
    out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out) as folder:
        part = Path(folder) / "model.onnx"
        write_onnx(deployed, part)
        check_parity(deployed, part, tolerance=release.parity_tolerance, seed=recipe.seed)
        part.replace(out / "model.onnx")
    write_golden(deployed, golden, recipe, out / "golden.npz")
    manifest = _manifest(trained, release, out)
    write_manifest(manifest, out)
    return manifest


def write_onnx(deployed: DeployedNetwork, file: Path) -> None:
    """One file with dynamic (z, y, x), without the names and places of source files."""
    sizes = {
        axis: SIZE_MULTIPLE * torch.export.Dim(name, min=2 * MARGIN // SIZE_MULTIPLE + 1, max=LARGEST_AXIS)
        for axis, name in ((2, "d"), (3, "h"), (4, "w"))
    }
    example = tuple(torch.zeros(1, 1, *EXPORT_SIZE) for _ in INPUTS)
    program = torch.onnx.export(
        deployed,
        example,
        dynamo=True,
        opset_version=OPSET,
        input_names=list(INPUTS),
        output_names=list(OUTPUTS),
        dynamic_shapes=(sizes,) * len(INPUTS),
        verbose=False,
    )
    # What is computed from weights alone, such as the kernels of `doubling_kernel`, stands in the file as a number.
    fold_constants(program.model, input_size_limit=LARGEST_CONSTANT, output_size_limit=LARGEST_CONSTANT)
    save_onnx(program.model_proto, file)


def check_parity(deployed: DeployedNetwork, file: Path, *, tolerance: float, seed: int) -> float:
    """The largest difference between torch and ONNX Runtime on sizes that the export did not see.

    Raises:
        ModelError: If it exceeds `tolerance` (probability and millimetres).
    """
    session = OnnxRuntimeBackend(file, cuda=False)
    rng = np.random.default_rng(seed)
    worst = 0.0
    for size in PARITY_SIZES:
        images = rng.normal(size=(2, 1, 1, *size)).astype(np.float32)
        labels = rng.integers(0, 5, size=(1, 1, *size)).astype(np.float32)
        expected = _run(deployed, images[0], images[1], labels)
        got = session.run(images[0], images[1], labels)
        worst = max(worst, *(float(np.abs(a - b).max()) for a, b in zip(expected, got, strict=True)))
    if not worst <= tolerance:
        raise ModelError(f"ONNX Runtime differs from torch by {worst:.2e}, more than {tolerance:.0e}: not exported")
    return worst


def write_golden(deployed: DeployedNetwork, case: HeldOutCase, recipe: Recipe, file: Path) -> None:
    """A cube round the organs of a virtual patient with torch's float32 answer: the self-test of every installation.

    The inputs are rounded to what float16 holds, which halves the file, before torch answers.
    """
    pair = aligned_pair(
        daily=case.daily,
        planning=case.planning,
        spacing_mm=recipe.spacing_mm,
        margin_voxels=GOLDEN_SIZE // 2,
        affine=case.affine,
    )
    centre = np.round(np.argwhere(pair.labels[0]).mean(axis=0)).astype(int)
    lower = centre - GOLDEN_SIZE // 2
    images = to_network(cut(pair.images, lower, GOLDEN_SIZE, outside=AIR_HU), recipe).astype(np.float16)[:, None, None]
    labels = cut(pair.labels, lower, GOLDEN_SIZE, outside=0)[1][None, None]
    fixed, moving = images.astype(np.float32)
    segmentation, dvf = _run(deployed, fixed, moving, labels.astype(np.float32))
    np.savez_compressed(
        file, fixed=images[0], moving=images[1], moving_labels=labels, segmentation=segmentation, dvf=dvf
    )


def write_manifest(manifest: ModelManifest, folder: Path) -> None:
    """manifest.json, readable."""
    (folder / "manifest.json").write_text(manifest.model_dump_json(indent=2) + "\n")


def region_size(output_mm: tuple[int, int, int], spacing_mm: float) -> tuple[int, int, int]:
    """The smallest input size (z, y, x) in voxels whose output is at least so large."""
    voxels = [2 * MARGIN + math.ceil(length / spacing_mm) for length in output_mm]
    z, y, x = (SIZE_MULTIPLE * math.ceil(count / SIZE_MULTIPLE) for count in voxels)
    return z, y, x


def _run(deployed: DeployedNetwork, *inputs: FloatVoxels) -> tuple[FloatVoxels, FloatVoxels]:
    with torch.no_grad():
        segmentation, dvf = deployed(*(torch.from_numpy(np.ascontiguousarray(array)) for array in inputs))
    return segmentation.numpy(), dvf.numpy()


def save_onnx(model: Any, file: Path) -> None:
    """Check a graph and write it without the names and places of source files."""
    del model.metadata_props[:]
    graph = model.graph
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    model.producer_name, model.doc_string = "recontour.training", ""
    onnx.checker.check_model(model)
    onnx.save(model, str(file))


def _manifest(trained: TrainedNetwork, release: Release, out: Path) -> ModelManifest:
    recipe = trained.recipe
    if tuple(organ.name for organ in release.organs) != recipe.organs:
        raise ModelError("the organs of the release are not those of the recipe, in the order of their labels")
    sha256, stage = _sha256(out / "model.onnx"), trained.stages[-1]
    return ModelManifest(
        name=release.name,
        version=release.version,
        device_uid=f"2.25.{int(sha256[:32], 16)}",
        sha256=sha256,
        golden_sha256=_sha256(out / "golden.npz"),
        opset=OPSET,
        spacing_mm=recipe.spacing_mm,
        margin_voxels=MARGIN,
        size_multiple=SIZE_MULTIPLE,
        region_sizes=tuple(region_size(mm, recipe.spacing_mm) for mm in release.region_mm),
        hu_window=recipe.hu_window,
        label_encoding="integer-channel",
        organs=release.organs,
        parity_tolerance=release.parity_tolerance,
        golden_tolerance=release.golden_tolerance,
        training_commit=stage.commit,
        recipe=f"{recipe.name}, seed {recipe.seed}, step {trained.step} of {recipe.optimisation.steps}",
        cohort_hash=stage.cohort_hash,
        intended_use=release.intended_use,
    )


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
