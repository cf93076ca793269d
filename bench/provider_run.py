"""One runtime in a process of its own: `python -m bench.provider_run MODEL INPUTS OUTPUTS REPEATS BACKEND ...`.

Prints one line of JSON. The outputs go to OUTPUTS, for the comparison with another runtime.
"""

import argparse
import json
import os
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from bench.machine import device_mib
from bench.process import status_mib
from imaging.backends.protocol import Backend


def main() -> None:
    options = _parser().parse_args()
    model = options.folder / "model.onnx"
    free_mib = device_mib()
    half = options.outputs.with_suffix(".onnx")
    if options.half:
        _write_half(model, half)
    backend = _backend(half if options.half else model, options.backend, options.precision)
    with np.load(options.inputs) as stored:
        inputs = [stored[name] for name in ("fixed", "moving", "moving_labels")]
    begun = time.perf_counter()
    segmentation, dvf = backend.run(*inputs)
    first_s, seconds = time.perf_counter() - begun, []
    for _ in range(options.repeats):
        begun = time.perf_counter()
        backend.run(*inputs)
        seconds.append(time.perf_counter() - begun)
    used_mib = device_mib()
    peak_mib = status_mib(os.getpid(), "VmHWM")
    np.savez(options.outputs, segmentation=segmentation, dvf=dvf)
    found = {
        "provider": backend.provider,
        "first_s": first_s,
        "seconds": seconds,
        "peak_mib": peak_mib,
        # ONNX Runtime keeps its arena, so that what is in use afterwards is the most that was.
        "device_mib": used_mib - free_mib if used_mib is not None and free_mib is not None else None,
    }
    print(json.dumps(found))


def _backend(model: Path, backend: str, precision: str) -> Backend:
    if not find_spec(backend if backend == "openvino" else "onnxruntime"):
        raise SystemExit(f"ProviderUnavailable: {backend} is not installed")
    if backend == "openvino":
        from imaging.backends.open_vino import OpenVinoBackend

        return OpenVinoBackend(model, precision=precision)  # type: ignore[arg-type]
    from imaging.backends.onnx_runtime import OnnxRuntimeBackend, cuda_is_offered

    if backend == "cuda" and not cuda_is_offered():
        raise SystemExit("ProviderUnavailable: this onnxruntime has no CUDA provider")
    return OnnxRuntimeBackend(model, cuda=backend == "cuda")


def _write_half(model: Path, half: Path) -> None:
    """The same network with fp16 inside and fp32 at both ends."""
    if not find_spec("onnx"):
        raise SystemExit("ProviderUnavailable: the conversion to fp16 needs the package onnx")
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    converted = convert_float_to_float16(onnx.load(str(model)), keep_io_types=True)
    # The conversion casts a tensor anew for each of its users, under one and the same name, which no session loads.
    once = {node.output[0]: node for node in reversed(converted.graph.node)}
    again = [node for node in converted.graph.node if node is not once[node.output[0]] and node.op_type == "Cast"]
    for node in again:
        converted.graph.node.remove(node)
    onnx.save(converted, str(half))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("inputs", type=Path)
    parser.add_argument("outputs", type=Path)
    parser.add_argument("repeats", type=int)
    parser.add_argument("backend", choices=("onnxruntime", "cuda", "openvino"))
    parser.add_argument("--precision", choices=("auto", "f32", "bf16"), default="auto")
    parser.add_argument("--half", action="store_true")
    return parser


if __name__ == "__main__":
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    main()
