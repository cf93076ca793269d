"""One picture of a case: three planes of the daily CT with outlines that can be told apart without colour."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from imaging.arrays import FloatVoxels
from imaging.geometry import VolumeGeometry
from imaging.masks import RoiPatch
from imaging.volume import Volume

WINDOW_HU = (-160.0, 240.0)
"""Soft tissue: level 40, width 400."""
SCALE_MM = 20.0
BACKGROUND = "#111111"
WARNING = "AUTO - NOT REVIEWED"


@dataclass(frozen=True)
class Style:
    """How one kind of outline is drawn. Colours after Okabe and Ito; every kind also has a line of its own."""

    label: str
    colour: str
    line: Any
    width: float


PLANNING = Style("planning (set-up only)", "#F0E442", (0, (1, 1.6)), 1.5)
TRUTH = Style("truth", "#FFFFFF", "solid", 2.6)
PROPAGATED = Style("propagated", "#56B4E9", "solid", 1.3)
SEGMENTED = Style("segmented", "#FF6A00", (0, (4, 2)), 1.4)


@dataclass(frozen=True, eq=False)
class Outlines:
    """One kind of outlines: ROIs on the daily grid."""

    style: Style
    patches: Sequence[RoiPatch]


@dataclass(frozen=True)
class _Plane:
    """An anatomical plane: the component that is constant, those that run across and up, the letters at the edges."""

    name: str
    constant: str
    across: str
    up: str
    letters: tuple[str, str, str, str]
    """At the left, right, top and bottom of the picture."""


PLANES = (
    _Plane("axial", "z", "x", "y", ("R", "L", "A", "P")),
    _Plane("sagittal", "x", "y", "z", ("A", "P", "S", "I")),
    _Plane("coronal", "y", "x", "z", ("R", "L", "S", "I")),
)


def draw(
    path: Path,
    daily: Volume,
    *,
    outlines: Sequence[Outlines],
    names: Mapping[int, str],
    through_mm: tuple[float, float, float],
    centre_mm: tuple[float, float, float],
    half_width_mm: float,
    note: str,
) -> None:
    """Write a PNG of the axial, sagittal and coronal plane through a point.

    Args:
        path: The PNG.
        daily: Daily CT.
        outlines: Kinds of outlines in the order in which they are drawn, the first lowest.
        names: ROI numbers to name in the picture.
        through_mm: Point (x, y, z) that the planes share.
        centre_mm: Point (x, y, z) in the middle of the pictures.
        half_width_mm: Half the width of each picture.
        note: What the CT is, for example 'phantom'.
    """
    figure = Figure(figsize=(15, 6.1), dpi=130, facecolor=BACKGROUND)
    for position, plane in enumerate(PLANES):
        axes = figure.add_axes((0.006 + position * 0.332, 0.115, 0.324, 0.80))
        across, up = ("xyz".index(component) for component in (plane.across, plane.up))
        _draw_plane(axes, daily, plane=plane, outlines=outlines, names=names, through_mm=through_mm)
        _frame(axes, plane, centre=(centre_mm[across], centre_mm[up]), half=half_width_mm)
    figure.text(0.5, 0.955, f"{WARNING}  ·  {note}", color="#FFB000", size=15, weight="bold", ha="center", va="center")
    handles = [
        Line2D([], [], color=kind.style.colour, linestyle=kind.style.line, linewidth=kind.style.width + 0.6,
               label=kind.style.label)
        for kind in outlines
        if kind.patches
    ]  # fmt: skip
    figure.legend(
        handles=handles, loc="lower center", ncol=len(handles), frameon=False, labelcolor="white", fontsize=13,
        handlelength=3.5, bbox_to_anchor=(0.5, 0.0),
    )  # fmt: skip
    figure.savefig(path, facecolor=BACKGROUND)


def _draw_plane(
    axes: Axes,
    daily: Volume,
    *,
    plane: _Plane,
    outlines: Sequence[Outlines],
    names: Mapping[int, str],
    through_mm: tuple[float, float, float],
) -> None:
    constant = "xyz".index(plane.constant)
    axis = 2 - constant
    index = _nearest(daily.geometry, axis, through_mm[constant])
    h, v = daily.geometry.axis_mm(plane.across), daily.geometry.axis_mm(plane.up)
    step_h, step_v = h[1] - h[0], v[1] - v[0]
    axes.imshow(
        daily.hu.take(index, axis=axis), cmap="gray", vmin=WINDOW_HU[0], vmax=WINDOW_HU[1], origin="lower",
        extent=(h[0] - step_h / 2, h[-1] + step_h / 2, v[0] - step_v / 2, v[-1] + step_v / 2),
        interpolation="bilinear", aspect="equal",
    )  # fmt: skip
    for kind in outlines:
        for patch in kind.patches:
            part = _section(patch, axis, index)
            if part.max() > 0.5 and part.min() < 0.5:
                axes.contour(
                    h, v, part, levels=[0.5], colors=[kind.style.colour], linestyles=[kind.style.line],
                    linewidths=[kind.style.width],
                )  # fmt: skip
    if outlines:
        _name_rois(axes, outlines[0], names=names, axis=axis, index=index, h=h, v=v)


def _frame(axes: Axes, plane: _Plane, *, centre: tuple[float, float], half: float) -> None:
    """Limits, letters of orientation, scale."""
    tall = half * (axes.bbox.height / axes.bbox.width)
    axes.set_xlim(centre[0] - half, centre[0] + half)
    axes.set_ylim(
        (centre[1] + tall, centre[1] - tall) if plane.name == "axial" else (centre[1] - tall, centre[1] + tall)
    )
    axes.set_axis_off()
    shadow = [patheffects.withStroke(linewidth=3, foreground="black")]
    places = ((0.02, 0.5), (0.98, 0.5), (0.5, 0.97), (0.5, 0.03))
    for letter, (x, y) in zip(plane.letters, places, strict=True):
        axes.text(x, y, letter, transform=axes.transAxes, color="white", size=15, ha="center", va="center",
                  weight="bold", path_effects=shadow)  # fmt: skip
    axes.text(
        0.02, 0.97, plane.name, transform=axes.transAxes, color="white", size=12, va="center", path_effects=shadow
    )
    start, length = 0.955 - SCALE_MM / (2 * half), SCALE_MM / (2 * half)
    axes.plot([start, start + length], [0.035, 0.035], transform=axes.transAxes, color="white", linewidth=3,
              path_effects=shadow)  # fmt: skip
    axes.text(start + length / 2, 0.06, f"{SCALE_MM:.0f} mm", transform=axes.transAxes, color="white", size=11,
              ha="center", va="center", path_effects=shadow)  # fmt: skip


def _name_rois(
    axes: Axes, kind: Outlines, *, names: Mapping[int, str], axis: int, index: int, h: np.ndarray, v: np.ndarray
) -> None:
    for patch in kind.patches:
        rows, columns = np.nonzero(_section(patch, axis, index) > 0.5)
        if not len(rows) or patch.roi_number not in names:
            continue
        axes.text(float(h[columns].mean()), float(v[rows].mean()), names[patch.roi_number], color="white", size=10,
                  ha="center", va="center", clip_on=True,
                  path_effects=[patheffects.withStroke(linewidth=2.5, foreground="black")])  # fmt: skip


def _section(patch: RoiPatch, axis: int, index: int) -> FloatVoxels:
    """The inside of an ROI on one whole plane of the grid."""
    shape = [n for other, n in enumerate(patch.geometry.shape) if other != axis]
    plane = np.zeros(shape, dtype=np.float32)
    local = index - patch.lower[axis]
    if 0 <= local < patch.inside.shape[axis]:
        places = zip(patch.lower, patch.inside.shape, strict=True)
        box = [slice(start, start + size) for other, (start, size) in enumerate(places) if other != axis]
        plane[tuple(box)] = patch.inside.take(local, axis=axis)
    return plane


def _nearest(geometry: VolumeGeometry, axis: int, position_mm: float) -> int:
    component = 2 - axis
    index = round((position_mm - geometry.origin_mm[component]) / geometry.spacing_mm[component])
    return int(np.clip(index, 0, geometry.shape[axis] - 1))
