"""`make bench`: what one request costs on this machine, stage by stage, over real HTTP on loopback.

    python -m bench                            2 x 100 slices of 512x512, 20 ROIs, the network on a region of 160^3
    python -m bench --slices 200               the longer scan
    python -m bench --model none               the registration alone
    python -m bench --region as-planned        the region sizes of the model's manifest
    python -m bench --soak 200                 besides, two hundred small requests in a row
    python -m bench --out docs/benchmarks/x    x.json, x.md and x.png

The bodies lie in memory before the clock starts; `bench.requests` says which clock is which. Each measured start is a
new process; with the last one go the warm requests, the staged plan, and many clients at once.
"""

import argparse
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.fixed_region import Size, with_region
from bench.goals import MISSED
from bench.machine import Occupation, device_mib, machine, with_occupation
from bench.markdown import tell, write_report
from bench.pelvis import write_pelvis, write_small
from bench.plots import bars
from bench.process import status_mib
from bench.requests import REFUSED, Body, at_once, case_body, exchange, plan_body, send, staged_body
from bench.run_report import as_markdown, goals_of, stage_bars
from bench.soak import judge
from phantom.case import PhantomCase
from recontour.client import Client
from recontour.local_service import LocalService, local_service
from recontour.virtual_patient import CaseFolders
from service.settings import NO_MODEL

PLAN = "bench"
REGION: Size = (160, 160, 160)


def main() -> None:
    options = _parser().parse_args()
    with tempfile.TemporaryDirectory(prefix="recontour-bench-") as scratch:
        content = measure(options, Path(scratch))
    text = write_report(options.out, content, as_markdown)
    if options.out is not None:
        bars(options.out.with_suffix(".png"), stage_bars(content), title=content["case"]["what"])
    print(text)
    missed = not content["identical"] or MISSED in [goal.verdict for goal in goals_of(content)]
    sys.exit(1 if missed and not options.report_only else 0)


def measure(options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Everything that the report needs, raw."""
    tell("making the case")
    case, folders = write_pelvis(
        scratch / "case", seed=options.seed, slices=options.slices, in_plane=options.in_plane, rois=options.rois
    )
    occupation = Occupation()
    bodies = {"whole": case_body(folders), "staged": staged_body(folders, PLAN)}
    arguments = _service_arguments(options, scratch / "models")
    content: dict[str, Any] = {
        "kind": "standard",
        "machine": machine(),
        "case": _described(case, bodies["whole"]),
        "settings": {"model": options.model, "region": _region(options.region), "device": options.device},
        "starts": [],
    }
    # As an installation does: sources that were edited since would be compiled within the first start.
    subprocess.run([sys.executable, "-m", "recontour", "warm"], check=True, stdout=subprocess.DEVNULL)
    for number in range(options.starts):
        tell(f"start {number + 1} of {options.starts}")
        with local_service(arguments) as service:
            first = exchange(service.url, bodies["whole"])
            content["starts"].append({"ready_s": service.start_s, "first_s": first.wall_s})
            if not first.ok:
                raise SystemExit(f"the first request was answered with {first.status}")
            if number == options.starts - 1:
                content |= _measure_warm(service, bodies, plan_body(folders, PLAN), options)
    content["machine"] = with_occupation(content["machine"], occupation)
    if options.soak:
        _, small = write_small(scratch / "small", seed=options.seed, rois=options.rois)
        content["soak"] = _soak(small, arguments, options.soak)
    return content


def _measure_warm(
    service: LocalService, bodies: dict[str, Body], plan: Body, options: argparse.Namespace
) -> dict[str, Any]:
    found: dict[str, Any] = {"provider": _provider(service)}
    for _ in range(options.warm):
        send(service, bodies["whole"])
    tell(f"{options.requests} warm requests")
    found["whole"] = [asdict(send(service, bodies["whole"])) for _ in range(options.requests)]
    found["memory_mib"] = {"after warm requests": status_mib(service.pid, "VmHWM")}
    tell("the plan, sent ahead")
    found["plans"] = [asdict(send(service, plan)) for _ in range(3)]
    for _ in range(options.warm):
        send(service, bodies["staged"])
    found["staged"] = [asdict(send(service, bodies["staged"])) for _ in range(options.requests)]
    found["memory_mib"]["after the staged plan"] = status_mib(service.pid, "VmHWM")
    found["device_mib"] = device_mib()
    found["clients"] = []
    for kind, body in bodies.items():
        for clients in options.clients:
            tell(f"{clients} at once, {kind}")
            rounds = max(1, options.samples // clients)
            found["clients"].append(_measure_clients(service, body, clients, rounds) | {"kind": kind})
    found["memory_mib"]["after all clients"] = status_mib(service.pid, "VmHWM")
    found["latency"] = _latency(service)
    answers = [one["digest"] for one in (*found["whole"], *found["staged"])]
    found["identical"] = len(set(answers)) == 1 and answers[0] != ""
    return found


def _measure_clients(service: LocalService, body: Body, clients: int, rounds: int) -> dict[str, Any]:
    found = [one for _ in range(rounds) for one in at_once(service.url, body, clients)]
    answered = [one for one in found if one.ok]
    return {
        "clients": clients,
        "wall_s": [one.wall_s for one in answered],
        "served_s": [one.served_s for one in answered],
        "queue_s": [one.stages_s.get("queue", 0.0) for one in answered],
        "refused": sum(one.status == REFUSED for one in found),
        "failed": sum(one.status != REFUSED and not one.ok for one in found),
    }


def _provider(service: LocalService) -> str:
    with Client(service.url) as client:
        return str(client.readiness().get("provider") or NO_MODEL)


def _latency(service: LocalService) -> dict[str, Any]:
    """The stages that the service itself remembers."""
    with Client(service.url) as client:
        return {name: stage["p50_s"] for name, stage in client.get("/health/latency")["stages"].items()}


def _soak(folders: CaseFolders, arguments: list[str], count: int) -> dict[str, Any]:
    body, requests = case_body(folders), []
    with local_service(arguments) as service:
        for position in range(count):
            requests.append(send(service, body))
            if position % 20 == 0:
                tell(f"soak: {position} of {count}, {requests[-1].resident_mib:.0f} MiB")
        return {**asdict(judge(requests)), "peak_mib": status_mib(service.pid, "VmHWM")}


def _service_arguments(options: argparse.Namespace, scratch: Path) -> list[str]:
    models_dir, size = options.models_dir, _region(options.region)
    if options.model != NO_MODEL and size is not None:
        models_dir = with_region(models_dir, options.model, size, scratch)
    arguments = ["--models-dir", str(models_dir), "--model", options.model, "--device", options.device]
    return [*arguments, "--cpu-backend", options.cpu_backend]


def _region(text: str) -> Size | None:
    if text == "as-planned":
        return None
    edges = [int(edge) for edge in text.split("x")]
    z, y, x = edges if len(edges) == 3 else edges * 3
    return z, y, x


def _described(case: PhantomCase, body: Body) -> dict[str, Any]:
    z, y, x = case.daily.geometry.shape
    rois = case.planning_structures.rois
    contours = [contour for roi in rois for contour in roi.contours]
    points = sum(len(contour.xy_mm) for contour in contours)
    return {
        "what": f"2 x {z} slices of {y}x{x}, {len(rois)} ROIs, {len(contours)} contours, {points} points (phantom)",
        "slices": z,
        "in_plane": x,
        "rois": len(rois),
        "contours": len(contours),
        "points": points,
        "body_mib": len(body.content) / 2**20,
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=21, help="measured requests, after --warm that are not")
    parser.add_argument("--warm", type=int, default=2)
    parser.add_argument("--starts", type=int, default=3, help="how often the service is started")
    parser.add_argument("--clients", type=_counts, default=(1, 2, 4, 8, 16), help="how many at once, as 1,2,4")
    parser.add_argument("--samples", type=int, default=8, help="least number of requests for each number of clients")
    parser.add_argument("--slices", type=int, default=100)
    parser.add_argument("--in-plane", type=int, default=512)
    parser.add_argument("--rois", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--models-dir", type=Path, default=Path("models"))
    parser.add_argument("--model", default="prostate-ct", help="'none' for the registration alone")
    parser.add_argument("--region", default="160", help="'as-planned', or the edge, or ZxYxX, of the network's input")
    parser.add_argument("--device", choices=("auto", "cuda", "cpu"), default="auto")
    parser.add_argument("--cpu-backend", choices=("auto", "openvino", "onnxruntime"), default="auto")
    parser.add_argument("--soak", type=int, default=0, metavar="N", help="besides, N small requests in a row")
    parser.add_argument("--report-only", action="store_true", help="end with 0 also where a goal is missed")
    parser.add_argument("--out", type=Path, help="write OUT.json, OUT.md and OUT.png")
    return parser


def _counts(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(",") if part)


if __name__ == "__main__":
    main()
