"""Bladder, prostate, seminal vesicles, rectum, penile bulb and bowel of the planning day."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imaging.arrays import FloatVoxels, Points
from imaging.geometry import VolumeGeometry
from phantom import shapes
from phantom.statistics import PatientTraits

RECTAL_WALL_MM = 3.0
BLADDER_WALL_MM = 3.2

_RECTUM_Z = (-74, -60, -46, -36, -22, -5, 15, 35, 55, 72, 90, 110)
_RECTUM_Y = (46, 38, 32, 34, 37, 40, 47, 56, 62, 60, 50, 38)
_RECTUM_R = (0.5, 0.62, 0.66, 0.8, 1.0, 1.08, 1.12, 1.1, 1.0, 0.9, 0.85, 0.85)
RECTUM_BOTTOM_Z = -58.0
RECTUM_TOP_Z = 66.0


@dataclass(frozen=True, eq=False)
class RectumAxis:
    """Centre line and radius of the rectum as functions of the height z."""

    z_mm: NDArray[np.float64]
    x_mm: NDArray[np.float64]
    y_mm: NDArray[np.float64]
    radius_mm: NDArray[np.float64]

    def centre(self, z_mm: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Coordinates x and y of the centre line at heights z."""
        return np.interp(z_mm, self.z_mm, self.x_mm), np.interp(z_mm, self.z_mm, self.y_mm)

    def radius(self, z_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Radius at heights z."""
        return np.interp(z_mm, self.z_mm, self.radius_mm)


@dataclass(frozen=True, eq=False)
class Organs:
    """Fields of the organs on their own grid, and the landmarks that motion needs.

    Attributes:
        bladder: Outer wall.
        prostate: Capsule.
        vesicles: Both seminal vesicles.
        rectum: Outer wall between anal verge and rectosigmoid junction.
        bowel_tube: The whole tube, sigmoid included, of which the rectum is a part.
        bulb: Penile bulb.
        loops: Small bowel and sigmoid loops.
        axis: Centre line of the rectum.
        bladder_neck: Where the bladder opens into the prostate.
        prostate_centre: Middle of the prostate.
    """

    bladder: FloatVoxels
    prostate: FloatVoxels
    vesicles: FloatVoxels
    rectum: FloatVoxels
    bowel_tube: FloatVoxels
    bulb: FloatVoxels
    loops: FloatVoxels
    axis: RectumAxis
    bladder_neck: tuple[float, float, float]
    prostate_centre: tuple[float, float, float]


def draw_organs(
    rng: np.random.Generator,
    geometry: VolumeGeometry,
    traits: PatientTraits,
    *,
    bone: FloatVoxels,
) -> Organs:
    """Draw the organs of one patient so that they touch but never overlap each other or bone."""
    scale = np.array(traits.scale)
    prostate, centre, half = _prostate(rng, geometry, traits)
    axis = _rectum_axis(rng, traits, scale, back_of_prostate=centre[1] + half[1])
    tube = _tube(rng, geometry, axis)
    tube = shapes.smooth_max(tube, 2.0 - bone, 3.0)
    prostate = shapes.smooth_max(prostate, 2.5 - bone, 3.0)
    prostate = shapes.smooth_max(prostate, 1.0 - tube, 3.0)
    prostate = _to_volume(prostate, geometry, traits.prostate_cc)
    tube = shapes.smooth_max(tube, 1.2 - prostate, 3.0)
    vesicles = _vesicles(rng, geometry, traits, centre, half)
    vesicles = shapes.smooth_max(vesicles, 0.6 - prostate, 1.5)
    vesicles = shapes.smooth_max(vesicles, 1.2 - tube, 2.0)
    neck = (centre[0], centre[1] - 3.0, centre[2] + half[2] - 3.0)
    bladder = _bladder(rng, geometry, traits, neck, [prostate, vesicles, tube, bone])
    bulb = shapes.ellipsoid(geometry, centre=(0, 11 * scale[1], -55 * scale[2]), radii=(9, 9.5, 7.5))
    bulb = shapes.smooth_max(bulb, 1.0 - tube, 2.0)
    _, _, z = shapes.axes(geometry)
    ends = np.maximum(RECTUM_BOTTOM_Z * scale[2] - z, z - RECTUM_TOP_Z * scale[2])
    rectum = shapes.smooth_max(tube, np.broadcast_to(ends, tube.shape).astype(np.float32), 2.0)
    loops = _loops(rng, geometry, scale, [bladder, tube, bone])
    return Organs(bladder, prostate, vesicles, rectum, tube, bulb, loops, axis, neck, centre)


def _prostate(
    rng: np.random.Generator, geometry: VolumeGeometry, traits: PatientTraits
) -> tuple[FloatVoxels, tuple[float, float, float], tuple[float, float, float]]:
    # half axes of an ellipsoid 1.2 : 0.85 : 1.0 of the wanted volume
    unit = (traits.prostate_cc * 1000 / (4 / 3 * np.pi * 1.2 * 0.86 * 1.0)) ** (1 / 3)
    half = (1.2 * unit, 0.86 * unit, 1.0 * unit)
    scale = traits.scale
    apex_z = -34 * scale[2] + rng.normal(0, 2)
    centre = (float(rng.normal(0, 1)), float(2 + rng.normal(0, 2)), float(apex_z + half[2]))
    x, y, z = (a - np.float32(c) for a, c in zip(shapes.axes(geometry), centre, strict=True))
    # narrower and further forward towards the apex, flat at the back
    taper = 1.0 + 0.16 * np.clip(z / half[2], -1.2, 1.2)
    shift = -2.0 * np.clip(z / half[2], -1.2, 1.2)
    gx, gy, gz = x / (half[0] * taper), (y - shift) / (half[1] * taper), z / half[2]
    gauge = (np.abs(gx) ** 2.3 + np.abs(gy) ** 2.3 + np.abs(gz) ** 2.3) ** (1 / 2.3)
    reach = np.sqrt(x**2 + y**2 + z**2)
    out = (reach * (1 - 1 / np.maximum(gauge, 0.03))).astype(np.float32)
    hollow = np.broadcast_to(y - 0.9 * half[1] + 2.5 * np.exp(-((x / 9) ** 2)), out.shape).astype(np.float32)
    out = shapes.smooth_max(out, hollow, 6.0)
    return out + 0.9 * shapes.smooth_noise(rng, geometry, length_mm=16), centre, half


def _rectum_axis(
    rng: np.random.Generator, traits: PatientTraits, scale: NDArray[np.float64], *, back_of_prostate: float
) -> RectumAxis:
    z = np.linspace(-80, 120, 81)
    knots = np.linspace(-80, 120, 9)
    wave = np.interp(z, knots, rng.normal(0, 1, 9))
    wave = np.convolve(np.pad(wave, 6, mode="edge"), np.hanning(13) / np.hanning(13).sum(), mode="valid")
    radius = np.interp(z, _RECTUM_Z, _RECTUM_R) * traits.rectum_mm * np.exp(0.16 * wave * (z > -40))
    x = traits.rectum_side_mm * np.interp(z, (-30, 20, 60, 90, 115), (0, 0.3, 1, 1.6, 3))
    y = np.interp(z, _RECTUM_Z, _RECTUM_Y) * scale[1]
    # at the prostate the anterior wall lies against its back
    wanted = back_of_prostate + 2.0 + radius
    near = np.exp(-(((z + 12) / 22) ** 4))
    y = y + near * (np.maximum(wanted, 26) - y)
    smooth = np.hanning(9) / np.hanning(9).sum()
    x, y, radius = (np.convolve(np.pad(a, 4, mode="edge"), smooth, mode="valid") for a in (x, y, radius))
    return RectumAxis(z * scale[2], x, y, radius)


def _tube(rng: np.random.Generator, geometry: VolumeGeometry, axis: RectumAxis) -> FloatVoxels:
    out = shapes.empty(geometry)
    points = np.stack([axis.x_mm, axis.y_mm, axis.z_mm], axis=1)
    shapes.add_chain(out, geometry, points=points, radii=axis.radius_mm, blend_mm=0.1)
    return (out + 1.0 * shapes.smooth_noise(rng, geometry, length_mm=20)).astype(np.float32)


def _vesicles(
    rng: np.random.Generator,
    geometry: VolumeGeometry,
    traits: PatientTraits,
    centre: tuple[float, float, float],
    half: tuple[float, float, float],
) -> FloatVoxels:
    out = shapes.empty(geometry)
    r = traits.vesicle_mm
    back, top = centre[1] + 0.62 * half[1], centre[2] + half[2]
    for side in (-1, 1):
        reach = float(np.clip(rng.normal(33, 3), 27, 39))
        rise = float(np.clip(rng.normal(13, 4), 4, 22))
        points = np.array(
            [
                (3, back, top - 2),
                (0.35 * reach, back + 3, top + 0.35 * rise + 2),
                (0.7 * reach, back + 7, top + 0.7 * rise + 2),
                (reach, back + 12, top + rise),
            ]
        )
        points[:, 0] = centre[0] + side * points[:, 0]
        shapes.add_chain(out, geometry, points=points, radii=[0.75 * r, r, 1.05 * r, 0.6 * r], blend_mm=2.0)
    return (out + 0.9 * shapes.smooth_noise(rng, geometry, length_mm=9)).astype(np.float32)


def _bladder(
    rng: np.random.Generator,
    geometry: VolumeGeometry,
    traits: PatientTraits,
    neck: tuple[float, float, float],
    obstacles: list[FloatVoxels],
) -> FloatVoxels:
    wide, tall = float(np.clip(rng.normal(1.12, 0.08), 0.95, 1.3)), float(np.clip(rng.normal(0.92, 0.08), 0.75, 1.1))
    lean = float(rng.normal(0.35, 0.12))
    wobble = shapes.smooth_noise(rng, geometry, length_mm=38)
    _, along_y, along_z = shapes.axes(geometry)
    pubis = traits.scale[1] * (-32.0 - 0.9 * np.maximum(along_z - 6.0, 0.0)) - along_y
    behind_pubis = np.broadcast_to(pubis, geometry.shape).astype(np.float32)
    unit = (traits.bladder_cc * 1000 / (4 / 3 * np.pi)) ** (1 / 3)
    for _ in range(5):
        half = (wide * unit, unit / (wide * tall), tall * unit)
        centre = (neck[0], neck[1] - 0.42 * half[1] - 2, neck[2] + 0.78 * half[2])
        x, y, z = (a - np.float32(c) for a, c in zip(shapes.axes(geometry), centre, strict=True))
        y = y + lean * z * (z > 0)
        narrow = 1.0 + 0.14 * np.clip(z / half[2], -1, 1)
        gauge = np.sqrt((x / (half[0] * narrow)) ** 2 + (y / half[1]) ** 2 + (z / half[2]) ** 2)
        reach = np.sqrt(x**2 + y**2 + z**2)
        out = (reach * (1 - 1 / np.maximum(gauge, 0.03)) + 1.6 * wobble).astype(np.float32)
        out = shapes.smooth_max(out, behind_pubis, 10.0)
        for gap, field in zip((0.8, 1.2, 1.5, 4.0), obstacles, strict=True):
            out = shapes.smooth_max(out, gap - field, 5.0)
        volume = float((out < 0).sum()) * geometry.voxel_cc
        unit *= (traits.bladder_cc / max(volume, 1.0)) ** (1 / 3)
    return out


def _to_volume(field: FloatVoxels, geometry: VolumeGeometry, wanted_cc: float) -> FloatVoxels:
    """Grow or shrink a shape by an equal distance everywhere until it has the wanted volume."""
    low, high = -6.0, 6.0
    for _ in range(12):
        middle = (low + high) / 2
        if float((field < middle).sum()) * geometry.voxel_cc < wanted_cc:
            low = middle
        else:
            high = middle
    return (field - np.float32(middle)).astype(np.float32)


def _loops(
    rng: np.random.Generator, geometry: VolumeGeometry, scale: NDArray[np.float64], obstacles: list[FloatVoxels]
) -> FloatVoxels:
    """Bowel: a random tangle of tubes in the abdominal cavity."""
    out = shapes.empty(geometry)
    for _ in range(20):
        start = np.array((rng.uniform(-75, 75), rng.uniform(-85, 5), rng.uniform(52, 125)))
        steps = rng.normal(0, 1, (9, 3)) * (20, 12, 10)
        walk = np.cumsum(steps, axis=0) * 0.8 + start
        low, high = np.array((-82, -92, 46)), np.array((82, 14, 135))
        walk = low + np.abs((walk - low) % (2 * (high - low)) - (high - low))
        fine = _curve(walk, 6) * scale
        radius = rng.uniform(8, 13.5)
        single = shapes.empty(geometry)
        shapes.add_chain(single, geometry, points=fine, radii=np.full(len(fine), radius), blend_mm=1.0, margin_mm=8.0)
        single = np.maximum(single, 1.0 - out)
        out = np.minimum(out, single)
    for field in obstacles:
        out = np.maximum(out, 2.0 - field)
    return (out + 0.8 * shapes.smooth_noise(rng, geometry, length_mm=18)).astype(np.float32)


def _curve(points: Points, between: int) -> Points:
    """Catmull-Rom curve through the points."""
    padded = np.concatenate([points[:1], points, points[-1:]])
    t = np.arange(between)[:, None] / between
    pieces = []
    for a, b, c, d in zip(padded[:-3], padded[1:-2], padded[2:-1], padded[3:], strict=True):
        pieces.append(0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3))
    return np.concatenate([*pieces, points[-1:]])
