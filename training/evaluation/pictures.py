"""The worst answers as pictures: three planes through the daily CT with the truth and the outlines of every path."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from imaging.arrays import MaskVoxels
from imaging.metrics import bounding_box
from training.evaluation.figures import COLOURS
from training.evaluation.outlines import Outlines, read_outlines
from training.evaluation.run import Cases, outlines_file, slug
from training.evaluation.scores import CaseScore
from training.evaluation.system import HeldOutCase, PathName

MARGIN_MM = 25.0
"""Shown round the organ."""

WINDOW_HU = (-160.0, 240.0)
TRUTH_COLOUR = "#33d17a"
PLANES = (("axial", 0), ("coronal", 1), ("sagittal", 2))
"""Name and the array axis across it."""


@dataclass(frozen=True)
class Worst:
    """One answer that is far off."""

    system: str
    case: str
    organ: str
    path: PathName
    msd_mm: float


def worst_of(scores: Sequence[CaseScore], *, system: str, count: int) -> tuple[Worst, ...]:
    """The answers of a system with the largest mean surface distance, at most one per organ and case.

    Answers that are missing are the worst of all.
    """
    rows = [
        Worst(system, score.case, row.organ, row.path, row.msd_mm)
        for score in scores
        if score.system == system
        for row in score.organs
    ]
    kept: dict[tuple[str, str], Worst] = {}
    for row in sorted(rows, key=lambda row: -row.msd_mm):
        kept.setdefault((row.case, row.organ), row)
    return tuple(kept.values())[:count]


def draw_worst(
    scores: Sequence[CaseScore], cases: Cases, out: Path, *, system: str, organs: tuple[str, ...], count: int = 3
) -> Iterator[Path]:
    """Draw the worst answers of a system as out/pictures/SYSTEM/RANK-ORGAN.png, in place of earlier ones.

    Args:
        scores: Of one split.
        cases: Of the same split.
        out: Where `evaluate` stored scores and outlines.
        system: Whose answers.
        organs: Names of the labels 1, 2, ...
        count: How many.

    Yields:
        Each file.
    """
    folder = out / "pictures" / slug(system)
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.png"):
        old.unlink()
    for rank, worst in enumerate(worst_of(scores, system=system, count=count), start=1):
        outlines = read_outlines(outlines_file(out, system, worst.case))
        figure = picture(cases[worst.case](), outlines, worst, label=1 + organs.index(worst.organ))
        file = folder / f"{rank}-{slug(worst.organ)}.png"
        figure.savefig(file, dpi=110)
        yield file


def picture(case: HeldOutCase, outlines: Outlines, worst: Worst, *, label: int) -> Figure:
    """Axial, coronal and sagittal plane of the daily CT where truth and answer differ most; no name, no case.

    Args:
        case: Daily CT with the truth.
        outlines: What the system drew.
        worst: Which answer the picture is about.
        label: Of its organ.
    """
    truth = case.daily.labels == label
    masks: dict[PathName, MaskVoxels] = {path: found[label] for path, found in outlines.items() if label in found}
    answer = masks.get(worst.path, np.zeros_like(truth))
    centre = _most_different(truth, answer)
    window = _window_mm(truth | answer, case)
    figure = Figure(figsize=(12.5, 5.0), layout="constrained")
    FigureCanvasAgg(figure)
    for panel, (name, axis) in zip(figure.subplots(1, 3), PLANES, strict=True):
        _plane(panel, case, axis, centre[axis], window)
        for mask, colour, width in ((truth, TRUTH_COLOUR, 2.2), *((m, COLOURS[p], 1.4) for p, m in masks.items())):
            _outline(panel, case, mask, axis=axis, index=centre[axis], colour=colour, width=width)
        panel.set_title(name, fontsize=10)
    distance = f"{worst.msd_mm:.1f} mm" if math.isfinite(worst.msd_mm) else "nothing found"
    figure.suptitle(f"{worst.system}, {worst.organ}: {worst.path} {distance}")
    lines = [Line2D([], [], color=TRUTH_COLOUR, linewidth=2.2, label="truth")]
    lines += [Line2D([], [], color=COLOURS[path], label=path) for path in masks]
    figure.legend(handles=lines, loc="outside lower center", ncols=len(lines), frameon=False)
    return figure


def _most_different(truth: MaskVoxels, answer: MaskVoxels) -> tuple[int, int, int]:
    """For each array axis the plane in which most voxels differ; the middle one where several do."""
    different = truth ^ answer if np.any(truth ^ answer) else truth
    found = []
    for axis in range(3):
        counts = np.count_nonzero(different, axis=tuple(other for other in range(3) if other != axis))
        most = np.flatnonzero(counts == counts.max())
        found.append(int(most[len(most) // 2]))
    return found[0], found[1], found[2]


def _window_mm(mask: MaskVoxels, case: HeldOutCase) -> tuple[tuple[float, float], ...]:
    """Lower and upper end along (x, y, z) of what is shown, LPS millimetres."""
    box = bounding_box(mask)
    grid = case.daily.volume.geometry
    whole = box or tuple(slice(0, n) for n in grid.shape)
    ends = []
    for component in range(3):
        part = whole[2 - component]
        origin, step = grid.origin_mm[component], grid.spacing_mm[component]
        ends.append((origin + step * part.start - MARGIN_MM, origin + step * (part.stop - 1) + MARGIN_MM))
    return tuple(ends)


def _plane(panel: Axes, case: HeldOutCase, axis: int, index: int, window: tuple[tuple[float, float], ...]) -> None:
    grid = case.daily.volume.geometry
    across, up = _components(axis)
    steps = grid.spacing_mm
    left, bottom = (grid.origin_mm[c] - steps[c] / 2 for c in (across, up))
    right, top = (grid.last_mm[c] + steps[c] / 2 for c in (across, up))
    pixels = case.daily.volume.hu.take(index, axis=axis)
    panel.imshow(
        pixels, cmap="gray", vmin=WINDOW_HU[0], vmax=WINDOW_HU[1], extent=(left, right, bottom, top), origin="lower"
    )
    panel.set_facecolor("black")
    panel.set_xlim(*window[across])
    # In the axial plane the patient's front is up, in the others the head.
    panel.set_ylim(*(window[up] if up == 2 else window[up][::-1]))
    panel.set_xticks([])
    panel.set_yticks([])


def _outline(
    panel: Axes, case: HeldOutCase, mask: MaskVoxels, *, axis: int, index: int, colour: str, width: float
) -> None:
    inside = mask.take(index, axis=axis)
    if inside.any():
        across, up = _components(axis)
        x, y = (case.daily.volume.geometry.axis_mm("xyz"[component]) for component in (across, up))
        panel.contour(x, y, inside.astype(np.float32), levels=[0.5], colors=[colour], linewidths=[width])


def _components(axis: int) -> tuple[int, int]:
    """The components (0, 1, 2 for x, y, z) to the right and upwards in the plane across an array axis."""
    return ((0, 1), (0, 2), (1, 2))[axis]
