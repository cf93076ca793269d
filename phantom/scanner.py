"""What the CT scanner adds: couch, noise with its texture, streaks between the hips, offset, rounding.

The noise of filtered back-projection has little power at low frequencies and is strongest where the rays have crossed
most tissue (Riederer 1978, Kijewski and Judy 1987); its amplitude map here is a blurred body mask, our simplification.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from imaging.arrays import FloatVoxels, HuVoxels
from imaging.geometry import VolumeGeometry
from phantom.clinic import Scanner


def add_couch(hu: FloatVoxels, geometry: VolumeGeometry, *, top_mm: float, scanner: Scanner) -> None:
    """Put the table top under the patient, in place; it belongs to the scanner and does not move with him."""
    x, y = geometry.axis_mm("x")[None, :], geometry.axis_mm("y")[:, None]
    if scanner.couch == "flat":
        depth = y - top_mm
        thickness, half = 42.0, 235.0
    else:
        depth = y - top_mm - 6.0 + 26.0 * (x / 210.0) ** 2
        thickness, half = 22.0, 205.0
    inside = np.minimum(np.minimum(depth, thickness - depth), half - np.abs(x))
    pixel = geometry.spacing_mm[0]
    shell = np.clip(inside / pixel + 0.5, 0, 1)
    core = np.clip((inside - 1.6) / pixel + 0.5, 0, 1)
    plate = (shell * 880.0 - core * 790.0).astype(np.float32) - 1000.0
    np.maximum(hu, plate[None], out=hu, where=(shell > 0)[None] & (hu < -300.0))


def acquire(rng: np.random.Generator, hu: FloatVoxels, geometry: VolumeGeometry, scanner: Scanner) -> HuVoxels:
    """The reconstructed image: noise added, offset applied, rounded to whole Hounsfield units."""
    out = np.empty(hu.shape, dtype=np.int16)
    texture, streak = _filters(hu.shape[1:], geometry, scanner)
    strength, rows = _strength(hu, geometry)
    for k in range(0, len(hu), 2):
        shape = (2, *hu.shape[1:])
        white = rng.standard_normal(shape, dtype=np.float32)
        spectrum = fft.fft2(white[0] + 1j * white[1])
        grain = fft.ifft2(spectrum * texture)
        lines = fft.ifft2(spectrum * streak)
        for n, (g, s) in enumerate(((grain.real, lines.real), (grain.imag, lines.imag))):
            if k + n >= len(hu):
                break
            noise = g * strength[k + n] + s * (scanner.streaks * rows[k + n])
            value = hu[k + n] + scanner.noise_hu * noise + scanner.offset_hu
            out[k + n] = np.clip(np.rint(value), -1024, 3071).astype(np.int16)
    return out


def _filters(
    shape: tuple[int, ...], geometry: VolumeGeometry, scanner: Scanner
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Amplitude spectra of grain and streaks, scaled so that white noise of SD 1 keeps SD 1."""
    fy = np.fft.fftfreq(shape[0], geometry.spacing_mm[1])[:, None]
    fx = np.fft.fftfreq(shape[1], geometry.spacing_mm[0])[None, :]
    f = np.sqrt(fx**2 + fy**2)
    grain = np.sqrt(f + 0.01) * np.exp(-((f * scanner.noise_grain_mm) ** 2))
    streak = np.exp(-((fx * 28.0) ** 2)) * np.abs(fy) ** 0.5 * np.exp(-((fy * 1.6 * scanner.noise_grain_mm) ** 2))
    grain, streak = (a / np.sqrt(np.mean(a**2)) for a in (grain, streak))
    return grain.astype(np.float32), streak.astype(np.float32)


def _strength(hu: FloatVoxels, geometry: VolumeGeometry) -> tuple[FloatVoxels, FloatVoxels]:
    """Relative noise amplitude per voxel, and streak amplitude per voxel."""
    step = max(1, round(7.0 / geometry.spacing_mm[0]))
    small = hu[:, ::step, ::step]
    pixel = step * geometry.spacing_mm[0]
    dense = np.clip((small + 1000.0) / 1000.0, 0.0, 1.7)
    dense = np.where(dense < 0.35, 0.0, dense)
    blurred = ndimage.gaussian_filter(dense, (2.0 / geometry.spacing_mm[2], 62.0 / pixel, 62.0 / pixel))
    amplitude = 0.16 + 0.95 * blurred**1.3
    lateral = dense.sum(axis=2, keepdims=True) * pixel
    rows = np.clip((lateral - 350.0) / 110.0, 0.0, 1.6) ** 1.5 * np.clip(blurred * 1.2, 0, 1)
    rows = ndimage.gaussian_filter1d(rows, 1.0, axis=1)
    return _enlarged(amplitude.astype(np.float32), hu.shape), _enlarged(rows.astype(np.float32), hu.shape)


def _enlarged(small: FloatVoxels, shape: tuple[int, ...]) -> FloatVoxels:
    """Linear enlargement in the plane."""
    out = small
    for axis in (1, 2):
        at = np.linspace(0, small.shape[axis] - 1, shape[axis])
        base = np.minimum(at.astype(np.int64), max(small.shape[axis] - 2, 0))
        t = (at - base).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
        upper = np.minimum(base + 1, small.shape[axis] - 1)
        out = np.take(out, base, axis=axis) * (1 - t) + np.take(out, upper, axis=axis) * t
    return out
