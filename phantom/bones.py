"""Pelvis, sacrum and femurs. Template: LPS millimetres, origin midway between the centres of the femoral heads.

Proportions follow textbook anatomy of the male pelvis: hip centres 176 mm apart, femoral head 48 mm, neck-shaft angle
about 128 degrees, end plate of S1 about 112 mm above the hip axis, coccyx tip near it, ischial
tuberosities 80 mm below.
"""

import numpy as np
from numpy.typing import NDArray

from imaging.arrays import FloatVoxels
from imaging.geometry import VolumeGeometry
from phantom import shapes

HIP_X_MM = 88.0
HEAD_RADIUS_MM = 24.0

_ILIUM_LEVELS = (14, 24, 36, 55, 80, 110, 145, 165)
_ILIUM = (
    ((91, -20, 8), (74, -4, 6), (66, 14, 7), (68, 28, 9)),
    ((94, -21, 9), (88, -3, 12), (78, 14, 12), (69, 28, 9)),
    ((99, -25, 9), (90, -6, 9), (78, 14, 9), (67, 31, 9)),
    ((106, -31, 8), (93, -6, 6.5), (77, 22, 7), (58, 52, 9)),
    ((118, -38, 7), (103, -8, 4), (79, 30, 5), (50, 69, 11)),
    ((130, -34, 7), (115, 0, 3.5), (87, 39, 4.5), (50, 78, 11)),
    ((136, -16, 6), (124, 14, 4), (96, 50, 5), (62, 82, 9)),
    ((132, 0, 5), (122, 22, 4), (100, 52, 4.5), (70, 80, 6)),
)
_SACRUM_LEVELS = (-4, 10, 25, 40, 60, 80, 100, 118)
_SACRUM = (
    ((0, 70, 3.5), (3, 70, 3)),
    ((0, 78, 5), (6, 78, 4)),
    ((0, 86, 7), (12, 85, 6)),
    ((0, 90, 9), (24, 87, 7)),
    ((0, 85, 12), (36, 79, 10)),
    ((0, 74, 15), (43, 69, 12)),
    ((0, 60, 19), (46, 63, 13)),
    ((0, 46, 21), (42, 60, 11)),
)


def _mirrored(points: object, side: int, scale: NDArray[np.float64]) -> NDArray[np.float64]:
    out = np.array(points, dtype=np.float64)
    out[..., 0] *= side * scale[0]
    out[..., 1] *= scale[1]
    if out.shape[-1] == 3:
        out[..., 2] *= scale[2]
    return out


def _discs(sections: object, side: int, scale: NDArray[np.float64]) -> NDArray[np.float64]:
    out = np.array(sections, dtype=np.float64)
    out *= (side * scale[0], scale[1], scale.mean())
    return out


def draw_pelvis(geometry: VolumeGeometry, scale: NDArray[np.float64]) -> FloatVoxels:
    """Hip bones, sacrum and coccyx, without the femurs."""
    hips = shapes.empty(geometry)
    for side in (-1, 1):
        _add_hip_bone(hips, geometry, side, scale)
    for side in (-1, 1):
        socket = (side * HIP_X_MM * scale[0], 0.0, 0.0)
        head = shapes.ellipsoid(geometry, centre=socket, radii=(HEAD_RADIUS_MM * scale.mean() + 3.2,) * 3)
        hips = shapes.smooth_max(hips, -head, 1.5)
    sacrum = shapes.empty(geometry)
    for side in (-1, 1):
        levels = np.array(_SACRUM_LEVELS) * scale[2]
        shapes.add_loft(sacrum, geometry, levels=levels, sections=_discs(_SACRUM, side, scale), blend_mm=3.0)
    sacrum = _with_canals(sacrum, geometry, scale)
    _add_lumbar_vertebra(sacrum, geometry, scale)
    x, _, _ = shapes.axes(geometry)
    hips = shapes.smooth_max(hips, np.broadcast_to(2.2 - np.abs(x), hips.shape).astype(np.float32), 1.5)
    sacrum = shapes.smooth_max(sacrum, 2.0 - hips, 1.5)
    return np.minimum(hips, sacrum)


def _add_hip_bone(hips: FloatVoxels, geometry: VolumeGeometry, side: int, scale: NDArray[np.float64]) -> None:
    levels = np.array(_ILIUM_LEVELS) * scale[2]
    shapes.add_loft(hips, geometry, levels=levels, sections=_discs(_ILIUM, side, scale), blend_mm=5.0)
    size = scale.mean()

    def rod(points: list[tuple[float, float, float]], radii: list[float]) -> None:
        shapes.add_chain(
            hips, geometry, points=_mirrored(points, side, scale), radii=np.array(radii) * size, blend_mm=5.0
        )

    rod([(67, -14, 8), (63, 5, 4), (68, 26, 0), (70, 30, 14)], [8.5, 6.5, 10, 10])
    rod([(88, 2, 30), (104, 4, 25)], [9, 5])
    rod([(70, 28, 4), (66, 36, -22), (60, 42, -48), (54, 42, -72)], [11, 11, 13, 14])
    rod([(62, 30, 4), (52, 40, 2)], [6, 2.5])
    rod([(76, -24, 12), (64, -28, 9), (42, -40, 9), (20, -44, 3), (11, -42, -6)], [9, 9, 6.5, 7.5, 9])
    rod([(11, -42, -4), (11, -37, -16), (12, -31, -28)], [9, 9, 8])
    rod([(12, -32, -28), (24, -12, -46), (38, 12, -62), (52, 34, -76)], [7, 4.8, 5, 9])
    rod([(88, 30, 4), (94, 24, 16)], [5, 4])
    rod([(76, 26, -8), (72, 40, -40), (66, 48, -66)], [5, 6, 8])


def _with_canals(sacrum: FloatVoxels, geometry: VolumeGeometry, scale: NDArray[np.float64]) -> FloatVoxels:
    """Take out the sacral canal and the foramina."""
    hollow = shapes.empty(geometry)
    canal = _mirrored([(0, 93, 38), (0, 90, 60), (0, 83, 80), (0, 72, 100), (0, 62, 125)], 1, scale)
    shapes.add_chain(hollow, geometry, points=canal, radii=[3, 4, 5.5, 6.5, 8], blend_mm=1.0)
    for side in (-1, 1):
        for y, z, x in ((88, 46, 14), (82, 62, 16), (72, 80, 19), (60, 98, 22)):
            hole = _mirrored([(x, y - 16, z - 5), (x - 1, y + 14, z + 3)], side, scale)
            shapes.add_chain(hollow, geometry, points=hole, radii=[4.2, 3.4], blend_mm=1.0)
    return shapes.smooth_max(sacrum, -hollow, 1.0)


def _add_lumbar_vertebra(sacrum: FloatVoxels, geometry: VolumeGeometry, scale: NDArray[np.float64]) -> None:
    levels = np.array([124, 150]) * scale[2]
    body = [[(0, 32, 20), (10, 32, 19)], [(0, 24, 20), (10, 24, 19)]]
    arch = [[(22, 50, 4), (14, 62, 5), (0, 78, 4)], [(22, 44, 4), (14, 56, 5), (0, 72, 4)]]
    above = shapes.empty(geometry)
    for side in (-1, 1):
        shapes.add_loft(above, geometry, levels=levels, sections=_discs(body, side, scale), blend_mm=2.0)
        shapes.add_loft(above, geometry, levels=levels, sections=_discs(arch, side, scale), blend_mm=2.0)
    np.minimum(sacrum, above, out=sacrum)


def draw_femurs(geometry: VolumeGeometry, scale: NDArray[np.float64]) -> FloatVoxels:
    """Heads, necks, trochanters and the upper shafts, both sides."""
    out = shapes.empty(geometry)
    size = scale.mean()
    for side in (-1, 1):
        centre = (side * HIP_X_MM * scale[0], 0.0, 0.0)
        shapes.add_ellipsoid(out, geometry, centre=centre, radii=(HEAD_RADIUS_MM * size,) * 3)
        parts: list[tuple[list[tuple[float, float, float]], list[float]]] = [
            ([(92, 2, -3), (110, 8, -18), (126, 14, -30)], [18, 14.5, 17]),
            ([(134, 18, -12), (138, 18, -24), (134, 15, -44)], [9, 14, 16]),
            ([(112, 24, -62), (116, 18, -76)], [6, 8]),
            ([(132, 14, -42), (127, 10, -80), (120, 4, -150)], [18, 15.5, 14.5]),
        ]
        for points, radii in parts:
            shapes.add_chain(
                out, geometry, points=_mirrored(points, side, scale), radii=np.array(radii) * size, blend_mm=7.0
            )
    return out


def draw_joints(geometry: VolumeGeometry, scale: NDArray[np.float64]) -> FloatVoxels:
    """Cartilage and capsule of the hips, disc of the pubic symphysis."""
    out = shapes.ellipsoid(geometry, centre=(0, -40 * scale[1], -13 * scale[2]), radii=(6, 8, 19))
    for side in (-1, 1):
        centre = (side * HIP_X_MM * scale[0], 0.0, 0.0)
        shapes.add_ellipsoid(out, geometry, centre=centre, radii=(HEAD_RADIUS_MM * scale.mean() + 3.4,) * 3)
    return out


def draw_femoral_head(geometry: VolumeGeometry, scale: NDArray[np.float64], side: int) -> FloatVoxels:
    """Femoral head with the beginning of the neck, as it is contoured for dose; side +1 is the patient's left."""
    size = scale.mean()
    centre = (side * HIP_X_MM * scale[0], 0.0, 0.0)
    out = shapes.ellipsoid(geometry, centre=centre, radii=(HEAD_RADIUS_MM * size,) * 3)
    points = _mirrored([(92, 2, -3), (108, 7, -16)], side, scale)
    shapes.add_chain(out, geometry, points=points, radii=np.array([18, 15]) * size, blend_mm=7.0)
    return out
