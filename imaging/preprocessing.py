"""From two CTs and a plan to what the network eats; training uses these same functions.

The network's region is a box on the daily patient's axes that holds the planned organs after the affine. Both CTs are
resampled into it once, straight from native slices; the planning CT through the affine.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numba
import numpy as np

from imaging.arrays import FloatVoxels, Points
from imaging.geometry import VolumeGeometry, bounds
from imaging.manifest import HuWindow, ModelManifest
from imaging.masks import PackedMasks
from imaging.resampling import resample
from imaging.transforms import AffineTransform
from imaging.volume import Volume

ORGAN_MARGIN_MM = 15.0
"""Room around the planned organs for the day's motion and filling."""


@dataclass(frozen=True, eq=False)
class ModelInputs:
    """The three tensors of the contract, (1, channels, z, y, x) float32, on `region`."""

    fixed: FloatVoxels
    moving: FloatVoxels
    moving_labels: FloatVoxels
    region: VolumeGeometry


@dataclass(frozen=True)
class NetworkRegion:
    """Where the network looks.

    Attributes:
        geometry: The input grid; outputs are smaller by the margin on every side.
        holds_all: Whether the output covers all planned organs with their margin.
    """

    geometry: VolumeGeometry
    holds_all: bool


def network_region(organ_points_mm: Points, manifest: ModelManifest) -> NetworkRegion:
    """The smallest region size of the manifest whose output covers the organs, centred on them.

    Args:
        organ_points_mm: (n, 3) points of the planned organs, already on the daily patient, LPS millimetres.
        manifest: Region sizes, spacing and margin of the model.
    """
    lower, upper = bounds(organ_points_mm)
    wanted_zyx = ((upper - lower) + 2 * ORGAN_MARGIN_MM)[::-1]
    spacing = manifest.spacing_mm
    for size in manifest.region_sizes:
        output_mm = (np.asarray(size) - 2 * manifest.margin_voxels - 1) * spacing
        holds_all = bool(np.all(output_mm >= wanted_zyx))
        if holds_all:
            break
    z, y, x = size
    centre = (lower + upper) / 2
    origin = centre - (np.asarray([x, y, z]) - 1) * spacing / 2
    return NetworkRegion(VolumeGeometry(size, (origin[0], origin[1], origin[2]), (spacing,) * 3), holds_all)


def output_geometry(region: VolumeGeometry, manifest: ModelManifest) -> VolumeGeometry:
    """The grid of the network's outputs: the region without the margin."""
    m = manifest.margin_voxels
    z, y, x = region.shape
    return region.cropped((m, m, m), (z - m, y - m, x - m))


def model_inputs(
    *,
    daily: Volume,
    planning: Volume,
    organs: PackedMasks,
    label_of: Mapping[int, int],
    affine: AffineTransform,
    region: VolumeGeometry,
    manifest: ModelManifest,
) -> ModelInputs:
    """Resample, window and label.

    Args:
        daily: The fixed image.
        planning: The moving image.
        organs: Planned ROIs on a grid of the planning CT.
        label_of: The network's label of each ROI number that it knows; where organs overlap the highest label wins.
        affine: From the daily to the planning patient.
        region: The input grid on the daily patient.
        manifest: Window and label encoding.
    """
    labels = sample_labels(organs, label_of, affine=affine, region=region)
    if manifest.label_encoding == "one-hot":
        channels = np.stack([labels == organ.label for organ in manifest.organs]).astype(np.float32)
    else:
        channels = labels[None].astype(np.float32)
    return ModelInputs(
        fixed=windowed(resample(daily, region), manifest.hu_window)[None, None],
        moving=windowed(resample(planning, region, to_source=affine), manifest.hu_window)[None, None],
        moving_labels=channels[None],
        region=region,
    )


def windowed(hu: FloatVoxels, window: HuWindow) -> FloatVoxels:
    """Hounsfield units clipped and scaled as the manifest says."""
    hu, out = np.ascontiguousarray(hu), np.empty(hu.shape, dtype=np.float32)
    lower, upper, divisor = (np.float32(part) for part in (window.lower, window.upper, window.divisor))
    _windowed(hu.reshape(-1), lower, upper, divisor, out.reshape(-1))
    return out


@numba.njit(cache=True, parallel=True)
def _windowed(hu, lower, upper, divisor, out):  # type: ignore[no-untyped-def]
    for i in numba.prange(hu.size):
        out[i] = min(max(hu[i], lower), upper) / divisor


def sample_labels(
    organs: PackedMasks, label_of: Mapping[int, int], *, affine: AffineTransform, region: VolumeGeometry
) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    """Integer labels (z, y, x) of the planned organs on the region, nearest planning voxel."""
    known = sorted((label_of[n], b) for b, n in enumerate(organs.roi_numbers) if n in label_of)
    label_values = np.array([label for label, _ in known], dtype=np.uint8)
    bit_numbers = np.array([bit for _, bit in known], dtype=np.uint64)
    to_index = organs.geometry.lps_to_index @ affine.matrix @ region.index_to_lps
    labels = np.zeros(region.shape, dtype=np.uint8)
    _sample_labels(organs.bits, bit_numbers, label_values, to_index, labels)
    return labels


@numba.njit(cache=True, parallel=True)
def _sample_labels(bits, bit_numbers, label_values, to_index, labels):  # type: ignore[no-untyped-def]
    m, limits = to_index, (bits.shape[2], bits.shape[1], bits.shape[0])
    for k in numba.prange(labels.shape[0]):
        for j in range(labels.shape[1]):
            x0 = m[0, 1] * j + m[0, 2] * k + m[0, 3] + 0.5
            y0 = m[1, 1] * j + m[1, 2] * k + m[1, 3] + 0.5
            z0 = m[2, 1] * j + m[2, 2] * k + m[2, 3] + 0.5
            # The part of the row that can meet the bits, a voxel more on each side; the rest is not looked at.
            first, last = 0.0, labels.shape[2] - 1.0
            for axis, start in enumerate((x0, y0, z0)):
                if abs(m[axis, 0]) > 1e-9:
                    ends = -start / m[axis, 0], (limits[axis] - start) / m[axis, 0]
                    first, last = max(first, min(ends) - 1), min(last, max(ends) + 1)
                elif not 0 <= start < limits[axis]:
                    last = -1.0
            for i in range(int(first), int(last) + 1):
                x = int(np.floor(x0 + m[0, 0] * i))
                y = int(np.floor(y0 + m[1, 0] * i))
                z = int(np.floor(z0 + m[2, 0] * i))
                if 0 <= x < limits[0] and 0 <= y < limits[1] and 0 <= z < limits[2]:
                    word = bits[z, y, x]
                    if word == 0:
                        continue
                    for n in range(bit_numbers.size):
                        if (word >> bit_numbers[n]) & np.uint64(1):
                            labels[k, j, i] = label_values[n]
