"""Pictures of a report: bars of stages, lines of growth. Drawn from the JSON, never from a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt

COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf")
MARKS = "os^Dv<>Px*h"
DPI = 110


def bars(file: Path, values: Mapping[str, Mapping[str, float]], *, title: str, unit: str = "ms") -> None:
    """Horizontal bars per name, one colour per group."""
    names = list(dict.fromkeys(name for group in values.values() for name in group))
    figure, axes = plt.subplots(figsize=(8, 0.28 * len(names) * len(values) + 1.6), layout="constrained")
    height = 0.8 / len(values)
    for number, (group, found) in enumerate(values.items()):
        places = [row + number * height for row in range(len(names))]
        widths = [found.get(name, 0.0) for name in names]
        drawn = axes.barh(places, widths, height=height, label=group, color=COLOURS[number])
        axes.bar_label(drawn, fmt=_short, padding=2, fontsize=7)
    axes.set_yticks([row + 0.4 - height / 2 for row in range(len(names))], names)
    axes.invert_yaxis()
    axes.set_xlabel(unit)
    axes.set_title(title, fontsize=9)
    axes.legend()
    _save(figure, file)


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.2g}"


def growth_lines(
    file: Path, xs: Sequence[float], ys: Mapping[str, Sequence[float]], *, axis: str, title: str, unit: str = "ms"
) -> None:
    """Both axes logarithmic, so that a power is a straight line; the label of each line is the caller's."""
    figure, axes = plt.subplots(figsize=(8, 5.2), layout="constrained")
    for number, (name, values) in enumerate(ys.items()):
        style = "-" if number < len(COLOURS) else "--"
        look = {"marker": MARKS[number % len(MARKS)], "color": COLOURS[number % len(COLOURS)], "linestyle": style}
        axes.plot(xs, values, label=name, linewidth=1, **look)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(xs, [f"{x:.4g}" for x in xs])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.set_xlabel(axis)
    axes.set_ylabel(unit)
    axes.set_title(title, fontsize=9)
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    _save(figure, file)


def _save(figure: "plt.Figure", file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=DPI, metadata={"Software": None})
    plt.close(figure)
