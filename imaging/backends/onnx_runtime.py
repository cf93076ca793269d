"""ONNX Runtime: CUDA on a GPU node, its CPU provider as the portable fallback."""

import os
from pathlib import Path

# On loading, the runtime would report its use to its maker; a hospital's node reports to nobody.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as faults

from imaging.arrays import FloatVoxels
from imaging.backends.protocol import lost_in_flight
from imaging.errors import ProviderUnavailable

CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"
DEVICE_FAULTS = (faults.Fail, faults.RuntimeException, faults.EPFail, faults.EngineError, faults.DeviceReset)
"""What a run raises when its device is lost or out of memory; a wrong input raises InvalidArgument instead."""


class OnnxRuntimeBackend:
    """The network in a session whose provider was checked.

    Raises:
        ProviderUnavailable: If `cuda` is asked for and the session does not run there.
    """

    def __init__(self, model_file: Path, *, cuda: bool, threads: int = 0) -> None:
        self._session = open_session(model_file, cuda=cuda, threads=threads)

    @property
    def provider(self) -> str:
        """The first provider of the session as ONNX Runtime reports it."""
        return self._session.get_providers()[0]

    def run(self, fixed: FloatVoxels, moving: FloatVoxels, labels: FloatVoxels) -> tuple[FloatVoxels, FloatVoxels]:
        """See `Backend.run`."""
        inputs = {"fixed": fixed, "moving": moving, "moving_labels": labels}
        try:
            segmentation, dvf = self._session.run(["segmentation", "dvf"], inputs)
        except DEVICE_FAULTS as error:
            raise lost_in_flight() from error
        return segmentation, dvf


def open_session(
    file: Path, *, cuda: bool, threads: int = 0, plan_memory: bool = True, **cuda_options: str
) -> onnxruntime.InferenceSession:
    """A session that runs where it was asked to, because ONNX Runtime falls back to the CPU without a word.

    Args:
        file: The graph.
        cuda: On the GPU, or else on the CPU.
        threads: CPU threads, 0 for the runtime's choice.
        plan_memory: One block for each shape of the inputs, kept as long as the session.
        cuda_options: Further options of the CUDA provider.

    Raises:
        ProviderUnavailable: If `cuda` is asked for and the session does not run there.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.enable_mem_pattern = plan_memory
    if cuda and hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()
    # HEURISTIC: EXHAUSTIVE tunes anew for each shape, DEFAULT is cuDNN's slow fallback mode.
    # kSameAsRequested: the arena otherwise doubles at the largest case and a second worker starves.
    cuda_options = {
        "cudnn_conv_algo_search": "HEURISTIC",
        "arena_extend_strategy": "kSameAsRequested",
        **cuda_options,
    }
    providers = [(CUDA, cuda_options), CPU] if cuda else [CPU]
    session = onnxruntime.InferenceSession(str(file), options, providers=providers)
    provider = session.get_providers()[0]
    if cuda and provider != CUDA:
        raise ProviderUnavailable(
            f"{file.name} runs on {provider}, not on {CUDA}: install the driver, CUDA 13 and cuDNN 9, "
            "or set the device to cpu"
        )
    # Else a fault of CUDA during a run moves the session to the CPU for good, without a word.
    session.disable_fallback()
    return session


def on_device(array: NDArray[np.generic], device: str) -> onnxruntime.OrtValue:
    """A copy of an array on 'cuda' or 'cpu', to be bound to a session's inputs."""
    return onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array), device, 0)


def cuda_is_offered() -> bool:
    """Whether the installed wheel has the CUDA provider; it says nothing about a working GPU."""
    return CUDA in onnxruntime.get_available_providers()
