"""Cases as pairs of arrays on the model grid: resampled once, aligned as in the clinic, kept on disk.

A cached pair is a folder with images.npy (2, z, y, x) int16 HU, labels.npy (2, z, y, x) uint8, centres.npy
(groups, n, 3) int16 and pair.json; index 0 is the fixed (daily) side. Affine and resampling are those of `imaging`, so
the network is trained on what the service will show it.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imaging.alignment import align
from imaging.arrays import FloatVoxels, LabelVoxels
from imaging.geometry import VolumeGeometry
from imaging.resampling import index_to_index, resample
from imaging.transforms import AffineTransform
from imaging.volume import Volume
from phantom.case import CLINIC_A, CLINIC_B, Scan, VirtualPatient
from training.recipe import Recipe, Split

BODY_HU = -300
CENTRES_PER_GROUP = 1024
CLINICS = {clinic.name: clinic for clinic in (CLINIC_A, CLINIC_B)}


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


def labelled(scan: Scan) -> LabelledScan:
    """What training needs of a phantom's scan."""
    return LabelledScan(scan.volume, scan.labels)


def aligned_pair(*, daily: LabelledScan, planning: LabelledScan, spacing_mm: float, margin_voxels: int) -> AlignedPair:
    """Align the planning to the daily CT and resample both once to a box round the organs of both days.

    Args:
        daily: The fixed side.
        planning: The moving side.
        spacing_mm: Of the model grid, isotropic.
        margin_voxels: Round the organs; the box may reach beyond the CT, which counts as air there.
    """
    affine = align(fixed=daily.volume, moving=planning.volume)
    points = np.concatenate(
        [
            _label_points(daily.labels, daily.volume.geometry),
            affine.to_fixed(_label_points(planning.labels, planning.volume.geometry)),
        ]
    )
    lower = points.min(axis=0) - margin_voxels * spacing_mm
    counts = np.ceil((points.max(axis=0) + margin_voxels * spacing_mm - lower) / spacing_mm).astype(int) + 1
    grid = VolumeGeometry(
        (int(counts[2]), int(counts[1]), int(counts[0])),
        (float(lower[0]), float(lower[1]), float(lower[2])),
        (spacing_mm,) * 3,
    )
    images = [resample(daily.volume, grid), resample(planning.volume, grid, to_source=affine)]
    labels = [
        nearest_labels(daily.labels, daily.volume.geometry, grid, AffineTransform.identity()),
        nearest_labels(planning.labels, planning.volume.geometry, grid, affine),
    ]
    return AlignedPair(np.rint(np.stack(images)).astype(np.int16), np.stack(labels), grid, affine)


def nearest_labels(
    labels: LabelVoxels, source: VolumeGeometry, grid: VolumeGeometry, to_source: AffineTransform
) -> LabelVoxels:
    """Labels (z, y, x) of the nearest source voxel at each voxel of `grid`; 0 beyond the source."""
    matrix = index_to_index(grid, source, to_source)
    k, j, i = (np.arange(n, dtype=np.float64) for n in grid.shape)
    out = np.zeros(grid.shape, dtype=np.uint8)
    for plane in range(grid.shape[0]):
        index = [
            np.floor(m[0] * i[None, :] + m[1] * j[:, None] + m[2] * k[plane] + m[3] + 0.5).astype(np.int32)
            for m in matrix[:3]
        ]
        inside = np.ones(grid.shape[1:], dtype=bool)
        for component, count in zip(index, source.shape[::-1], strict=True):
            inside &= (component >= 0) & (component < count)
        x, y, z = (np.where(inside, component, 0) for component in index)
        out[plane] = np.where(inside, labels[z, y, x], 0)
    return out


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


def write_pair(pair: AlignedPair, folder: Path, *, name: str, targets: tuple[int, ...], seed: int) -> None:
    """Store a pair; the folder appears complete or not at all."""
    part = folder / f".{name}.part"
    part.mkdir(parents=True, exist_ok=True)
    centres = sampling_centres(pair, targets, np.random.default_rng(seed))
    digest = hashlib.sha256()
    for kind, array in (("images", pair.images), ("labels", pair.labels), ("centres", centres)):
        np.save(part / f"{kind}.npy", array)
        digest.update(np.ascontiguousarray(array).tobytes())
    facts = {
        "sha256": digest.hexdigest(),
        "origin_mm": pair.geometry.origin_mm,
        "spacing_mm": pair.geometry.spacing_mm,
        "affine": pair.affine.matrix.tolist(),
    }
    (part / "pair.json").write_text(json.dumps(facts))
    part.rename(folder / name)


@dataclass(frozen=True, eq=False)
class CachedPair:
    """A stored pair; the arrays are mapped from disk and read only where patches are cut."""

    name: str
    images: NDArray[np.int16]
    labels: LabelVoxels
    centres: NDArray[np.int16]
    sha256: str


def read_pairs(folder: Path) -> tuple[CachedPair, ...]:
    """Every pair of a folder, by name.

    Raises:
        FileNotFoundError: If there is none.
    """
    names = sorted(file.parent.name for file in folder.glob("*/pair.json") if not file.parent.name.startswith("."))
    if not names:
        raise FileNotFoundError("no cached pairs: run `python -m training prepare` first")
    return tuple(_read_pair(folder / name) for name in names)


def cohort_hash(pairs: tuple[CachedPair, ...]) -> str:
    """SHA-256 over names and contents of the pairs, so that a model can say what it saw."""
    lines = "\n".join(f"{pair.name} {pair.sha256}" for pair in sorted(pairs, key=lambda pair: pair.name))
    return hashlib.sha256(lines.encode()).hexdigest()


def patients_of(splits: tuple[Split, ...]) -> Iterator[tuple[Split, int]]:
    """(split, seed) of every patient, splits in turn, so that the first ones made show every clinic."""
    for index in range(max(split.patients for split in splits)):
        for split in splits:
            if index < split.patients:
                yield split, split.first_seed + index


def prepare(recipe: Recipe, splits: tuple[Split, ...], folder: Path) -> Iterator[str]:
    """Make and store the pairs of virtual patients that are missing; yields each name as it is there."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, seed in patients_of(splits):
        names = {fraction: f"{split.clinic}-{seed:05d}-{fraction}" for fraction in range(1, split.fractions + 1)}
        missing = {fraction: name for fraction, name in names.items() if not (folder / name / "pair.json").exists()}
        if missing:
            patient = VirtualPatient(seed, CLINICS[split.clinic])
            planning = labelled(patient.planning(in_plane=split.in_plane))
            for fraction, name in missing.items():
                pair = aligned_pair(
                    daily=labelled(patient.daily(fraction, in_plane=split.in_plane)),
                    planning=planning,
                    spacing_mm=recipe.spacing_mm,
                    margin_voxels=recipe.cohort.fov_margin_voxels,
                )
                write_pair(pair, folder, name=name, targets=recipe.targets, seed=seed)
        yield from names.values()


def to_network(images: NDArray[np.number], recipe: Recipe) -> FloatVoxels:
    """HU as the network reads them."""
    window = recipe.hu_window
    return (np.clip(images, window.lower, window.upper) / np.float32(window.divisor)).astype(np.float32)


def _label_points(labels: LabelVoxels, geometry: VolumeGeometry) -> NDArray[np.float64]:
    """The eight corners of the box round all labelled voxels, LPS millimetres."""
    zyx = np.argwhere(labels)
    low, high = zyx.min(axis=0)[::-1], zyx.max(axis=0)[::-1]
    corners = np.stack(np.meshgrid(*zip(low, high, strict=True), indexing="ij"), axis=-1).reshape(-1, 3)
    return geometry.to_lps(corners.astype(np.float64))


def _read_pair(folder: Path) -> CachedPair:
    return CachedPair(
        folder.name,
        np.load(folder / "images.npy", mmap_mode="r"),
        np.load(folder / "labels.npy", mmap_mode="r"),
        np.load(folder / "centres.npy"),
        json.loads((folder / "pair.json").read_text())["sha256"],
    )
