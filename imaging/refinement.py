"""Training-free refinement."""

import numba
import numpy as np
from numpy.typing import NDArray

from imaging.arrays import DvfVoxels, FloatVoxels
from imaging.displacement import vectors_on
from imaging.geometry import VolumeGeometry
from imaging.resampling import coarsen, resample, resample_deformed
from imaging.similarity import describe, unequal_bits
from imaging.smoothing import smooth
from imaging.transforms import AffineTransform, DisplacementField
from imaging.volume import Volume

PARAMS = dict(
    levels=((8.0, 3, (0.3, 1.0, 3.0, 10.0)), (4.0, 3, (0.3, 1.0, 3.0, 10.0))),
    smooth0=6.0, smooth1=8.0, iters=(1, 1, 1, 1), window=2,
)


def warp(moving, grid, affine, vectors):
    return resample_deformed(moving, DisplacementField(vectors, grid), affine=affine)


def refine(*, fixed, moving, affine, grid, start=None, params=PARAMS):
    fixed = coarsen(fixed, (4.0,) * 3)
    moving = coarsen(moving, (4.0,) * 3)
    field = DisplacementField(np.zeros((3, *grid.shape), np.float32) if start is None else start, grid)
    for mm, radius, alphas in params["levels"]:
        level = grid.covering((mm,) * 3)
        f8 = coarsen(fixed, (mm,) * 3)
        m8 = coarsen(moving, (mm,) * 3)
        u = vectors_on((field,), level)
        f = resample(f8, level)
        m, seen = warp(m8, level, affine, u)
        du = discrete(describe(f), describe(m), radius, alphas, params.get("stride", 2))
        u = u + du * np.float32(mm)
        u = smooth(u, params["smooth0"] / mm)
        field = DisplacementField(u, level)
    u = vectors_on((field,), grid) if field.geometry != grid else field.vectors.copy()
    f = resample(fixed, grid)
    df = describe(f)
    spacing = grid.spacing_mm[0]
    for radius in params["iters"]:
        m, seen = warp(moving, grid, affine, u)
        step, weight = block_match(df, describe(m), seen, radius, params["window"])
        s = params["smooth1"] / spacing
        num = smooth(step * weight, s)
        den = smooth(weight[None], s)
        u = u + num / (den + np.float32(params.get("eps", 0.5))) * np.float32(spacing)
        if params.get("smooth2", 0):
            u = smooth(u, params["smooth2"] / spacing)
    return DisplacementField(u, grid)


def discrete(df, dm, radius, alphas, stride):
    shape = tuple((n + stride - 1) // stride for n in df.shape)
    labels = np.array([(k, j, i) for k in range(-radius, radius + 1) for j in range(-radius, radius + 1)
                       for i in range(-radius, radius + 1)], np.int64)
    cost = np.empty((len(labels), *shape), np.float32)
    _costs(df, dm, labels, stride, cost)
    best = np.zeros((3, *shape), np.float32)
    coupled = np.zeros((3, *shape), np.float32)
    for alpha in (0.0, *alphas):
        _argmin(cost, labels, np.float32(alpha), coupled, best)
        coupled = smooth(best, 1.0)
    out = np.zeros((3, *df.shape), np.float32)
    _upsample(coupled, stride, out)
    return out


@numba.njit(cache=True, parallel=True)
def _upsample(c, stride, out):
    d, h, w = c.shape[1:]
    off = (stride - 1) / 2
    for k in numba.prange(out.shape[1]):
        z = min(max((k - off) / stride, 0.0), d - 1.0)
        ka = int(z); kb = min(ka + 1, d - 1); wz = np.float32(z - ka)
        for j in range(out.shape[2]):
            y = min(max((j - off) / stride, 0.0), h - 1.0)
            ja = int(y); jb = min(ja + 1, h - 1); wy = np.float32(y - ja)
            for i in range(out.shape[3]):
                x = min(max((i - off) / stride, 0.0), w - 1.0)
                ia = int(x); ib = min(ia + 1, w - 1); wx = np.float32(x - ia)
                for n in range(3):
                    a = (c[n, ka, ja, ia] * (1 - wx) + c[n, ka, ja, ib] * wx) * (1 - wy) + (c[n, ka, jb, ia] * (1 - wx) + c[n, ka, jb, ib] * wx) * wy
                    b = (c[n, kb, ja, ia] * (1 - wx) + c[n, kb, ja, ib] * wx) * (1 - wy) + (c[n, kb, jb, ia] * (1 - wx) + c[n, kb, jb, ib] * wx) * wy
                    out[n, k, j, i] = a * (1 - wz) + b * wz


@numba.njit(cache=True, parallel=True)
def _costs(df, dm, labels, stride, cost):
    depth, height, width = df.shape
    d, h, w = cost.shape[1:]
    for n in numba.prange(labels.shape[0]):
        lk, lj, li = labels[n]
        raw = np.zeros((d, h, w), np.float32)
        line = np.zeros(width, np.uint64)
        for k in range(depth):
            kk = min(max(k + lk, 0), depth - 1)
            for j in range(height):
                jj = min(max(j + lj, 0), height - 1)
                a = df[k, j]
                b = dm[kk, jj]
                lo = max(0, -li)
                hi = min(width, width - li)
                for i in range(lo, hi):
                    line[i] = unequal_bits(a[i], b[i + li])
                for i in range(0, lo):
                    line[i] = unequal_bits(a[i], b[0])
                for i in range(hi, width):
                    line[i] = unequal_bits(a[i], b[width - 1])
                r = raw[k // stride, j // stride]
                for i in range(width):
                    r[i // stride] += np.float32(line[i])
        _box3(raw)
        scale = np.float32(1.0 / stride**3)
        for k in range(d):
            for j in range(h):
                for i in range(w):
                    cost[n, k, j, i] = raw[k, j, i] * scale


@numba.njit(cache=True)
def _box3(raw):
    d, h, w = raw.shape
    t = np.empty_like(raw)
    third = np.float32(1 / 27)
    for k in range(d):
        for j in range(h):
            a = raw[k, max(j - 1, 0)]; b = raw[k, j]; c = raw[k, min(j + 1, h - 1)]
            for i in range(w):
                t[k, j, i] = a[i] + b[i] + c[i]
    for k in range(d):
        for j in range(h):
            a = t[max(k - 1, 0), j]; b = t[k, j]; c = t[min(k + 1, d - 1), j]
            o = raw[k, j]
            for i in range(w):
                o[i] = a[i] + b[i] + c[i]
    for k in range(d):
        for j in range(h):
            o = raw[k, j]
            prev = o[0]
            for i in range(w):
                cur = o[i]
                nxt = o[i + 1] if i + 1 < w else cur
                o[i] = (prev + cur + nxt) * third
                prev = cur


@numba.njit(cache=True, parallel=True)
def _argmin(cost, labels, alpha, coupled, best):
    d, h, w = cost.shape[1:]
    for k in numba.prange(d):
        low = np.empty(w, np.float32)
        at = np.empty(w, np.int32)
        for j in range(h):
            low[:] = 1e30
            at[:] = 0
            cz = coupled[2, k, j]; cy = coupled[1, k, j]; cx = coupled[0, k, j]
            for n in range(labels.shape[0]):
                c = cost[n, k, j]
                lz = np.float32(labels[n, 0]); ly = np.float32(labels[n, 1]); lx = np.float32(labels[n, 2])
                for i in range(w):
                    v = c[i] + alpha * ((cz[i] - lz) ** 2 + (cy[i] - ly) ** 2 + (cx[i] - lx) ** 2)
                    if v < low[i]:
                        low[i] = v
                        at[i] = n
            for i in range(w):
                best[2, k, j, i] = labels[at[i], 0]
                best[1, k, j, i] = labels[at[i], 1]
                best[0, k, j, i] = labels[at[i], 2]


def block_match(df, dm, seen, radius, window):
    """sub-voxel step (3) and weight from parabolas of windowed costs at +-1 voxel along each axis"""
    cost = np.empty((7, *df.shape), np.float32)
    shifts = np.array([(0, 0, 0), (0, 0, -1), (0, 0, 1), (0, -1, 0), (0, 1, 0), (-1, 0, 0), (1, 0, 0)], np.int64)
    _raw_costs(df, dm, shifts, cost)
    cost = smooth(cost, window / 2)
    step = np.empty((3, *df.shape), np.float32)
    weight = np.empty((3, *df.shape), np.float32)
    _parabola(cost, seen, step, weight)
    return step, weight.mean(axis=0)


@numba.njit(cache=True, parallel=True)
def _raw_costs(df, dm, shifts, cost):
    depth, height, width = df.shape
    for k in numba.prange(depth):
        for n in range(shifts.shape[0]):
            lk, lj, li = shifts[n]
            kk = min(max(k + lk, 0), depth - 1)
            for j in range(height):
                jj = min(max(j + lj, 0), height - 1)
                a = df[k, j]; b = dm[kk, jj]
                lo = max(0, -li); hi = min(width, width - li)
                o = cost[n, k, j]
                for i in range(lo, hi):
                    o[i] = np.float32(unequal_bits(a[i], b[i + li]))
                for i in range(0, lo):
                    o[i] = np.float32(unequal_bits(a[i], b[0]))
                for i in range(hi, width):
                    o[i] = np.float32(unequal_bits(a[i], b[width - 1]))


@numba.njit(cache=True, parallel=True)
def _parabola(cost, seen, step, weight):
    d, h, w = cost.shape[1:]
    for k in numba.prange(d):
        for j in range(h):
            for i in range(w):
                mid = cost[0, k, j, i]
                for c in range(3):
                    m = cost[1 + 2 * c, k, j, i]
                    p = cost[2 + 2 * c, k, j, i]
                    curve = m + p - 2 * mid
                    slope = p - m
                    # Gauss-Newton with a floor on the curvature, bounded to one voxel
                    q = max(curve, np.float32(0)) + abs(slope) * np.float32(0.5) + np.float32(0.05)
                    s = -np.float32(0.5) * slope / q
                    step[c, k, j, i] = min(max(s, np.float32(-1)), np.float32(1))
                    weight[c, k, j, i] = max(curve, np.float32(0)) * seen[k, j, i]
