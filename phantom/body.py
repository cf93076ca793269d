"""Body outline, subcutaneous fat and muscles."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imaging.arrays import FloatVoxels
from imaging.geometry import VolumeGeometry
from phantom import shapes

_LEVELS = (-150, -110, -80, -50, -20, 0, 40, 80, 120, 200)
_HALF_WIDTH = (168, 176, 182, 186, 187, 186, 178, 170, 165, 160)
_FRONT = (-88, -90, -94, -100, -108, -113, -122, -128, -130, -130)
_BACK = (88, 100, 110, 116, 120, 121, 120, 112, 102, 96)

_Rods = list[tuple[list[tuple[float, float, float]], list[float]]]

_MUSCLES: _Rods = [
    # gluteus maximus, medius, minimus and tensor
    ([(38, 98, 70), (70, 92, 30), (105, 72, -10), (132, 48, -50)], [9, 15, 18, 11]),
    ([(30, 98, 30), (58, 94, -10), (95, 80, -45), (122, 52, -80)], [9, 17, 18, 12]),
    ([(130, -8, 110), (134, 4, 70), (136, 12, 30), (140, 14, -5)], [13, 17, 17, 8]),
    ([(104, 52, 110), (100, 54, 75), (112, 44, 40), (132, 26, 5)], [12, 16, 15, 8]),
    ([(112, -12, 80), (116, -8, 45), (120, -6, 15), (130, 2, -8)], [6, 9, 10, 6]),
    ([(126, -48, 50), (130, -50, 10), (138, -40, -40), (142, -24, -100)], [8, 12, 13, 8]),
    # iliopsoas
    (
        [(44, 14, 170), (50, 4, 110), (66, -16, 60), (84, -36, 22), (92, -40, -5), (104, -18, -45), (112, 6, -70)],
        [21, 20, 17, 15, 15, 13, 9],
    ),
    ([(104, 10, 140), (98, -2, 100), (90, -14, 60), (88, -30, 25)], [10, 10, 8, 7]),
    # thigh, anterior: rectus femoris, sartorius, vasti
    ([(108, -42, 28), (110, -58, -10), (112, -66, -60), (112, -68, -140)], [5, 11, 16, 19]),
    ([(118, -58, 50), (104, -76, 0), (88, -82, -50), (70, -80, -120)], [5, 9, 9, 10]),
    ([(148, -2, -45), (150, -8, -80), (144, -18, -150)], [8, 18, 24]),
    ([(112, -26, -60), (108, -32, -90), (104, -30, -150)], [8, 16, 20]),
    # adductors, pectineus, gracilis, obturators
    ([(30, -52, 6), (56, -48, -18), (90, -22, -55)], [8, 13, 9]),
    ([(18, -44, -28), (46, -40, -60), (74, -34, -110), (84, -30, -150)], [7, 14, 19, 20]),
    ([(22, -22, -48), (52, -8, -75), (80, 0, -115), (90, 4, -150)], [7, 15, 22, 24]),
    ([(46, 22, -78), (66, 16, -100), (80, 18, -150)], [9, 18, 22]),
    ([(14, -28, -48), (26, -28, -80), (36, -20, -140)], [4, 9, 11]),
    ([(30, -28, -22), (50, -8, -32), (78, 14, -34), (108, 24, -24)], [9, 9, 8, 5]),
    ([(38, -30, -4), (47, -12, 0), (51, 8, 2), (53, 26, -2), (58, 38, -12)], [4.5, 6, 6.5, 7, 6]),
    ([(34, -26, -18), (46, -4, -22), (48, 18, -22), (52, 36, -18)], [4.5, 6, 6.5, 6]),
    ([(56, -16, 20), (54, 4, 20), (56, 22, 18)], [4, 5, 5]),
    # quadratus femoris, hamstrings, piriformis, gemelli
    ([(62, 46, -62), (90, 40, -58), (116, 30, -55)], [6, 10, 7]),
    ([(58, 54, -82), (74, 56, -110), (86, 54, -150)], [8, 16, 21]),
    ([(28, 80, 42), (62, 62, 34), (100, 40, 16), (128, 24, 2)], [8, 12, 10, 4]),
    ([(66, 50, -8), (90, 40, -10), (120, 26, -12)], [5, 8, 5]),
    # erector spinae
    ([(22, 92, 80), (26, 90, 110), (32, 86, 150), (34, 82, 190)], [7, 13, 19, 20]),
]
_LEVATOR: _Rods = [
    ([(10, -27, -22), (22, -12, -20), (26, 12, -18), (22, 36, -14), (6, 60, -6)], [2.2, 2.4, 2.6, 2.8, 3]),
    ([(9, -25, -32), (17, -8, -32), (20, 14, -32), (17, 36, -28), (4, 54, -20)], [2.4, 2.6, 3, 3.2, 3.2]),
    ([(9, -18, -42), (13, -2, -43), (15, 20, -44), (13, 42, -40), (3, 50, -34)], [2.4, 2.6, 3.2, 3.4, 3.4]),
    ([(40, 16, -14), (24, 18, -26), (16, 24, -40)], [2.2, 2.4, 3]),
    ([(14, 8, -54), (40, 12, -60)], [3, 2]),
]
_VESSELS: _Rods = [
    (
        [(76, -66, -70), (74, -64, -20), (70, -60, 8), (58, -38, 40), (44, -4, 85), (32, 8, 120), (14, 8, 160)],
        [4.5, 5, 5, 4.8, 5, 6, 7],
    ),
    (
        [(66, -58, -70), (62, -58, -20), (58, -52, 10), (50, -26, 42), (42, 10, 85), (30, 20, 120), (16, 16, 160)],
        [4.5, 5.5, 6, 6, 6, 7, 8],
    ),
    ([(43, 4, 85), (46, 26, 60), (44, 44, 38)], [4.5, 4, 3]),
    ([(16, -24, -4), (10, -27, 2), (4, -27, -6)], [2, 2.4, 2.4]),
    ([(22, 4, -6), (26, 12, 6), (38, 26, 16), (44, 40, 30)], [1.6, 1.8, 2, 2.4]),
    ([(16, 22, -12), (20, 20, -2), (26, 18, 4)], [1.5, 1.8, 1.6]),
]
_CORDS: _Rods = [
    ([(20, -70, -60), (24, -72, -20), (32, -70, 2), (48, -66, 24)], [6, 6, 6, 4]),
    ([(9, -52, -52), (16, -22, -48), (28, 2, -56), (38, 18, -66)], [7, 6, 5, 4]),
]


@dataclass(frozen=True, eq=False)
class Body:
    """Fields of the body.

    Attributes:
        outline: Skin.
        fascia: Under the subcutaneous fat.
        muscle: All muscles.
        levator: Pelvic floor alone, which the organs must respect.
        vessel: Large vessels.
        cord: Spermatic cords and crura.
    """

    outline: FloatVoxels
    fascia: FloatVoxels
    muscle: FloatVoxels
    levator: FloatVoxels
    vessel: FloatVoxels
    cord: FloatVoxels


def draw_body(
    rng: np.random.Generator,
    geometry: VolumeGeometry,
    *,
    scale: NDArray[np.float64],
    girth: float,
    fat_mm: float,
) -> Body:
    """Draw the body of one patient."""
    outline = _outline(rng, geometry, scale, girth, fat_mm)
    _, y, _ = shapes.axes(geometry)
    uneven = 1.0 + 0.22 * shapes.smooth_noise(rng, geometry, length_mm=90) + np.float32(0.0015) * y
    fascia = (outline + 2.0 + fat_mm * np.clip(uneven, 0.5, 1.6)).astype(np.float32)
    fascia = _abdominal_fascia(fascia, geometry)
    muscle = _muscles(rng, geometry, scale, fascia)
    levator = _rods(geometry, _LEVATOR, scale, blend_mm=2.0)
    muscle = np.minimum(muscle, levator)
    vessel = _rods(geometry, _VESSELS, scale, blend_mm=1.0)
    cord = _rods(geometry, _CORDS, scale, blend_mm=2.0)
    return Body(outline, fascia, muscle, levator, vessel, cord)


def _outline(
    rng: np.random.Generator, geometry: VolumeGeometry, scale: NDArray[np.float64], girth: float, fat_mm: float
) -> FloatVoxels:
    x, y, z = shapes.axes(geometry)
    level = (z / np.float32(scale[2])).astype(np.float32)
    grown = (fat_mm - 19.0) * 0.8
    half = np.interp(level, _LEVELS, _HALF_WIDTH).astype(np.float32) * np.float32(scale[0] * girth) + grown
    front = np.interp(level, _LEVELS, _FRONT).astype(np.float32) * np.float32(scale[1] * girth) - 1.2 * grown
    back = np.interp(level, _LEVELS, _BACK).astype(np.float32) * np.float32(scale[1]) + 0.4 * grown
    # the largest patients still fit the field of view
    half, front, back = np.minimum(half, 207.0), np.maximum(front, -152.0), np.minimum(back, 125.0)
    middle, depth = (front + back) / 2, (back - front) / 2
    dy = y - middle
    gauge = (np.abs(x / half) ** 2.5 + np.abs(dy / depth) ** 2.5) ** (1 / 2.5)
    reach = np.sqrt(x**2 + dy**2)
    out: FloatVoxels = (reach * (1 - 1 / np.maximum(gauge, 0.05))).astype(np.float32)
    out = out + np.float32(3.0) * shapes.smooth_noise(rng, geometry, length_mm=110)
    shapes.add_ellipsoid(out, geometry, centre=(0, -96, -88), radii=(34, 26, 46), blend_mm=14)
    # the couch presses the buttocks flat
    flat = back.max() - 9.0
    out = shapes.smooth_max(out, np.broadcast_to(y - flat, out.shape).astype(np.float32), 14.0)
    deep = np.interp(level, (-150, -95, -70, -40, 0, 20), (-70, 20, 52, 84, 108, 130)).astype(np.float32)
    cleft = np.sqrt(x**2 + np.minimum(y - deep, 0) ** 2) - (0.8 + 0.10 * np.maximum(y - deep, 0))
    out = shapes.smooth_max(out, -cleft.astype(np.float32), 8.0)
    return np.clip(out, -shapes.FAR_MM, shapes.FAR_MM).astype(np.float32)


def _abdominal_fascia(fascia: FloatVoxels, geometry: VolumeGeometry) -> FloatVoxels:
    """The gap between the legs and the space around the genitals hold no muscle."""
    pad = shapes.ellipsoid(geometry, centre=(0, -104, -80), radii=(58, 44, 84))
    return shapes.smooth_max(fascia, -pad, 8.0)


def _rods(geometry: VolumeGeometry, rods: _Rods, scale: NDArray[np.float64], *, blend_mm: float) -> FloatVoxels:
    out = shapes.empty(geometry)
    for points, radii in rods:
        for side in (-1, 1):
            skeleton = np.array(points) * (side * scale[0], scale[1], scale[2])
            shapes.add_chain(out, geometry, points=skeleton, radii=np.array(radii) * scale.mean(), blend_mm=blend_mm)
    return out


def _muscles(
    rng: np.random.Generator, geometry: VolumeGeometry, scale: NDArray[np.float64], fascia: FloatVoxels
) -> FloatVoxels:
    nearest, second = shapes.empty(geometry), shapes.empty(geometry)
    for points, radii in _MUSCLES:
        for side in (-1, 1):
            skeleton = np.array(points) * (side * scale[0], scale[1], scale[2])
            skeleton = skeleton + rng.normal(0, 1.2, skeleton.shape)
            shapes.add_chain(
                nearest, geometry, points=skeleton, radii=np.array(radii) * scale.mean(), second=second, blend_mm=0.1
            )
    uneven = shapes.smooth_noise(rng, geometry, length_mm=26)
    x, y, _ = shapes.axes(geometry)
    cavity = np.sqrt((x / (52 * scale[0])) ** 2 + ((y - 15) / 62) ** 2).astype(np.float32)
    grown = nearest - (2.0 + 7.5 * np.clip((cavity - 1.0) / 0.35, 0, 1)) + 1.5 * uneven
    planes = 1.3 + 0.5 * uneven - 0.5 * (second - nearest)
    bulk = np.maximum(np.maximum(grown, planes), fascia + 1.0)
    return np.minimum(bulk, _abdominal_wall(geometry, scale, fascia)).astype(np.float32)


def _abdominal_wall(geometry: VolumeGeometry, scale: NDArray[np.float64], fascia: FloatVoxels) -> FloatVoxels:
    """Rectus abdominis from the pubis upwards; the three flat muscles from the iliac crest upwards."""
    x, y, z = shapes.axes(geometry)
    depth = -fascia
    half = np.interp(z, (-20, 0, 60, 160), (16, 26, 44, 52)).astype(np.float32) * np.float32(scale[0])
    thick = np.float32(4.5)
    flat, broad = np.abs(depth - 6) - thick + 4, np.abs(np.abs(x) - half / 2 - 1.5) - half / 2 + 4
    strap = np.sqrt(np.maximum(flat, 0) ** 2 + np.maximum(broad, 0) ** 2) + np.minimum(np.maximum(flat, broad), 0) - 4
    strap = np.maximum(np.maximum(strap, y + 45), -12 - z)
    sheet = np.maximum(np.abs(depth - 9) - 8, np.maximum(half + 4 - np.abs(x), 40 + 0.5 * np.abs(y + 40) - z))
    layers = 1.0 - np.minimum(np.abs(depth - 6.5), np.abs(depth - 11.5))
    sheet = np.maximum(np.maximum(sheet, layers), y - 60)
    return np.minimum(strap, sheet).astype(np.float32)
