"""Box plots of the scores: a panel per organ, a box per system and path."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from training.evaluation.paper import PrintedMetric
from training.evaluation.scores import CaseScore
from training.evaluation.statistics import by_case, paths_in, systems_in
from training.evaluation.system import PATHS, PathName
from training.evaluation.tables import PRINTED_METRICS, organs_in

COLOURS: dict[PathName, str] = {"segmentation": "#ff8c1a", "registration": "#3fa7ff", "service": "#d069ff"}
"""Of the paths, in figures and pictures alike; bright enough for outlines on a grey CT."""

LEAST_MM = 0.05
"""Smaller distances are drawn here, because a log axis has no zero."""

TICKS_MM = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)


def box_plot(scores: Sequence[CaseScore], metric: PrintedMetric) -> Figure:
    """Quartiles, whiskers to 1.5 times their distance, and every case beyond as a dot; distances on a log axis.

    Args:
        scores: Of one split, all systems.
        metric: What is drawn.
    """
    organs = organs_in(scores)
    lines = [(system, path) for system in systems_in(scores) for path in paths_in(scores, system)]
    figure = Figure(figsize=(2.2 + 2.6 * len(organs), 1.5 + 0.24 * len(lines)), layout="constrained")
    FigureCanvasAgg(figure)
    panels: list[Axes] = list(figure.subplots(1, len(organs), sharey=True, squeeze=False)[0])
    for panel, organ in zip(panels, organs, strict=True):
        _boxes(panel, scores, organ, metric, lines)
        panel.set_title(organ)
    before = ["", *(system for system, _ in lines)]
    labels = ["" if system == last else system for last, (system, _) in zip(before, lines, strict=False)]
    panels[0].set_yticks(range(len(lines)), labels)
    panels[0].set_ylim(len(lines) - 0.4, -0.6)
    used = {path for _, path in lines}
    handles = [Patch(facecolor=COLOURS[path], label=path) for path in PATHS if path in used]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    figure.suptitle(PRINTED_METRICS[metric][0])
    return figure


def save(figure: Figure, file: Path) -> None:
    """The figure as file.png and file.svg; the folder is made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file.with_name(f"{file.name}.png"), dpi=150)
    # Without a date the same figure is the same file.
    figure.savefig(file.with_name(f"{file.name}.svg"), metadata={"Date": None})


def _boxes(
    panel: Axes, scores: Sequence[CaseScore], organ: str, metric: PrintedMetric, lines: list[tuple[str, PathName]]
) -> None:
    everything: list[float] = []
    for place, (system, path) in enumerate(lines):
        values = list(by_case(scores, system=system, path=path, organ=organ, metric=metric).values())
        least = -math.inf if metric == "dice" else LEAST_MM
        found = [max(value, least) for value in values if math.isfinite(value)]
        everything.extend(found)
        if found:
            boxes = panel.boxplot(
                [found],
                positions=[place],
                widths=0.7,
                orientation="horizontal",
                patch_artist=True,
                manage_ticks=False,
                medianprops={"color": "black", "linewidth": 1.6},
                flierprops={"marker": ".", "markersize": 7, "markerfacecolor": "0.25", "markeredgecolor": "none"},
            )
            boxes["boxes"][0].set_facecolor(COLOURS[path])
        if len(found) < len(values):
            note = f"{len(values) - len(found)} empty "
            panel.text(1, place, note, transform=panel.get_yaxis_transform(), ha="right", va="center", fontsize=7)
        if place and system != lines[place - 1][0]:
            panel.axhline(place - 0.5, color="0.85", linewidth=0.6)
    panel.grid(axis="x", color="0.85", linewidth=0.6)
    panel.set_axisbelow(True)
    panel.tick_params(axis="y", length=0)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)
    if metric != "dice" and everything:
        _logarithmic(panel, min(everything), max(everything))


def _logarithmic(panel: Axes, least: float, most: float) -> None:
    panel.set_xscale("log")
    panel.set_xlim(least / 1.15, max(most, 2 * least) * 1.15)
    panel.xaxis.set_major_locator(FixedLocator(list(np.array(TICKS_MM))))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
