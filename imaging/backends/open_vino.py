"""OpenVINO: several times faster than ONNX Runtime's CPU provider on this network (bench/run.py shows both)."""

from pathlib import Path
from typing import Literal

import openvino

from imaging.arrays import FloatVoxels
from imaging.backends.protocol import lost_in_flight

Precision = Literal["auto", "bf16", "f32"]


class OpenVinoBackend:
    """The network compiled for the CPU; 'auto' takes bfloat16 where the processor has it."""

    def __init__(self, model_file: Path, *, precision: Precision = "auto", threads: int = 0) -> None:
        core = openvino.Core()
        config: dict[str, object] = {"PERFORMANCE_HINT": "LATENCY"}
        if precision != "auto":
            config["INFERENCE_PRECISION_HINT"] = precision
        if threads:
            config["INFERENCE_NUM_THREADS"] = threads
        self._compiled = core.compile_model(core.read_model(str(model_file)), "CPU", config)
        used = self._compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        self._provider = f"OpenVINO CPU {'bf16' if used == 'bf16' else 'f32'}"
        self._request = self._compiled.create_infer_request()

    @property
    def provider(self) -> str:
        """The device and the precision that OpenVINO chose."""
        return self._provider

    def run(self, fixed: FloatVoxels, moving: FloatVoxels, labels: FloatVoxels) -> tuple[FloatVoxels, FloatVoxels]:
        """See `Backend.run`."""
        try:
            results = self._request.infer({"fixed": fixed, "moving": moving, "moving_labels": labels})
        except RuntimeError as error:
            raise lost_in_flight() from error
        # The request reuses its output buffers at the next call, so the answer must own its arrays.
        return results["segmentation"].copy(), results["dvf"].copy()
