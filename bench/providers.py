"""The network alone on every runtime and precision that this machine has: time, memory, and how far the outputs differ.

    python -m bench.providers                          a region of 160^3 of a phantom, every provider
    python -m bench.providers --only cuda-tf32 --out docs/benchmarks/providers

Each provider has a process of its own, and goes through the service's own back end; TF32 is switched off by
NVIDIA_TF32_OVERRIDE, because cuDNN may use it whatever the session asks for, and fp16 is the converted file. The clock
holds one pass with its copies to and from the device. What is not there is left out with a line that says why.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench.fixed_region import Size, with_region
from bench.goals import Goal, goal_table
from bench.machine import Occupation, machine, with_occupation
from bench.markdown import facts, table, tell, write_report
from bench.network_inputs import write_inputs
from bench.plots import bars
from service.latency import percentile
from service.pipeline import model_folder

REFERENCE = "onnxruntime-cpu"
VOXELS = 160**3
CUDA_GOAL_MS = 30.0


@dataclass(frozen=True)
class Provider:
    """One way to run the network.

    Attributes:
        name: Short.
        what: In words.
        arguments: Of `bench.provider_run`.
        environment: Variables that its process needs.
    """

    name: str
    what: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


PROVIDERS = (
    Provider(REFERENCE, "ONNX Runtime CPU, fp32", ("onnxruntime",)),
    Provider("openvino-f32", "OpenVINO CPU, fp32", ("openvino", "--precision", "f32")),
    Provider("openvino-bf16", "OpenVINO CPU, bf16", ("openvino", "--precision", "bf16")),
    Provider("cuda-fp32", "ONNX Runtime CUDA, fp32", ("cuda",), {"NVIDIA_TF32_OVERRIDE": "0"}),
    Provider("cuda-tf32", "ONNX Runtime CUDA, TF32: what the service uses on a GPU", ("cuda",)),
    Provider("cuda-fp16", "ONNX Runtime CUDA, fp16", ("cuda", "--half")),
)


def main() -> None:
    options = _parser().parse_args()
    with tempfile.TemporaryDirectory(prefix="recontour-providers-") as scratch:
        content = measure(options, Path(scratch))
    text = write_report(options.out, content, as_markdown)
    if options.out is not None:
        bars(options.out.with_suffix(".png"), {"median": _medians_ms(content)}, title=f"network, {content['region']}")
    print(text)


def measure(options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    occupation, facts_here = Occupation(), machine()
    z, y, x = (options.edge,) * 3
    size: Size = (z, y, x)
    tell("making the inputs from a phantom")
    inputs = scratch / "inputs.npz"
    folder = model_folder(with_region(options.models_dir, options.model, size, scratch / "models"), options.model)
    write_inputs(inputs, folder, seed=options.seed)
    found, skipped = [], {}
    for provider in PROVIDERS:
        if options.only and provider.name not in (*options.only, REFERENCE):
            continue
        # The slow reference is only run for its outputs where its time was not asked for.
        repeats = options.repeats if not options.only or provider.name in options.only else 1
        tell(provider.what)
        one, why = _run(provider, folder, inputs, scratch / f"{provider.name}.npz", repeats)
        if one is None:
            skipped[provider.what] = why
            tell(f"  skipped: {why}")
        else:
            found.append({"name": provider.name, "what": provider.what, **one})
    for one in found:
        one["difference"] = difference(scratch / f"{one['name']}.npz", scratch / f"{REFERENCE}.npz")
    return {
        "kind": "providers",
        "machine": with_occupation(facts_here, occupation),
        "region": f"{z}x{y}x{x}",
        "voxels": z * y * x,
        "model": options.model,
        "providers": found,
        "skipped": skipped,
    }


def difference(outputs: Path, reference: Path) -> dict[str, float] | None:
    """How far two saved outputs lie apart: millimetres of the DVF, and voxels that got another label."""
    if not (outputs.is_file() and reference.is_file()):
        return None
    with np.load(outputs) as a, np.load(reference) as b:
        lengths = np.linalg.norm(a["dvf"].astype(np.float64) - b["dvf"], axis=1)
        labels = [one["segmentation"].argmax(axis=1) for one in (a, b)]
        return {
            "dvf_max_mm": float(lengths.max()),
            "dvf_p99_mm": float(np.quantile(lengths, 0.99)),
            "labels_changed": int(np.count_nonzero(labels[0] != labels[1])),
            "labels": int(np.count_nonzero(labels[1])),
        }


def as_markdown(content: Mapping[str, Any]) -> str:
    """The whole report."""
    heads = ("network on", "median ms", "least", "p95", "process peak MiB", "device MiB")
    heads = (*heads, "DVF differs by at most mm", "99 % below mm", "labels changed")
    rows = []
    for one in content["providers"]:
        ms = 1000 * np.array(one["seconds"])
        apart = one["difference"]
        told = ["-"] * 3
        if one["name"] == REFERENCE:
            told = ["reference"] * 3
        elif apart is not None:
            share = f"{apart['labels_changed']} of {apart['labels']}"
            told = [f"{apart['dvf_max_mm']:.3f}", f"{apart['dvf_p99_mm']:.3f}", share]
        device = "-" if one["device_mib"] is None else f"{one['device_mib']:.0f}"
        # The provider as the runtime reports it stands beside its name, because a fallback would be silent.
        name = f"{one['what']} ({one['provider']})"
        times = [f"{value:.0f}" for value in (np.median(ms), ms.min(), percentile(sorted(ms), 95), one["peak_mib"])]
        rows.append((name, *times, device, *told))
    parts = [
        f"## The network alone, region {content['region']}",
        facts(content["machine"]),
        table(heads, rows),
        "Inputs: a phantom. One pass with its copies to and from the device. The reference is ONNX Runtime on the CPU "
        "in fp32. Process peak: `VmHWM`, the inputs and Python included.",
        goal_table(goals_of(content)),
    ]
    parts += [f"Skipped: {what}: {why}." for what, why in content["skipped"].items()]
    return "\n\n".join(parts)


def goals_of(content: Mapping[str, Any]) -> list[Goal]:
    """The network on a GPU."""
    fastest = [1000 * float(np.median(p["seconds"])) for p in content["providers"] if p["name"] == "cuda-tf32"]
    why = "no CUDA here" if not fastest else "" if content["voxels"] == VOXELS else "another region than 160^3"
    value = None if why else fastest[0]
    return [Goal("network on the GPU as the service runs it", value, CUDA_GOAL_MS, "ms", why_open=why)]


def _medians_ms(content: Mapping[str, Any]) -> dict[str, float]:
    return {one["what"]: 1000 * float(np.median(one["seconds"])) for one in content["providers"]}


def _run(
    provider: Provider, folder: Path, inputs: Path, outputs: Path, repeats: int
) -> tuple[dict[str, Any] | None, str]:
    """What its process measured, or None and why it could not."""
    command = [sys.executable, "-m", "bench.provider_run", str(folder), str(inputs), str(outputs), str(repeats)]
    done = subprocess.run(
        [*command, *provider.arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **provider.environment},
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        return None, last.rpartition("Error: ")[2].rpartition("Unavailable: ")[2].rstrip(".")
    return json.loads(done.stdout.strip().splitlines()[-1]), ""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edge", type=int, default=160, help="of the cubic region, voxels")
    parser.add_argument("--repeats", type=int, default=9, help="passes after one that is not counted")
    parser.add_argument("--only", action="append", choices=[provider.name for provider in PROVIDERS])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--models-dir", type=Path, default=Path("models"))
    parser.add_argument("--model", default="prostate-ct")
    parser.add_argument("--out", type=Path, help="write OUT.json, OUT.md and OUT.png")
    return parser


if __name__ == "__main__":
    main()
