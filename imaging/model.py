"""A model of models/<name>/<version>/: checked against its manifest, loaded on a device, run, self-tested."""

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import ValidationError

from imaging.arrays import FloatVoxels
from imaging.backends.protocol import Backend
from imaging.errors import ModelError, ModelNotFound, ProviderUnavailable
from imaging.geometry import VolumeGeometry
from imaging.local_fit import NewtonSteps
from imaging.manifest import ModelManifest
from imaging.preprocessing import ModelInputs, output_geometry
from imaging.transforms import DisplacementField

Device = Literal["auto", "cuda", "cpu"]
GOLDEN_DICE = 0.98
"""Least overlap of every organ with the golden case, on any back end."""
CpuBackend = Literal["auto", "openvino", "onnxruntime"]
RefinementDevice = Literal["auto", "cpu"]
STEPS_DIFFER_MM = 0.01
"""Most that the refinement's steps on a GPU may differ from the compiled ones."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the network says about one region.

    Attributes:
        probabilities: (C, z, y, x) float32, background first.
        dvf: From the daily patient to the affinely aligned planning patient.
        geometry: The output grid.
    """

    probabilities: FloatVoxels
    dvf: DisplacementField
    geometry: VolumeGeometry


@dataclass(frozen=True, eq=False)
class RecontouringModel:
    """A network whose file matches its manifest, on one device.

    Attributes:
        manifest: What is known of it.
        folder: Where it lies.
        backend: The runtime with the network in it.
        newton_steps: Who takes the refinement's steps on that device; None for the compiled loops.
    """

    manifest: ModelManifest
    folder: Path
    backend: Backend
    newton_steps: NewtonSteps | None = None

    @property
    def provider(self) -> str:
        """What really executes the network."""
        return self.backend.provider

    def run(self, inputs: ModelInputs) -> Prediction:
        """One pass over the whole region.

        Raises:
            ModelError: If an output has the wrong shape or is not finite.
        """
        probabilities, vectors = self.backend.run(inputs.fixed, inputs.moving, inputs.moving_labels)
        geometry = output_geometry(inputs.region, self.manifest)
        expected = (1, len(self.manifest.organs) + 1, *geometry.shape)
        if probabilities.shape != expected or vectors.shape != (1, 3, *geometry.shape):
            raise ModelError(f"the network returned {probabilities.shape} and {vectors.shape}, expected {expected}")
        if not (np.isfinite(probabilities).all() and np.isfinite(vectors).all()):
            raise ModelError("the network returned values that are not finite; restart the service, check the device")
        return Prediction(probabilities[0], DisplacementField(vectors[0], geometry), geometry)

    def warm_up(self) -> None:
        """Run every region size once, so that no patient waits for memory or kernels to be found."""
        channels = len(self.manifest.organs) if self.manifest.label_encoding == "one-hot" else 1
        for size in self.manifest.region_sizes:
            image = np.zeros((1, 1, *size), dtype=np.float32)
            self.backend.run(image, image, np.zeros((1, channels, *size), dtype=np.float32))

    def self_test(self) -> float:
        """Compare with the golden case, voxel by voxel and organ by organ.

        Returns:
            The 99th percentile of the absolute difference, the larger of both outputs (probability, mm).

        Raises:
            ModelError: If golden.npz was changed, the difference exceeds the manifest's tolerance, an organ lies
                elsewhere, or the refinement's steps go elsewhere.
        """
        self._test_newton_steps()
        golden_file = self.folder / "golden.npz"
        _check_hash(golden_file, self.manifest.golden_sha256)
        with np.load(golden_file, allow_pickle=False) as golden:
            arrays = {name: golden[name].astype(np.float32) for name in golden.files}
        found = self.backend.run(arrays["fixed"], arrays["moving"], arrays["moving_labels"])
        wanted = (arrays["segmentation"], arrays["dvf"])
        worst = max(float(np.quantile(np.abs(a - b), 0.99)) for a, b in zip(found, wanted, strict=True))
        if not worst <= self.manifest.golden_tolerance:
            raise ModelError(
                f"the golden case differs by {worst:.4f}, more than {self.manifest.golden_tolerance:.4f}, "
                f"on {self.provider}: do not use this installation"
            )
        labels, golden_labels = (maps[0].argmax(axis=0) for maps in (found[0], wanted[0]))
        for organ in self.manifest.organs:
            here, there = labels == organ.label, golden_labels == organ.label
            # Both empty is agreement: the golden case need not hold every organ.
            if 2 * np.count_nonzero(here & there) < GOLDEN_DICE * (np.count_nonzero(here) + np.count_nonzero(there)):
                raise ModelError(
                    f"label {organ.label} of the golden case lies elsewhere on {self.provider}: "
                    "do not use this installation"
                )
        return worst

    def _test_newton_steps(self) -> None:
        if self.newton_steps is None:
            return
        from imaging.backends.fit_graph import difference_mm

        differs_mm = difference_mm(self.newton_steps)
        if not differs_mm <= STEPS_DIFFER_MM:
            raise ModelError(
                f"the refinement's steps on {self.provider} differ by {differs_mm:.3f} mm from the compiled ones, "
                f"at most {STEPS_DIFFER_MM} is allowed: let it run on the CPU (RECONTOUR_REFINEMENT_DEVICE=cpu)"
            )


def load_manifest(folder: Path) -> ModelManifest:
    """Read manifest.json.

    Raises:
        ModelNotFound: If there is none.
        ModelError: If it does not validate.
    """
    file = folder / "manifest.json"
    if not file.is_file():
        raise ModelNotFound("no manifest.json in the model folder; check the models directory and the model's name")
    try:
        return ModelManifest.model_validate_json(file.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ModelError(f"manifest.json is not valid: {first['msg']} ({where})") from None


def load_model(
    folder: Path,
    *,
    device: Device = "auto",
    cpu_backend: CpuBackend = "auto",
    threads: int = 0,
    refinement_device: RefinementDevice = "auto",
) -> RecontouringModel:
    """Check the hash of model.onnx, then load it.

    Args:
        folder: models/<name>/<version>.
        device: 'cuda' fails without a GPU, 'auto' takes it where it works, 'cpu' never does.
        cpu_backend: Which runtime on the CPU; 'auto' prefers OpenVINO where it is installed.
        threads: CPU threads of the runtime, 0 for its own choice.
        refinement_device: 'auto' lets the refinement's last steps run on the GPU where the network does and they can.

    Raises:
        ModelNotFound: If the folder holds no model.
        ModelError: If a file does not match the manifest.
        ProviderUnavailable: If no back end can serve the device.
    """
    manifest = load_manifest(folder)
    model_file = folder / "model.onnx"
    _check_hash(model_file, manifest.sha256)
    backend = _backend(model_file, device, cpu_backend, threads)
    on_gpu = refinement_device == "auto" and "CUDA" in backend.provider
    return RecontouringModel(manifest, folder, backend, _steps_on_gpu(device, threads) if on_gpu else None)


def _backend(model_file: Path, device: Device, cpu_backend: CpuBackend, threads: int) -> Backend:
    if device != "cpu" and find_spec("onnxruntime"):
        from imaging.backends.onnx_runtime import OnnxRuntimeBackend, cuda_is_offered

        if device == "cuda" or cuda_is_offered():
            try:
                return OnnxRuntimeBackend(model_file, cuda=True, threads=threads)
            except ProviderUnavailable:
                if device == "cuda":
                    raise
    elif device == "cuda":
        raise ProviderUnavailable("onnxruntime-gpu is not installed: install the extra 'gpu'")
    if cpu_backend != "onnxruntime" and find_spec("openvino"):
        from imaging.backends.open_vino import OpenVinoBackend

        return OpenVinoBackend(model_file, threads=threads)
    if cpu_backend != "openvino" and find_spec("onnxruntime"):
        from imaging.backends.onnx_runtime import OnnxRuntimeBackend

        return OnnxRuntimeBackend(model_file, cuda=False, threads=threads)
    raise ProviderUnavailable("no runtime for the CPU is installed: install the extra 'cpu' or 'gpu'")


def _steps_on_gpu(device: Device, threads: int) -> NewtonSteps | None:
    from imaging.backends.fit_graph import GraphSteps

    try:
        return GraphSteps(cuda=True, threads=threads)
    except ProviderUnavailable:
        if device == "cuda":
            raise
        return None


def _check_hash(file: Path, sha256: str) -> None:
    if not file.is_file():
        raise ModelError(f"{file.name} is missing beside its manifest")
    if hashlib.sha256(file.read_bytes()).hexdigest() != sha256:
        raise ModelError(f"{file.name} is not the file that its manifest names: install the model again")
