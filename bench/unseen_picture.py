"""The worst recommended contour of each kind of material: axial, coronal and sagittal planes with truth and answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

from imaging.arrays import MaskVoxels
from imaging.masks import RoiPatch
from imaging.volume import Volume

WINDOW_HU = (-160.0, 240.0)
MARGIN_MM = 30.0
Plane = int | tuple[slice | int, ...]
LINES = (("true", "#33d17a", "solid"), ("recommended", "#ff4d4d", "solid"), ("segmented", "#62a0ea", "dashed"))


@dataclass(frozen=True, eq=False)
class Shown:
    """One organ of one case.

    Attributes:
        title: Material, organ, distance.
        daily: CT of the day.
        patches: True, recommended and segmented organ; None where there is none.
    """

    title: str
    daily: Volume
    patches: tuple[RoiPatch | None, RoiPatch | None, RoiPatch | None]


def draw_picture(shown: Sequence[Shown], file: Path) -> None:
    """One row per organ, three planes through where truth and answer differ most."""
    figure, axes = plt.subplots(len(shown), 3, figsize=(10.5, 3.4 * len(shown)), squeeze=False)
    for row, one in zip(axes, shown, strict=True):
        masks = [_whole(patch, one.daily) for patch in one.patches]
        x_mm, y_mm, z_mm = one.daily.geometry.spacing_mm
        box = _box_round(masks[0] | masks[1] | masks[2], (z_mm, y_mm, x_mm))
        hu, masks = one.daily.hu[box], [mask[box] for mask in masks]
        differs = masks[0] ^ masks[1]
        z, y, x = (int(differs.sum(axis=tuple({0, 1, 2} - {axis})).argmax()) for axis in range(3))
        planes: tuple[tuple[Plane, float, bool], ...] = (
            (z, y_mm / x_mm, False),
            (np.s_[:, y], z_mm / x_mm, True),
            (np.s_[:, :, x], z_mm / y_mm, True),
        )
        for axis, (plane, aspect, upright) in zip(row, planes, strict=True):
            axis.imshow(
                hu[plane],
                cmap="gray",
                vmin=WINDOW_HU[0],
                vmax=WINDOW_HU[1],
                aspect=aspect,
                origin="lower" if upright else "upper",
            )
            for mask, (_, colour, style) in zip(masks, LINES, strict=True):
                if mask[plane].any():
                    axis.contour(mask[plane], [0.5], colors=colour, linestyles=style, linewidths=1.2)
            axis.axis("off")
        row[1].set_title(one.title, fontsize=10)
    handles = [mpl.lines.Line2D([], [], color=colour, linestyle=style) for _, colour, style in LINES]
    figure.legend(handles, [name for name, _, _ in LINES], loc="lower center", ncols=len(LINES), frameon=False)
    figure.tight_layout(rect=(0, 0.4 / figure.get_figheight(), 1, 1))
    figure.savefig(file, dpi=90)
    plt.close(figure)


def _whole(patch: RoiPatch | None, daily: Volume) -> MaskVoxels:
    """The patch on the whole daily grid, empty without one; patches may begin before the grid and end behind it."""
    mask = np.zeros(daily.geometry.shape, dtype=bool)
    if patch is None:
        return mask
    here, there = [], []
    for lower, count, size in zip(patch.lower, patch.inside.shape, mask.shape, strict=True):
        first, last = max(lower, 0), min(lower + count, size)
        here.append(slice(first, last))
        there.append(slice(first - lower, last - lower))
    mask[tuple(here)] = patch.inside[tuple(there)] >= 0.5
    return mask


def _box_round(mask: MaskVoxels, spacing_mm: tuple[float, float, float]) -> tuple[slice, slice, slice]:
    """Where a mask lies, and `MARGIN_MM` round it."""
    (z, y, x) = (
        slice(max(0, int(found.min() - MARGIN_MM / step)), int(found.max() + MARGIN_MM / step) + 1)
        for found, step in zip(np.nonzero(mask), spacing_mm, strict=True)
    )
    return z, y, x
