"""From fields to Hounsfield units: what each point of the scan is made of."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from imaging.arrays import FloatVoxels
from imaging.geometry import VolumeGeometry
from imaging.transforms import Deformation
from phantom.anatomy import CLOSE, WIDE, Anatomy
from phantom.clinic import Scanner
from phantom.contents import Contents
from phantom.organs import BLADDER_WALL_MM, RECTAL_WALL_MM
from phantom.texture import Textures


@njit(cache=True, fastmath=True)
def _look(field, origin, spacing, x, y, z, out, hold):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    """Trilinear values of all channels; False where the point lies outside and is not held at the edge."""
    fx, fy, fz = (x - origin[0]) / spacing[0], (y - origin[1]) / spacing[1], (z - origin[2]) / spacing[2]
    nz, ny, nx = field.shape[0], field.shape[1], field.shape[2]
    if not hold and (fx < 0 or fy < 0 or fz < 0 or fx > nx - 1 or fy > ny - 1 or fz > nz - 1):
        return False
    fx, fy, fz = min(max(fx, 0.0), nx - 1.001), min(max(fy, 0.0), ny - 1.001), min(max(fz, 0.0), nz - 1.001)
    i, j, k = int(fx), int(fy), int(fz)
    u, v, w = fx - i, fy - j, fz - k
    a, b, c, d = (1 - v) * (1 - u), (1 - v) * u, v * (1 - u), v * u
    for n in range(field.shape[3]):
        low = a * field[k, j, i, n] + b * field[k, j, i + 1, n]
        low += c * field[k, j + 1, i, n] + d * field[k, j + 1, i + 1, n]
        high = a * field[k + 1, j, i, n] + b * field[k + 1, j, i + 1, n]
        high += c * field[k + 1, j + 1, i, n] + d * field[k + 1, j + 1, i + 1, n]
        out[n] = low * (1 - w) + high * w
    return True


@njit(cache=True, fastmath=True)
def _cover(distance, width):  # type: ignore[no-untyped-def]
    t = min(max(0.5 - distance / width, 0.0), 1.0)
    return t * t * (3.0 - 2.0 * t)


@njit(cache=True, fastmath=True)
def _grain(cube, x, y, z, cell):  # type: ignore[no-untyped-def]
    last = cube.shape[0] - 1
    i, j, k = int(x / cell + 4096.0), int(y / cell + 4096.0), int(z / cell + 4096.0)
    return cube[k & last, j & last, i & last]


@njit(cache=True, fastmath=True)
def _soft(q, p, wide, close, inside_close, filling, has_filling, hu, width, fine, coarse):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    """Hounsfield units of soft tissue at planning point q and daily point p."""
    g1 = _grain(fine, q[0], q[1], q[2], 0.8)
    g2 = _grain(coarse, q[0], q[1], q[2], 1.0)
    fat = hu[0] + 5.0 * g1 + 4.0 * g2
    ridge = 1.0 - abs(_grain(coarse, q[2] + 17.0, q[0], q[1], 1.6)) * 4.2
    if ridge > 0.0:
        fat += 44.0 * ridge
    value = fat
    strand = _grain(coarse, q[0] + 0.3 * q[2], q[1] + 0.2 * q[2], 0.28 * q[2], 0.8)
    lean = hu[1] + 4.0 * g1 + 5.0 * strand
    if strand > 1.05:
        lean -= 48.0 * min(strand - 1.05, 0.9)
    c = _cover(wide[2], width)
    value += c * (lean - value)
    c = _cover(wide[4], width)
    value += c * (hu[1] - 16.0 + 6.0 * g2 - value)
    c = _cover(wide[3], width)
    value += c * (hu[2] + 2.0 * g1 - value)
    if inside_close:
        d = close[5]
        if d < width:
            wall, lumen = _cover(d, width), _cover(d + 2.2, width)
            gas = _cover(-6.0 * filling[1], width) if has_filling else 0.0
            content = 22.0 + 16.0 * _grain(coarse, p[0], p[1], p[2], 1.0) + 6.0 * g1
            content += gas * (-930.0 - content)
            value += wall * (38.0 + 4.0 * g2 - value)
            value += lumen * (content - value)
        value += _cover(close[4], width) * (hu[1] - 4.0 + 3.0 * g1 - value)
        value += _cover(close[2], width) * (hu[3] - 6.0 + 7.0 * g1 + 4.0 * g2 - value)
        value += _cover(close[1], width) * (hu[3] + 3.0 * g1 + 3.0 * g2 - value)
        if hu[10] > 0 and close[1] < -5.0 and g2 > 2.3:
            value += 260.0 * min(g2 - 2.3, 0.8)
        d = close[0]
        if d < width:
            value += _cover(d, width) * (34.0 + 3.0 * g1 - value)
            value += _cover(d + hu[5], width) * (hu[4] - value)
        d = close[3]
        if d < width:
            value += _cover(d, width) * (42.0 + 3.0 * g1 - value)
            stool = _grain(coarse, p[0] + 31.0, p[1], p[2], 0.9)
            content = 38.0 + 18.0 * stool
            if stool > 1.0:
                content -= 220.0 * min(stool - 1.0, 1.2) * hu[7]
            gas = _cover(-6.0 * filling[0], width) if has_filling else 0.0
            content += gas * (-940.0 - content)
            shut = 9.0 * min(max((-36.0 - q[2]) / 10.0, 0.0), 1.0)
            value += _cover(d + hu[6] + shut, width) * (content - value)
    return value


@njit(cache=True, fastmath=True)
def _hard(q, wide, value, hu, width, fine, coarse):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    """The same with bone."""
    d = wide[5]
    g1 = _grain(fine, q[0], q[1], q[2], 0.8)
    g2 = _grain(coarse, q[0], q[1], q[2], 1.0)
    if d < width:
        bark = 1.9 + 0.5 * g2
        marrow = hu[9] + 45.0 * g1 + 30.0 * g2
        dense = hu[8] + 60.0 * g2
        c = _cover(d, width)
        value += c * (dense - value)
        value += _cover(d + bark, width + 0.6) * (marrow - value)
    d = wide[6]
    if d < width:
        down = min(max((-30.0 - q[2]) / 40.0, 0.0), 1.0)
        bark = 1.5 + 4.5 * down
        marrow = (hu[9] + 90.0 + 40.0 * g1 + 30.0 * g2) * (1 - down) + down * (-40.0 + 20.0 * g1)
        dense = hu[8] + 60.0 + 350.0 * down + 50.0 * g2
        c = _cover(d, width)
        value += c * (dense - value)
        value += _cover(d + bark, width + 0.6) * (marrow - value)
    return value


@njit(cache=True, fastmath=True)
def _render(  # type: ignore[no-untyped-def]  # noqa: PLR0917, PLR0912
    out,
    origin,
    spacing,
    offsets,
    matrix,
    vectors,
    v_origin,
    v_spacing,
    wide,
    w_origin,
    w_spacing,
    close,
    c_origin,
    c_spacing,
    filling,
    f_origin,
    f_spacing,
    hu,
    width,
    fine,
    coarse,
):
    shift, w, c, f = np.zeros(3), np.zeros(wide.shape[3]), np.zeros(close.shape[3]), np.zeros(2)
    p, q, r = np.zeros(3), np.zeros(3), np.zeros(3)
    for k in range(out.shape[0]):
        for j in range(out.shape[1]):
            p[1] = origin[1] + j * spacing[1]
            skip = 0
            for i in range(out.shape[2]):
                if skip > 0:
                    skip -= 1
                    out[k, j, i] = -1000.0
                    continue
                p[0] = origin[0] + i * spacing[0]
                total, nearest = 0.0, 1e9
                for offset in offsets:
                    p[2] = origin[2] + k * spacing[2] + offset
                    for n in range(3):
                        r[n] = p[n]
                    if _look(vectors, v_origin, v_spacing, p[0], p[1], p[2], shift, False):
                        for n in range(3):
                            r[n] += shift[n]
                    for n in range(3):
                        q[n] = matrix[n, 0] * r[0] + matrix[n, 1] * r[1] + matrix[n, 2] * r[2] + matrix[n, 3]
                    beyond_x = abs(q[0]) - abs(w_origin[0])
                    if beyond_x > 0.0 or q[1] < w_origin[1] or q[1] > w_origin[1] + w_spacing[1] * (wide.shape[1] - 1):
                        total += -1000.0
                        nearest = 0.0
                        continue
                    _look(wide, w_origin, w_spacing, q[0], q[1], q[2], w, True)
                    nearest = min(nearest, w[0])
                    if w[0] > width:
                        total += -1000.0
                        continue
                    near = _look(close, c_origin, c_spacing, q[0], q[1], q[2], c, False)
                    full = False
                    if near and (c[3] < width or c[5] < width):
                        full = _look(filling, f_origin, f_spacing, p[0], p[1], p[2], f, True)
                    value = _soft(q, p, w, c, near, f, full, hu, width, fine, coarse)
                    value = _hard(q, w, value, hu, width, fine, coarse)
                    skin = _cover(-w[0] - 1.6, 1.6)
                    value += skin * (5.0 - value) * 0.8
                    total += -1000.0 + _cover(w[0], width) * (value + 1000.0)
                out[k, j, i] = total / len(offsets)
                # far from the skin the next voxels of the row are air as well
                if nearest > 12.0:
                    skip = int(0.3 * nearest / spacing[0])


@njit(cache=True, fastmath=True)
def _evaluate(out, origin, spacing, matrix, vectors, v_origin, v_spacing, field, f_origin, f_spacing, far):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    shift, r, value = np.zeros(3), np.zeros(3), np.zeros(field.shape[3])
    for k in range(out.shape[0]):
        z = origin[2] + k * spacing[2]
        for j in range(out.shape[1]):
            y = origin[1] + j * spacing[1]
            for i in range(out.shape[2]):
                x = origin[0] + i * spacing[0]
                r[0], r[1], r[2] = x, y, z
                if _look(vectors, v_origin, v_spacing, x, y, z, shift, False):
                    for n in range(3):
                        r[n] += shift[n]
                qx = matrix[0, 0] * r[0] + matrix[0, 1] * r[1] + matrix[0, 2] * r[2] + matrix[0, 3]
                qy = matrix[1, 0] * r[0] + matrix[1, 1] * r[1] + matrix[1, 2] * r[2] + matrix[1, 3]
                qz = matrix[2, 0] * r[0] + matrix[2, 1] * r[1] + matrix[2, 2] * r[2] + matrix[2, 3]
                inside = _look(field, f_origin, f_spacing, qx, qy, qz, value, far < 0)
                for n in range(field.shape[3]):
                    out[k, j, i, n] = value[n] if inside else far


def _map_of(
    deformation: Deformation,
) -> tuple[NDArray[np.float64], FloatVoxels, NDArray[np.float64], NDArray[np.float64]]:
    matrix = np.ascontiguousarray(deformation.affine.matrix[:3])
    if not deformation.fields:
        return matrix, np.zeros((2, 2, 2, 3), dtype=np.float32), np.full(3, 1e6), np.ones(3)
    field = deformation.fields[0]
    vectors = np.ascontiguousarray(np.moveaxis(field.vectors, 0, -1))
    return matrix, vectors, np.array(field.geometry.origin_mm), np.array(field.geometry.spacing_mm)


def render(
    anatomy: Anatomy,
    geometry: VolumeGeometry,
    deformation: Deformation,
    contents: Contents,
    textures: Textures,
    *,
    scanner: Scanner,
) -> FloatVoxels:
    """Noise-free Hounsfield units (z, y, x) of the patient on a scan grid, averaged over the slice thickness."""
    t = anatomy.traits
    soft = 40.0
    hu = np.array(
        [
            t.fat_hu,
            *(soft + scanner.contrast * (v - soft) for v in (t.muscle_hu, t.vessel_hu, t.prostate_hu, t.urine_hu)),
            BLADDER_WALL_MM,
            RECTAL_WALL_MM,
            contents.froth,
            t.bone_hu,
            t.marrow_hu,
            float(t.has_calcifications),
        ]
    )
    count = max(2, int(np.ceil(geometry.spacing_mm[2] / 1.0)))
    offsets = ((np.arange(count) + 0.5) / count - 0.5) * geometry.spacing_mm[2]
    width = max(scanner.blur_mm, 1.2 * geometry.spacing_mm[0])
    out = np.empty(geometry.shape, dtype=np.float32)
    matrix, vectors, v_origin, v_spacing = _map_of(deformation)
    _render(
        out, np.array(geometry.origin_mm), np.array(geometry.spacing_mm), offsets, matrix, vectors, v_origin, v_spacing,
        anatomy.wide, np.array(WIDE.origin_mm), np.array(WIDE.spacing_mm),
        anatomy.close, np.array(CLOSE.origin_mm), np.array(CLOSE.spacing_mm),
        contents.field, np.array(contents.geometry.origin_mm), np.array(contents.geometry.spacing_mm),
        hu, width, textures.fine, textures.coarse,
    )  # fmt: skip
    return out


def evaluate(
    fields: FloatVoxels,
    grid: VolumeGeometry,
    geometry: VolumeGeometry,
    deformation: Deformation,
    *,
    hold_edge: bool = False,
) -> FloatVoxels:
    """Planning fields (z, y, x, n) of `grid` at the voxel centres of a daily grid, carried by the exact map.

    Args:
        fields: Values on `grid`, channels last.
        grid: Where they are defined.
        geometry: Where they are wanted.
        deformation: From there to the planning patient.
        hold_edge: Whether points beyond `grid` take the value of its edge; otherwise they are far outside.
    """
    out = np.empty((*geometry.shape, fields.shape[3]), dtype=np.float32)
    matrix, vectors, v_origin, v_spacing = _map_of(deformation)
    _evaluate(
        out, np.array(geometry.origin_mm), np.array(geometry.spacing_mm), matrix, vectors, v_origin, v_spacing,
        fields, np.array(grid.origin_mm), np.array(grid.spacing_mm), -1.0 if hold_edge else 60.0,
    )  # fmt: skip
    return out
