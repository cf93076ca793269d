"""The tables and pictures of `bench.growth`, read off its JSON."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bench.goals import Goal, goal_table
from bench.growth_fit import SHORTEST_S, exponents
from bench.markdown import facts, table
from bench.plots import growth_lines
from bench.requests import everything_but
from service.latency import TOTAL

LABELS = {
    "slices": "slices of each scan",
    "in-plane": "rows and columns",
    "rois": "ROIs",
    "points": "corners per contour, times",
    "region": "voxels of the network's input",
    "queue": "requests at once",
}
SERVED = "from the last byte"
FEW_ROIS, MANY_ROIS, PULL = 5, 60, "propagate"
READING_STAGES = ("read_structures", "rasterize")
"""What reads and fills the planned lines; all other stages see masks, whose size the corners do not change."""

Content = Mapping[str, Any]


def as_markdown(content: Content) -> str:
    """The whole report."""
    parts = ["## Growth", facts(content["machine"]), goal_table(goals_of(content))]
    for axis, found in content["axes"].items():
        medians = stage_medians(axis, found)
        fitted = exponents(found["sizes"], medians)
        rows = [
            (f"`{name}`", *(f"{1000 * v:.1f}" for v in values), "-" if fitted[name] is None else f"{fitted[name]:.2f}")
            for name, values in medians.items()
        ]
        heads = (LABELS[axis], *(_size(axis, size) for size in found["sizes"]), "exponent")
        provider = f" The network ran on {found['provider']}." if "provider" in found else ""
        runs = [len(point) for point in found["runs"]]
        counted = str(runs[0]) if len(set(runs)) == 1 else f"{min(runs)} to {max(runs)}"
        parts += [f"### {LABELS[axis]}", table(heads, rows)]
        parts.append(
            f"Milliseconds, medians of {counted} requests per column (phantom). Exponents leave out times "
            f"under {1000 * SHORTEST_S:.0f} ms.{provider}"
        )
    return "\n\n".join(parts)


def stage_medians(axis: str, found: Content) -> dict[str, list[float]]:
    """Median seconds per stage and size; the clock from the last byte is the last stage."""
    names = list(dict.fromkeys(name for point in found["runs"] for run in point for name in run))
    points = [
        {name: float(np.median([run.get(name, 0.0) for run in point])) for name in names} for point in found["runs"]
    ]
    if axis not in ("region", "queue"):
        for point, runs in zip(points, found["runs"], strict=True):
            point[SERVED] = float(np.median([everything_but(run) for run in runs]))
    return {name: [point[name] for point in points] for name in points[0]}


def goals_of(content: Content) -> list[Goal]:
    """The pull against the number of ROIs; what reads lines against their corners."""
    what = f"`{PULL}` with {MANY_ROIS} ROIs over {FEW_ROIS} ROIs"
    goals = [Goal(what, None, 1.3, "times", why_open="axis not run")]
    rois = content["axes"].get("rois")
    if rois is not None:
        pull = dict(zip(rois["sizes"], stage_medians("rois", rois)[PULL], strict=True))
        goals = [Goal(what, pull[MANY_ROIS] / pull[FEW_ROIS], 1.3, "times")]
    points = content["axes"].get("points")
    if points is not None:
        medians = stage_medians("points", points)
        for name, exponent in exponents(points["sizes"], medians).items():
            if exponent is not None and name in (*READING_STAGES, TOTAL):
                goals.append(Goal(f"exponent of `{name}` over corners: linear", exponent, 1.1, ""))
    return goals


def _size(axis: str, size: float) -> str:
    return f"{round(size ** (1 / 3))}^3" if axis == "region" else f"{size:g}"


def draw(out: Path, content: Content) -> None:
    """One picture per axis: OUT-<axis>.png."""
    for axis, found in content["axes"].items():
        medians = stage_medians(axis, found)
        fitted = exponents(found["sizes"], medians)
        lines = {
            f"{name}: {fitted[name]:.2f}": [1000 * value for value in values]
            for name, values in medians.items()
            if fitted[name] is not None
        }
        title = f"Stage times over {LABELS[axis]} (phantom); the number is the fitted exponent"
        growth_lines(picture(out, axis), found["sizes"], lines, axis=LABELS[axis], title=title)


def picture(out: Path, axis: str) -> Path:
    """Where the picture of an axis lies."""
    return out.with_name(f"{out.with_suffix('').name}-{axis}.png")
