"""Gas in the bowel, which is there on one day and gone on the next, painted over with the tissue around it.

The Hybrid method names this step and gives no numbers (Elmahdy et al. 2019a, Med Phys 46); detection by threshold and
painting go back to Yang et al. 2009 (PMC5148039). All numbers here are ours.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage, sparse
from scipy.sparse.linalg import cg

from imaging.arrays import FloatVoxels, MaskVoxels
from imaging.body import find_body
from imaging.geometry import VolumeGeometry
from imaging.resampling import resample
from imaging.transforms import AffineTransform
from imaging.volume import Volume


@dataclass(frozen=True)
class GasSettings:
    """What counts as gas, in voxels of the working grid of about 2 mm.

    Attributes:
        below_hu: Gas and what gas darkens.
        skin_voxels: So far beneath the body outline nothing counts: there the average of skin and air is as dark.
        closing_voxels: Bridges between bubbles that are closed.
        rim_voxels: How much wider than the gas is painted; its half-dark wall shows where the bowel is.
        ring_voxels: Width of the surroundings whose noise the paint gets.
        seed: Of the noise.
    """

    below_hu: float = -200.0
    skin_voxels: int = 3
    closing_voxels: int = 1
    rim_voxels: int = 0
    ring_voxels: int = 3
    seed: int = 1


def without_gas(hu: FloatVoxels, body: MaskVoxels, settings: GasSettings) -> FloatVoxels:
    """A CT (z, y, x) with its gas painted over, float32 HU; `hu` itself stays as it is.

    Args:
        hu: Hounsfield units.
        body: The patient with all hollows filled, on the same grid.
        settings: What counts as gas.
    """
    gas = gas_in(hu, body, settings)
    if not gas.any() or gas.all():
        return hu
    ring = ndimage.binary_dilation(gas, iterations=settings.ring_voxels) & body & ~gas
    noise = np.random.default_rng(settings.seed).normal(0.0, noise_sd(hu, ring), int(gas.sum()))
    painted = harmonic_fill(hu, gas)
    painted[gas] += noise.astype(np.float32)
    return painted


def gas_in(hu: FloatVoxels, body: MaskVoxels, settings: GasSettings) -> MaskVoxels:
    """Pockets of gas with their rim, (z, y, x) on the grid of `hu`."""
    inner = _eroded(body, settings.skin_voxels)
    dark = (hu < settings.below_hu) & inner
    if settings.closing_voxels:
        n = settings.closing_voxels
        # Closing erodes from the array's edge as well; a rim of empty voxels keeps the gas that touches it.
        closed = ndimage.binary_closing(np.pad(dark, n + 1, mode="edge"), iterations=n)
        dark = closed[n + 1 : -n - 1, n + 1 : -n - 1, n + 1 : -n - 1] & inner
    if settings.rim_voxels:
        dark = ndimage.binary_dilation(dark, iterations=settings.rim_voxels) & inner
    gas: MaskVoxels = dark
    return gas


def harmonic_fill(hu: FloatVoxels, hole: MaskVoxels) -> FloatVoxels:
    """Values in a hole (z, y, x) that are everywhere the mean of their face neighbours.

    The surroundings hold them; beyond the array nothing does. A linear ramp is filled by itself.

    Raises:
        ValueError: If nothing surrounds the hole.
    """
    if hole.all():
        raise ValueError("nothing surrounds the hole, so there is nothing to fill it from")
    filled = hu.astype(np.float32)
    count = int(hole.sum())
    if count == 0:
        return filled
    number = np.full(hole.shape, -1, dtype=np.int64)
    number[hole] = np.arange(count)
    degree, known = np.zeros(count), np.zeros(count)
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    for axis in range(3):
        for ahead in (True, False):
            here, there = _neighbours(axis, ahead)
            mine, other, value = number[here], number[there], hu[there]
            inside = mine >= 0
            degree[mine[inside]] += 1
            bound = inside & (other < 0)
            known[mine[bound]] += value[bound]
            pairs.append((mine[inside & ~bound], other[inside & ~bound]))
    rows, columns = (np.concatenate([pair[n] for pair in pairs]) for n in range(2))
    minus = sparse.csr_array((-np.ones(rows.size), (rows, columns)), shape=(count, count))
    start = np.full(count, known.sum() / max(_bounds(hole), 1))
    solution, _ = cg(minus + sparse.diags_array(degree), known, x0=start, rtol=1e-5, maxiter=500)
    filled[hole] = solution
    return filled


def noise_sd(hu: FloatVoxels, where: MaskVoxels) -> float:
    """Standard deviation of the noise in HU, from the differences of neighbours along x inside a mask.

    Their median absolute value is that of noise times sqrt(2) times 0.6745 even where a few cross an edge; 0 where
    the mask has no neighbours.
    """
    both = where[:, :, 1:] & where[:, :, :-1]
    if not both.any():
        return 0.0
    return float(np.median(np.abs(np.diff(hu, axis=2)[both])) / (0.6745 * np.sqrt(2.0)))


def body_on(volume: Volume, grid: VolumeGeometry, *, to_source: AffineTransform | None = None) -> MaskVoxels:
    """The filled body of a CT at the voxels of a grid, (z, y, x); nothing where no body is seen.

    Args:
        volume: The CT.
        grid: Where to look.
        to_source: Carries points of `grid` to points of `volume`; None where both share one patient.
    """
    patch = find_body(volume)
    if patch is None:
        return np.zeros(grid.shape, dtype=np.bool_)
    (k, j, i), (d, h, w) = patch.lower, patch.inside.shape
    there = patch.geometry.cropped(patch.lower, (k + d, j + h, i + w))
    return mask_on(patch.inside >= 0.5, there, grid, to_source=to_source)


def mask_on(
    mask: MaskVoxels, source: VolumeGeometry, grid: VolumeGeometry, *, to_source: AffineTransform | None = None
) -> MaskVoxels:
    """A mask on another grid, (z, y, x): inside where the trilinear value is at least one half."""
    inside: MaskVoxels = resample(Volume(mask.astype(np.int16) * 1000, source), grid, to_source=to_source) >= 500
    return inside


def _eroded(mask: MaskVoxels, times: int) -> MaskVoxels:
    """Beyond the array counts as inside, because the patient goes on there."""
    return ndimage.binary_erosion(mask, iterations=times, border_value=1) if times else mask


def _neighbours(axis: int, ahead: bool) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Indices of all voxels that have a neighbour on one side along an axis, and of those neighbours."""
    low, high = [slice(None)] * 3, [slice(None)] * 3
    low[axis], high[axis] = slice(None, -1), slice(1, None)
    return (tuple(low), tuple(high)) if ahead else (tuple(high), tuple(low))


def _bounds(hole: MaskVoxels) -> int:
    """Number of faces between the hole and its surroundings."""
    return sum(int((np.diff(hole.astype(np.int8), axis=axis) != 0).sum()) for axis in range(3))
