"""`make bench`: what one request costs on this machine, stage by stage, over real HTTP on loopback.

    python -m bench                            2 x 100 slices of 512x512, 20 ROIs; the network on both CPU runtimes
    python -m bench --soak 200                 besides, two hundred small requests in a row
    python -m bench --out docs/benchmarks/x    x.json and x.md

The clock of "total" is the service's own, from the first byte of the request; "seen by the client" adds reading the
files from disk and sending them.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np

from bench.network import NetworkTimes, measure_apart
from bench.pelvis import write_pelvis, write_small
from bench.requests import Request, median_stages, send_case, status_mib
from bench.soak import SoakResult, judge
from imaging.manifest import ModelManifest
from imaging.model import CpuBackend, load_manifest
from imaging.preprocessing import network_region
from phantom.case import PhantomCase
from recontour.client import Client
from recontour.local_service import local_service
from recontour.table import text_table
from recontour.virtual_patient import CaseFolders
from service.pipeline import model_folder
from service.settings import NO_MODEL

NETWORK, REFINEMENT = "network", "refinement"
MISSED = "MISSED"
LIMITS_S = {"all but network and refinement": 1.2, REFINEMENT: 1.5}
LIMIT_MIB = 4096.0
LIBRARIES = ("numpy", "SimpleITK", "pydicom", "highdicom", "numba", "onnxruntime", "openvino")


@dataclass
class Result:
    machine: Mapping[str, str]
    case: str
    requests: int
    stages_s: Mapping[str, float]
    cpu_s: float
    peak_mib: float
    identical: bool
    network: list[NetworkTimes] = field(default_factory=list)
    soak: SoakResult | None = None
    soak_peak_mib: float = 0.0


def main() -> None:
    options = _parser().parse_args()
    folder = None
    if options.model != NO_MODEL:
        folder = model_folder(options.models_dir, options.model)
    service_arguments = ["--models-dir", str(options.models_dir), "--model", options.model]
    with tempfile.TemporaryDirectory(prefix="recontour-bench-") as scratch:
        _tell("making the case")
        case, folders = write_pelvis(
            Path(scratch) / "large",
            seed=options.seed,
            slices=options.slices,
            in_plane=options.in_plane,
            rois=options.rois,
        )
        result = _measure_requests(case, folders, service_arguments, options)
        if folder is not None and options.network_repeats:
            result.network = _measure_network(case, folder, options.network_repeats)
        if options.soak:
            _, small = write_small(Path(scratch) / "small", seed=options.seed, rois=options.rois)
            result.soak, result.soak_peak_mib = _soak(small, service_arguments, options.soak)
    text = report(result)
    print(text)
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.with_suffix(".json").write_text(json.dumps(asdict(result), indent=1) + "\n")
        options.out.with_suffix(".md").write_text(f"# Benchmark\n\n```\n{text}\n```\n")
    reached = result.identical and MISSED not in text
    sys.exit(0 if reached or options.report_only else 1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=7, help="measured requests, after --warm that are not")
    parser.add_argument("--warm", type=int, default=2)
    parser.add_argument("--slices", type=int, default=100)
    parser.add_argument("--in-plane", type=int, default=512)
    parser.add_argument("--rois", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--models-dir", type=Path, default=Path("models"))
    parser.add_argument("--model", default="prostate-ct", help="'none' for the registration alone")
    parser.add_argument("--network-repeats", type=int, default=3, help="passes per CPU runtime; 0 to leave them out")
    parser.add_argument("--soak", type=int, default=0, metavar="N", help="besides, N small requests in a row")
    parser.add_argument("--report-only", action="store_true", help="end with 0 also where a goal is missed")
    parser.add_argument("--out", type=Path, help="write OUT.json and OUT.md")
    return parser


def _measure_requests(
    case: PhantomCase, folders: CaseFolders, service_arguments: list[str], options: argparse.Namespace
) -> Result:
    _tell("starting the service")
    with local_service(service_arguments) as service, Client(service.url) as client:
        warm = [send_case(client, service, folders) for _ in range(options.warm)]
        requests = []
        for position in range(options.requests):
            _tell(f"request {position + 1} of {options.requests}")
            requests.append(send_case(client, service, folders))
        peak_mib = status_mib(service.pid, "VmHWM")
    z, y, x = case.daily.geometry.shape
    return Result(
        machine=machine(),
        case=f"2 x {z} slices of {y}x{x}, {len(case.planning_structures.rois)} ROIs, "
        f"{sum(len(roi.contours) for roi in case.planning_structures.rois)} contours (virtual patient)",
        requests=len(requests),
        stages_s=median_stages(requests),
        cpu_s=float(np.median([request.cpu_s for request in requests])),
        peak_mib=peak_mib,
        identical=len({request.digest for request in [*warm, *requests]}) == 1,
    )


def _measure_network(case: PhantomCase, folder: Path, repeats: int) -> list[NetworkTimes]:
    """Both runtimes in turn, each twice, so that a noisy minute does not decide between them."""
    size = region_size(case, load_manifest(folder))
    found: list[NetworkTimes] = []
    backends: tuple[CpuBackend, ...] = ("openvino", "onnxruntime")
    for backend in backends * 2:
        _tell(f"network on {backend}")
        found.append(measure_apart(folder, backend, size=size, repeats=repeats))
    return found


def region_size(case: PhantomCase, manifest: ModelManifest) -> tuple[int, int, int]:
    """The input size that the service uses for this case."""
    points = [
        np.column_stack([contour.xy_mm, np.full(len(contour.xy_mm), contour.z_mm)])
        for roi in case.planning_structures.rois
        if manifest.organ_of(roi.name)
        for contour in roi.contours
    ]
    return network_region(np.concatenate(points), manifest).geometry.shape


def _soak(folders: CaseFolders, service_arguments: list[str], count: int) -> tuple[SoakResult, float]:
    requests: list[Request] = []
    with local_service(service_arguments) as service, Client(service.url) as client:
        for position in range(count):
            requests.append(send_case(client, service, folders))
            if position % 20 == 0:
                _tell(f"soak: {position} of {count}, {requests[-1].resident_mib:.0f} MiB")
        return judge(requests), status_mib(service.pid, "VmHWM")


def report(result: Result) -> str:
    """The tables."""
    stages = result.stages_s
    lines = [*(f"{name}: {value}" for name, value in result.machine.items()), result.case, ""]
    lines += [f"median of {result.requests} warm requests over HTTP on loopback", ""]
    lines.append(text_table(("stage", "ms"), [(name, s * 1000) for name, s in stages.items()], decimals=(0, 0)))
    total = stages.get("total", stages["seen by the client"])
    sums = {
        "all but network and refinement": total - stages.get(NETWORK, 0.0) - stages.get(REFINEMENT, 0.0),
        REFINEMENT: stages.get(REFINEMENT, 0.0),
    }
    lines.append("")
    for name, limit_s in LIMITS_S.items():
        lines.append(f"{name}: {sums[name]:.2f} s, goal {limit_s:.1f} s: {_met(sums[name] <= limit_s)}")
    lines.append(f"processor time of the service per request: {result.cpu_s:.2f} s")
    small_enough = _met(result.peak_mib < LIMIT_MIB)
    lines.append(f"peak memory of the service: {result.peak_mib:.0f} MiB, goal {LIMIT_MIB:.0f}: {small_enough}")
    lines.append(f"identical bytes in all requests: {'yes' if result.identical else 'NO'}")
    if result.network:
        rows = [
            (one.backend, one.provider, "x".join(map(str, one.size)), one.median_s * 1000, one.peak_mib)
            for one in result.network
        ]
        headers = ("network on", "provider", "input", "median ms", "process peak MiB")
        lines += ["", text_table(headers, rows, decimals=(0, 0, 0, 0, 0))]
    if result.soak is not None:
        soak = result.soak
        lines += [
            "",
            f"{soak.requests} small requests in a row, peak {result.soak_peak_mib:.0f} MiB",
            "",
            soak.table,
            "",
        ]
        lines.append(
            f"memory grew by {soak.growth_mib:.1f} MiB after the first requests; different answers: {soak.answers}: "
            f"{_met(soak.passed)}"
        )
    return "\n".join(lines)


def machine() -> dict[str, str]:
    """What the numbers hold for."""
    info = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":", 1)[1].strip() for line in info if line.startswith("model name")), "unknown")
    libraries = []
    for name in LIBRARIES:
        try:
            libraries.append(f"{name} {version(name)}")
        except ModuleNotFoundError:
            continue
    return {
        "processor": f"{model}, {len(os.sched_getaffinity(0))} cores",
        "load while measuring": f"{os.getloadavg()[0]:.1f} (this bench alone is 1 to 2)",
        "software": f"Python {platform.python_version()}, {', '.join(libraries)}",
    }


def _met(condition: bool) -> str:
    return "met" if condition else MISSED


def _tell(message: str) -> None:
    print(f"  {message} ...", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
