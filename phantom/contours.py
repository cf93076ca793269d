"""True contours and labels of one scan, drawn from the fields of the anatomy through the exact map."""

import contourpy
import numpy as np

from imaging.arrays import FloatVoxels, LabelVoxels
from imaging.geometry import VolumeGeometry
from imaging.structures import Contour, Roi, StructureSet
from imaging.transforms import Deformation
from phantom.anatomy import CLOSE, WIDE, Anatomy
from phantom.rendering import evaluate

LABELS = {"Bladder": 1, "Rectum": 2, "SeminalVes": 3, "Prostate": 4}
"""Label values of the organs that the network learns."""

_STYLE: dict[str, tuple[str, tuple[int, int, int]]] = {
    "BODY": ("EXTERNAL", (0, 255, 0)),
    "PTV": ("PTV", (255, 0, 0)),
    "CTV": ("CTV", (255, 128, 0)),
    "Prostate": ("ORGAN", (230, 60, 160)),
    "SeminalVes": ("ORGAN", (240, 200, 40)),
    "Bladder": ("ORGAN", (60, 120, 255)),
    "Rectum": ("ORGAN", (150, 90, 40)),
    "PenileBulb": ("ORGAN", (120, 220, 220)),
    "Femur_Head_L": ("ORGAN", (160, 160, 255)),
    "Femur_Head_R": ("ORGAN", (90, 200, 120)),
}
_CLOSE_NAMES = ("Bladder", "Rectum", "SeminalVes", "Prostate", "PenileBulb", "CTV", "PTV")
_HEADS = ("Femur_Head_L", "Femur_Head_R")
_MIN_CORNERS = 4


def draw_truth(
    anatomy: Anatomy, geometry: VolumeGeometry, deformation: Deformation
) -> tuple[StructureSet, LabelVoxels]:
    """The structure set and the labels of a scan, in its own frame."""
    labels = np.zeros(geometry.shape, dtype=np.uint8)
    contours: dict[str, list[Contour]] = {}
    lower, upper = _reach(geometry, CLOSE, deformation)
    box = geometry.cropped(lower, upper)
    fields = np.ascontiguousarray(np.stack([anatomy.regions[name] for name in _CLOSE_NAMES], axis=-1))
    values = evaluate(fields, CLOSE, box, deformation)
    part = labels[lower[0] : upper[0], lower[1] : upper[1], lower[2] : upper[2]]
    for channel, name in enumerate(_CLOSE_NAMES):
        contours[name] = _loops(values[..., channel], box)
        if name in LABELS:
            part[values[..., channel] < 0] = LABELS[name]
    heads = np.ascontiguousarray(np.stack([anatomy.regions[name] for name in _HEADS], axis=-1))
    middle = [s // 2 for s in WIDE.shape]
    for channel, name in enumerate(_HEADS):
        half = slice(middle[2], None) if name.endswith("L") else slice(None, middle[2] + 1)
        start = middle[2] if name.endswith("L") else 0
        side = np.ascontiguousarray(heads[20:80, 30:100, half, channel : channel + 1])
        around = WIDE.cropped((20, 30, start), (80, 100, start + side.shape[2]))
        low, high = _reach(geometry, around, deformation)
        patch = geometry.cropped(low, high)
        contours[name] = _loops(evaluate(side, around, patch, deformation)[..., 0], patch)
    contours["BODY"] = _body(anatomy, geometry, deformation)
    rois = tuple(
        Roi(number, name, kind, colour, tuple(contours[name]))
        for number, (name, (kind, colour)) in enumerate(_STYLE.items(), start=1)
    )
    return StructureSet(rois, label="PELVIS"), labels


def _reach(
    geometry: VolumeGeometry, grid: VolumeGeometry, deformation: Deformation
) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Array bounds of the scan that can hold points of `grid`."""
    slack = 0.0
    if deformation.fields:
        slack = 2.0 + float(np.abs(deformation.fields[0].vectors).max())
    corners = np.array([[a, b, c] for a in (0, 1) for b in (0, 1) for c in (0, 1)]) * np.array(grid.size_mm)
    back = np.linalg.inv(deformation.affine.matrix)
    daily = (corners + np.array(grid.origin_mm)) @ back[:3, :3].T + back[:3, 3]
    low = geometry.to_index(daily.min(0) - slack)[::-1]
    high = geometry.to_index(daily.max(0) + slack)[::-1]
    top = np.array(geometry.shape)
    first = np.clip(np.floor(low).astype(int), 0, top - 1)
    last = np.clip(np.ceil(high).astype(int) + 1, first + 1, top)
    return (int(first[0]), int(first[1]), int(first[2])), (int(last[0]), int(last[1]), int(last[2]))


def _loops(values: FloatVoxels, geometry: VolumeGeometry) -> list[Contour]:
    """Zero lines of a field, plane by plane; a region cut by the border of the grid is closed along it."""
    x, y, heights = (geometry.axis_mm(a) for a in "xyz")
    wide_x = np.concatenate([[x[0] - 1e-3], x, [x[-1] + 1e-3]])
    wide_y = np.concatenate([[y[0] - 1e-3], y, [y[-1] + 1e-3]])
    out = []
    for plane, z in zip(values, heights, strict=True):
        if plane.min() >= 0:
            continue
        padded = np.pad(plane, 1, constant_values=1.0)
        for line in contourpy.contour_generator(wide_x, wide_y, padded).lines(0.0):
            corners = np.asarray(line)[:-1]
            if len(corners) >= _MIN_CORNERS:
                out.append(Contour(float(z), np.array(corners, dtype=np.float64)))
    return out


def _body(anatomy: Anatomy, geometry: VolumeGeometry, deformation: Deformation) -> list[Contour]:
    spacing = geometry.spacing_mm
    step = max(1, round(1.8 / spacing[0]))
    shape = geometry.shape
    coarse = VolumeGeometry(
        (shape[0], (shape[1] - 1) // step + 1, (shape[2] - 1) // step + 1),
        geometry.origin_mm,
        (spacing[0] * step, spacing[1] * step, spacing[2]),
    )
    field = np.ascontiguousarray(anatomy.regions["BODY"][..., None])
    return _loops(evaluate(field, WIDE, coarse, deformation, hold_edge=True)[..., 0], coarse)
