"""`make bench-growth`: how the time of each stage grows with the case. A fitted exponent and a picture per axis.

    python -m bench.growth                              all axes, about ten minutes on two quiet cores
    python -m bench.growth --axis rois --axis points    two of them
    python -m bench.growth --out docs/benchmarks/growth

Axes: slices, in-plane size, ROIs, corners per contour, voxels of the network's region, requests at once. All but the
region go over HTTP to one service without a network; medians. The scans of one axis are cut from one phantom where that
is the same thing. Exponents are slopes of log time over log size: 1 is linear, 0 does not grow.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.growth_report import as_markdown, draw
from bench.machine import Occupation, machine, with_occupation
from bench.markdown import tell, write_report
from bench.pelvis import with_finer_contours, with_rois
from bench.requests import at_once, case_body, median_stages, send
from imaging.model import load_model
from imaging.structures import StructureSet
from imaging.volume import Volume
from phantom.case import CLINIC_A, PhantomCase, make_case
from recontour.local_service import LocalService, local_service
from recontour.virtual_patient import write_folders
from service.pipeline import model_folder

SLICES = (50, 100, 150, 200)
IN_PLANE = (256, 384, 512, 768)
ROIS = (5, 10, 20, 40, 60)
FINER = (1, 2, 4, 8)
EDGES = (96, 112, 128, 144, 160, 176)
AT_ONCE = (1, 2, 4, 8, 16)
AXES = ("slices", "in-plane", "rois", "points", "region", "queue")
STANDARD_ROIS = 20
ROOM = {"RECONTOUR_QUEUE_LENGTH": "16", "RECONTOUR_LIMITS__CONTOUR_POINTS": "4000000"}
"""More than the service takes as it is delivered, so that the ends of the axes are let in."""

Point = tuple[float, PhantomCase]


def main() -> None:
    options = _parser().parse_args()
    axes = options.axis or AXES
    occupation, content = Occupation(), {"kind": "growth", "machine": machine(), "axes": {}}
    with tempfile.TemporaryDirectory(prefix="recontour-growth-") as scratch:
        content["axes"] = measure(options, axes, Path(scratch))
    content["machine"] = with_occupation(content["machine"], occupation)
    if options.out is not None:
        draw(options.out, content)
    print(write_report(options.out, content, as_markdown))


def measure(options: argparse.Namespace, axes: Sequence[str], scratch: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    over_http = [axis for axis in axes if axis != "region"]
    if over_http:
        tell("making the longest scan")
        longest = make_case(1, clinic=CLINIC_A, slices=_few(SLICES, options)[-1], in_plane=options.in_plane)
        standard = _cut(longest, _few(SLICES, options)[1])
        with local_service(["--model", "none"], environment=ROOM) as service:
            for axis in over_http:
                if axis == "queue":
                    found[axis] = _queue(service, standard, scratch, _few(AT_ONCE, options), options.repeats)
                    continue
                points = _points(axis, standard, longest, options)
                found[axis] = _measure_axis(service, axis, points, scratch, options.repeats)
    if "region" in axes:
        found["region"] = _region(options)
    return found


def _points(axis: str, standard: PhantomCase, longest: PhantomCase, options: argparse.Namespace) -> Iterator[Point]:
    if axis == "slices":
        for slices in _few(SLICES, options):
            yield slices, with_rois(_cut(longest, slices), STANDARD_ROIS)
    elif axis == "in-plane":
        for in_plane in _few(IN_PLANE, options):
            edge = in_plane * options.in_plane // 512
            count = standard.planning.geometry.shape[0]
            case = standard if edge == options.in_plane else make_case(1, clinic=CLINIC_A, slices=count, in_plane=edge)
            yield edge, with_rois(case, STANDARD_ROIS)
    elif axis == "rois":
        for rois in ROIS:
            yield rois, with_rois(standard, rois)
    else:
        for times in FINER:
            yield times, with_finer_contours(with_rois(standard, STANDARD_ROIS), times)


def _measure_axis(
    service: LocalService, axis: str, points: Iterator[Point], scratch: Path, repeats: int
) -> dict[str, Any]:
    sizes, runs = [], []
    for size, case in points:
        body = case_body(write_folders(case, scratch / f"{axis}-{size:g}"))
        send(service, body)
        found = [send(service, body) for _ in range(repeats)]
        if not all(one.ok for one in found):
            raise SystemExit(f"{axis} {size:g} was answered with {[one.status for one in found]}")
        sizes.append(size)
        runs.append([dict(one.stages_s) for one in found])
        tell(f"{axis} {size:g}: {1000 * median_stages(runs[-1])['total']:.0f} ms")
    return {"sizes": sizes, "runs": runs}


def _queue(
    service: LocalService, case: PhantomCase, scratch: Path, counts: Sequence[int], repeats: int
) -> dict[str, Any]:
    body = case_body(write_folders(with_rois(case, STANDARD_ROIS), scratch / "queue"))
    send(service, body)
    runs = []
    for count in counts:
        rounds = max(1, repeats // count)
        found = [one for _ in range(rounds) for one in at_once(service.url, body, count)]
        if not all(one.ok for one in found):
            raise SystemExit(f"{count} at once were answered with {[one.status for one in found]}")
        runs.append([{**one.stages_s, "seen by the client": one.wall_s} for one in found])
        tell(f"queue {count}: {max(one.wall_s for one in found):.2f} s for the last")
    return {"sizes": list(counts), "runs": runs}


def _region(options: argparse.Namespace) -> dict[str, Any]:
    """The network stage alone; noise, because what it computes does not depend on what it sees."""
    model = load_model(model_folder(options.models_dir, options.model), device=options.device)
    rng, sizes, runs = np.random.default_rng(0), [], []
    channels = len(model.manifest.organs) if model.manifest.label_encoding == "one-hot" else 1
    for edge in _few(EDGES, options):
        image = rng.uniform(-1, 1, (1, 1, edge, edge, edge)).astype(np.float32)
        labels = np.zeros((1, channels, edge, edge, edge), dtype=np.float32)
        model.backend.run(image, image, labels)
        times = []
        for _ in range(options.repeats):
            begun = time.perf_counter()
            model.backend.run(image, image, labels)
            times.append({"network": time.perf_counter() - begun})
        sizes.append(edge**3)
        runs.append(times)
        tell(f"region {edge}^3: {1000 * median_stages(times)['network']:.0f} ms")
    return {"sizes": sizes, "runs": runs, "provider": model.provider}


def _cut(case: PhantomCase, slices: int) -> PhantomCase:
    """The middle slices of both scans, with the contours that lie on them."""
    count = case.planning.geometry.shape[0]
    lower = (count - slices) // 2
    if slices == count:
        return case
    planning, daily = (_slab(volume, lower, lower + slices) for volume in (case.planning, case.daily))
    first, last = planning.geometry.axis_mm("z")[[0, -1]]
    near = planning.geometry.spacing_mm[2] / 4
    rois = tuple(
        replace(roi, contours=tuple(c for c in roi.contours if first - near <= c.z_mm <= last + near))
        for roi in case.planning_structures.rois
    )
    plan = StructureSet(rois, label=case.planning_structures.label)
    return replace(case, planning=planning, daily=daily, planning_structures=plan)


def _slab(volume: Volume, lower: int, upper: int) -> Volume:
    _, y, x = volume.geometry.shape
    return Volume(volume.hu[lower:upper].copy(), volume.geometry.cropped((lower, 0, 0), (upper, y, x)))


def _few(sizes: Sequence[int], options: argparse.Namespace) -> Sequence[int]:
    return sizes if not options.small else sizes[:3]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--axis", action="append", choices=AXES, help="may be repeated; all by default")
    parser.add_argument("--repeats", type=int, default=7, help="measured requests per point")
    parser.add_argument("--in-plane", type=int, default=512, help="rows and columns of the standard case")
    parser.add_argument("--small", action="store_true", help="the first three points of the long axes only")
    parser.add_argument("--models-dir", type=Path, default=Path("models"))
    parser.add_argument("--model", default="prostate-ct", help="for the region; the other axes use none")
    parser.add_argument("--device", choices=("auto", "cuda", "cpu"), default="auto")
    parser.add_argument("--out", type=Path, help="write OUT.json, OUT.md and a picture per axis")
    return parser


if __name__ == "__main__":
    main()
