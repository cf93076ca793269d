"""Cases as pairs of arrays on the model grid: resampled once, aligned as in the clinic, kept on disk.

A cached pair is a folder with images.npy (2, z, y, x) int16 HU, labels.npy (2, z, y, x) uint8, centres.npy
(groups, n, 3) int16 and pair.json; index 0 is the fixed (daily) side. Affine and resampling are those of `imaging`, so
the network is trained on what the service will show it.
"""

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from imaging.alignment import align
from imaging.arrays import FloatVoxels, LabelVoxels, Points
from imaging.geometry import VolumeGeometry
from imaging.masks import PackedMasks
from imaging.preprocessing import sample_labels
from imaging.resampling import resample
from imaging.transforms import AffineTransform
from imaging.volume import Volume
from training.durable import put_in_place
from training.names import patient_of

if TYPE_CHECKING:
    from training.evaluation.system import LabelledVolume
    from training.recipe import Recipe

BODY_HU = -300
CENTRES_PER_GROUP = 1024


@dataclass(frozen=True, eq=False)
class LabelledScan:
    """A CT with integer labels (z, y, x) on its own grid."""

    volume: Volume
    labels: LabelVoxels


@dataclass(frozen=True, eq=False)
class AlignedPair:
    """Both sides on one grid of the daily patient, planning after the affine.

    Attributes:
        images: (2, z, y, x) int16 HU, fixed then moving.
        labels: (2, z, y, x) uint8.
        geometry: The grid, LPS millimetres of the daily patient.
        affine: From the daily to the planning patient.
    """

    images: NDArray[np.int16]
    labels: LabelVoxels
    geometry: VolumeGeometry
    affine: AffineTransform


def packed_organs(scan: "LabelledVolume", labels: int) -> PackedMasks:
    """Labels 1, 2, ... as ROIs of the same numbers, on the part of the scan's grid that holds them.

    Raises:
        ValueError: If the scan has no labelled voxel.
    """
    lower, upper = label_box(scan.labels)
    inside = scan.labels[tuple(slice(low, high) for low, high in zip(lower, upper, strict=True))]
    bit_of_label = np.zeros(256, dtype=np.uint64)
    bit_of_label[1 : labels + 1] = np.uint64(1) << np.arange(labels, dtype=np.uint64)
    return PackedMasks(bit_of_label[inside], tuple(range(1, labels + 1)), scan.volume.geometry.cropped(lower, upper))


def label_box(labels: LabelVoxels) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """First and past-the-last index (z, y, x) of the box round all labelled voxels.

    Raises:
        ValueError: If no voxel is labelled.
    """
    found = [np.flatnonzero(labels.any(axis=tuple(other for other in range(3) if other != axis))) for axis in range(3)]
    if not len(found[0]):
        raise ValueError("the scan has no organ: no voxel is labelled")
    (z0, y0, x0), (z1, y1, x1) = ([int(index[end]) for index in found] for end in (0, -1))
    return (z0, y0, x0), (z1 + 1, y1 + 1, x1 + 1)


def aligned_pair(
    *,
    daily: LabelledScan,
    planning: LabelledScan,
    spacing_mm: float,
    margin_voxels: int,
    affine: AffineTransform | None = None,
) -> AlignedPair:
    """Align the planning to the daily CT and resample both once to a box round the organs of both days.

    Args:
        daily: The fixed side.
        planning: The moving side.
        spacing_mm: Of the model grid, isotropic.
        margin_voxels: Round the organs. The box ends where both CTs end, because what lies beyond is air for whoever
            cuts patches.
        affine: From the daily to the planning patient, where it is known already.

    Raises:
        RegistrationRejected: If the affine does not pass its success test.
    """
    affine = affine or align(fixed=daily.volume, moving=planning.volume)
    points = np.concatenate(
        [
            _corners(*label_box(daily.labels), daily.volume.geometry),
            affine.to_fixed(_corners(*label_box(planning.labels), planning.volume.geometry)),
        ]
    )
    ends = np.concatenate([_ends(daily.volume.geometry), affine.to_fixed(_ends(planning.volume.geometry))])
    margin = margin_voxels * spacing_mm
    lower = np.maximum(points.min(axis=0) - margin, ends.min(axis=0))
    upper = np.minimum(points.max(axis=0) + margin, ends.max(axis=0))
    counts = np.ceil((upper - lower) / spacing_mm).astype(int) + 1
    grid = VolumeGeometry(
        (int(counts[2]), int(counts[1]), int(counts[0])),
        (float(lower[0]), float(lower[1]), float(lower[2])),
        (spacing_mm,) * 3,
    )
    images = [resample(daily.volume, grid), resample(planning.volume, grid, to_source=affine)]
    labels = [labels_on(daily, grid, AffineTransform.identity()), labels_on(planning, grid, affine)]
    return AlignedPair(np.rint(np.stack(images)).astype(np.int16), np.stack(labels), grid, affine)


def labels_on(scan: LabelledScan, grid: VolumeGeometry, to_source: AffineTransform) -> LabelVoxels:
    """Labels (z, y, x) of the nearest voxel of a scan at each voxel of `grid`, as the service feeds them; 0 beyond."""
    count = int(scan.labels.max())
    same = {number: number for number in range(1, count + 1)}
    return sample_labels(packed_organs(scan, count), same, affine=to_source, region=grid)


def sampling_centres(pair: AlignedPair, targets: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.int16]:
    """Voxels to centre patches on: (3, n, 3) indices (z, y, x) in targets, other organs and the rest of the body."""
    fixed, labels = pair.images[0], pair.labels[0]
    is_target = np.isin(labels, targets)
    groups = (is_target, (labels > 0) & ~is_target, (labels == 0) & (fixed > BODY_HU))
    centres = np.empty((len(groups), CENTRES_PER_GROUP, 3), dtype=np.int16)
    for number, group in enumerate(groups):
        flat = np.flatnonzero(group)
        chosen = flat[rng.integers(len(flat), size=CENTRES_PER_GROUP)]
        centres[number] = np.stack(np.unravel_index(chosen, labels.shape), axis=1)
    return centres


def write_pair(pair: AlignedPair, folder: Path, *, name: str, targets: tuple[int, ...], seed: int, **facts: str) -> str:
    """Store a pair; the folder appears complete or not at all.

    Args:
        pair: What to store.
        folder: Where, as a folder `name`; one that is there already is replaced.
        name: PATIENT-DAY, without anything that identifies a patient.
        targets: Labels of the first group of sampling centres.
        seed: Of the sampling centres.
        facts: Further entries of pair.json.

    Returns:
        SHA-256 over the arrays.
    """
    part = folder / f".{name}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    centres = sampling_centres(pair, targets, np.random.default_rng(seed))
    for kind, array in (("images", pair.images), ("labels", pair.labels), ("centres", centres)):
        np.save(part / f"{kind}.npy", array)
    digest = hash_of_arrays(pair.images, pair.labels, centres)
    written = {
        "sha256": digest,
        "origin_mm": pair.geometry.origin_mm,
        "spacing_mm": pair.geometry.spacing_mm,
        "affine": pair.affine.matrix.tolist(),
    }
    (part / "pair.json").write_text(json.dumps(written | facts))
    put_in_place(part, folder / name)
    return digest


def hash_of_arrays(*arrays: NDArray[np.integer]) -> str:
    """SHA-256 over the values of arrays, one after the other; mapped ones are not copied."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class CachedPair:
    """A stored pair; the arrays are mapped from disk and read only where patches are cut.

    Attributes:
        name: PATIENT-DAY.
        patient: Pseudonym.
        images: (2, z, y, x) int16 HU, fixed then moving.
        labels: (2, z, y, x) uint8.
        centres: (groups, n, 3) int16 indices (z, y, x): targets, other organs, rest of the body.
        sha256: Over the arrays.
    """

    name: str
    patient: str
    images: NDArray[np.int16]
    labels: LabelVoxels
    centres: NDArray[np.int16]
    sha256: str


def read_pair(folder: Path) -> CachedPair:
    """The pair in a folder."""
    return CachedPair(
        folder.name,
        patient_of(folder.name),
        np.load(folder / "images.npy", mmap_mode="r"),
        np.load(folder / "labels.npy", mmap_mode="r"),
        np.load(folder / "centres.npy"),
        json.loads((folder / "pair.json").read_text())["sha256"],
    )


def to_network(images: NDArray[np.number], recipe: "Recipe") -> FloatVoxels:
    """HU as the network reads them."""
    window = recipe.hu_window
    return (np.clip(images, window.lower, window.upper) / np.float32(window.divisor)).astype(np.float32)


def _corners(lower: tuple[int, int, int], upper: tuple[int, int, int], geometry: VolumeGeometry) -> Points:
    """(8, 3) centres of the corner voxels of a box of indices, LPS millimetres."""
    ends = [(low, high - 1) for low, high in zip(lower[::-1], upper[::-1], strict=True)]
    return geometry.to_lps(np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(-1, 3).astype(np.float64))


def _ends(geometry: VolumeGeometry) -> Points:
    """(8, 3) centres of the corner voxels of a grid, LPS millimetres."""
    return _corners((0, 0, 0), geometry.shape, geometry)
