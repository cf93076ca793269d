"""ONNX Runtime: CUDA on a GPU node, its CPU provider as the portable fallback."""

import os
from pathlib import Path

# On loading, the runtime would report its use to its maker; a hospital's node reports to nobody.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

from imaging.arrays import FloatVoxels
from imaging.errors import ProviderUnavailable

CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"


class OnnxRuntimeBackend:
    """A session whose provider was checked, because ONNX Runtime falls back to the CPU without a word.

    Raises:
        ProviderUnavailable: If `cuda` is asked for and the session does not run there.
    """

    def __init__(self, model_file: Path, *, cuda: bool, threads: int = 0) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        if cuda and hasattr(onnxruntime, "preload_dlls"):
            onnxruntime.preload_dlls()
        # HEURISTIC: EXHAUSTIVE tunes anew for each shape, DEFAULT is cuDNN's slow fallback mode.
        # kSameAsRequested: the arena otherwise doubles at the largest case and a second worker starves.
        cuda_options = {"cudnn_conv_algo_search": "HEURISTIC", "arena_extend_strategy": "kSameAsRequested"}
        providers = [(CUDA, cuda_options), CPU] if cuda else [CPU]
        self._session = onnxruntime.InferenceSession(str(model_file), options, providers=providers)
        self._provider: str = self._session.get_providers()[0]
        if cuda and self._provider != CUDA:
            raise ProviderUnavailable(
                f"the network runs on {self._provider}, not on {CUDA}: install the driver, CUDA 13 and cuDNN 9, "
                "or set the device to cpu"
            )

    @property
    def provider(self) -> str:
        """The first provider of the session as ONNX Runtime reports it."""
        return self._provider

    def run(self, fixed: FloatVoxels, moving: FloatVoxels, labels: FloatVoxels) -> tuple[FloatVoxels, FloatVoxels]:
        """See `Backend.run`."""
        segmentation, dvf = self._session.run(
            ["segmentation", "dvf"], {"fixed": fixed, "moving": moving, "moving_labels": labels}
        )
        return segmentation, dvf


def cuda_is_offered() -> bool:
    """Whether the installed wheel has the CUDA provider; it says nothing about a working GPU."""
    return CUDA in onnxruntime.get_available_providers()
