"""Whole cases kept on disk for evaluation: native scans with their labels, as the service would meet them."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from imaging.geometry import VolumeGeometry
from imaging.masks import PackedMasks
from imaging.volume import Volume
from phantom.case import VirtualPatient
from training.pairs import CLINICS, LabelledScan, labelled, patients_of
from training.recipe import Split


@dataclass(frozen=True, eq=False)
class HeldOutCase:
    """One day of a virtual patient whom training never saw."""

    name: str
    planning: LabelledScan
    daily: LabelledScan


def prepare_cases(splits: tuple[Split, ...], folder: Path) -> Iterator[str]:
    """Make and store the cases that are missing; yields each name as it is there."""
    for split, seed in patients_of(splits):
        patient: VirtualPatient | None = None
        for fraction in range(1, split.fractions + 1):
            name = f"{split.clinic}-{seed:05d}-{fraction}"
            if not (folder / name / "case.json").exists():
                patient = patient or VirtualPatient(seed, CLINICS[split.clinic])
                planning = labelled(patient.planning(in_plane=split.in_plane))
                daily = labelled(patient.daily(fraction, in_plane=split.in_plane))
                _write(folder / name, planning=planning, daily=daily)
            yield name


def read_cases(folder: Path) -> Iterator[HeldOutCase]:
    """Every stored case, by name, one in memory at a time.

    Raises:
        FileNotFoundError: If there is none.
    """
    files = sorted(folder.glob("*/case.json"))
    if not files:
        raise FileNotFoundError("no stored cases: run `python -m training prepare` first")
    for file in files:
        yield read_case(file.parent)


def read_case(folder: Path) -> HeldOutCase:
    """A stored case."""
    geometries = json.loads((folder / "case.json").read_text())
    scans = {}
    for side in ("planning", "daily"):
        facts = {key: tuple(value) for key, value in geometries[side].items()}
        with np.load(folder / f"{side}.npz") as arrays:
            scans[side] = LabelledScan(Volume(arrays["hu"], VolumeGeometry(**facts)), arrays["labels"])
    return HeldOutCase(folder.name, scans["planning"], scans["daily"])


def packed_organs(scan: LabelledScan, labels: int) -> PackedMasks:
    """Labels 1, 2, ... as ROIs of the same numbers."""
    bits = np.zeros(scan.labels.shape, dtype=np.uint64)
    for label in range(1, labels + 1):
        bits[scan.labels == label] = np.uint64(1) << np.uint64(label - 1)
    return PackedMasks(bits, tuple(range(1, labels + 1)), scan.volume.geometry)


def _write(folder: Path, **scans: LabelledScan) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for side, scan in scans.items():
        np.savez(folder / f"{side}.npz", hu=scan.volume.hu, labels=scan.labels)
    (folder / "case.json").write_text(json.dumps({side: asdict(scan.volume.geometry) for side, scan in scans.items()}))
