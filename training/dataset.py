"""A prepared dataset: pairs of arrays to train on and native cases to evaluate on, split by patient.

    DATASET/dataset.json               grid, organs, seed, split, SHA-256 over the pairs; written last
    DATASET/rejected.csv               what was found and not used, and why
    DATASET/pairs/PATIENT-DAY/         one pair on the model grid, see `training.pairs`
    DATASET/cases/PATIENT-DAY/         validation and test: both scans with labels on their own grids, and the affine

PATIENT is a pseudonym of 8 hexadecimal digits. Only what dataset.json lists is read.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imaging.geometry import VolumeGeometry
from imaging.transforms import AffineTransform
from imaging.volume import Volume
from training.durable import put_in_place, write_durably
from training.names import patient_of
from training.pairs import CachedPair, LabelledScan, hash_of_arrays, read_pair

Split = Literal["training", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
FORMAT: Literal[1] = 1
DAMAGED = "cannot be read or changed on the disk: delete its folder and run `prepare` again"


class Facts(BaseModel):
    """dataset.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = FORMAT
    spacing_mm: Annotated[float, Field(gt=0, description="Of the model grid, isotropic")]
    organs: tuple[str, ...] = Field(description="Names of labels 1, 2, ...")
    seed: Annotated[int, Field(description="Of split and sampling centres")]
    virtual: Annotated[bool, Field(description="Whether every patient is a phantom of `training.cohort`")] = False
    sha256: Annotated[str, Field(description="Over names and contents of all pairs")]
    split: Mapping[Split, tuple[str, ...]] = Field(description="Pseudonyms; every patient is in one split")
    pairs: Mapping[str, str] = Field(description="SHA-256 of every pair by name")


@dataclass(frozen=True, eq=False)
class HeldOutCase:
    """One day of a patient whom training never saw, as the service would meet it.

    Attributes:
        name: PATIENT-DAY.
        patient: Pseudonym.
        planning: Planning CT and its labels on its own grid.
        daily: CT of the day and its labels on its own grid.
        affine: From the daily to the planning patient.
    """

    name: str
    patient: str
    planning: LabelledScan
    daily: LabelledScan
    affine: AffineTransform


@dataclass(frozen=True)
class Dataset:
    """A folder of pairs and cases.

    Attributes:
        folders: Where; more than one where several datasets are read as one.
        facts: What dataset.json says.
        folder_of: The folder that holds each pair and case, by name.
    """

    folders: tuple[Path, ...]
    facts: Facts
    folder_of: Mapping[str, Path]

    @property
    def spacing_mm(self) -> float:
        """Of the model grid."""
        return self.facts.spacing_mm

    @property
    def organs(self) -> tuple[str, ...]:
        """Names of labels 1, 2, ..."""
        return self.facts.organs

    @property
    def virtual(self) -> bool:
        """Whether every patient of every split is a phantom."""
        return self.facts.virtual

    @property
    def sha256(self) -> str:
        """Over names and contents of all pairs of all splits."""
        return self.facts.sha256

    def names(self, split: Split) -> tuple[str, ...]:
        """PATIENT-DAY of every pair of a split, sorted."""
        patients = set(self.facts.split[split])
        return tuple(name for name in sorted(self.facts.pairs) if patient_of(name) in patients)

    def pairs(self, split: Split) -> tuple[CachedPair, ...]:
        """The pairs of a split, by name; arrays are mapped from disk.

        Raises:
            ValueError: If a pair cannot be read, or is not the one that dataset.json lists.
        """
        return tuple(self._pair(name) for name in self.names(split))

    def verified_pairs(self, split: Split) -> tuple[CachedPair, ...]:
        """As `pairs`, after every array was read once and its hash compared: about a second for a gigabyte.

        Raises:
            ValueError: As `pairs`, or if an array changed on the disk.
        """
        found = self.pairs(split)
        for pair in found:
            if hash_of_arrays(pair.images, pair.labels, pair.centres) != pair.sha256:
                raise ValueError(f"the arrays of pair {pair.name} {DAMAGED}")
        return found

    def _pair(self, name: str) -> CachedPair:
        try:
            pair = read_pair(self.folder_of[name] / "pairs" / name)
        except (OSError, ValueError, KeyError):
            raise ValueError(f"pair {name} {DAMAGED}") from None
        if pair.sha256 != self.facts.pairs[name]:
            raise ValueError(f"pair {name} is not the one of dataset.json: run `prepare` again")
        return pair

    def case_names(self, split: Split) -> tuple[str, ...]:
        """PATIENT-DAY of every case of a split, sorted; training patients have none."""
        return () if split == "training" else self.names(split)

    def case(self, name: str) -> HeldOutCase:
        """One case.

        Raises:
            KeyError: If the dataset has no case of that name.
        """
        if name not in self.case_names("validation") + self.case_names("test"):
            raise KeyError(f"the dataset has no case {name}")
        return read_case(self.folder_of[name] / "cases" / name)

    def cases(self, split: Split) -> Iterator[HeldOutCase]:
        """The cases of a split, by name, one in memory at a time."""
        return (self.case(name) for name in self.case_names(split))


def read_dataset(folder: Path) -> Dataset:
    """The dataset in a folder.

    Raises:
        FileNotFoundError: If there is none, or it is not finished.
        ValueError: If dataset.json is of another format.
    """
    file = Path(folder) / "dataset.json"
    if not file.exists():
        raise FileNotFoundError("no finished dataset: run `python -m training prepare` first, again if it was stopped")
    try:
        facts = Facts.model_validate_json(file.read_text())
    except ValidationError:
        raise ValueError("dataset.json is damaged or of another format: run `python -m training prepare`") from None
    return Dataset((Path(folder),), facts, dict.fromkeys(facts.pairs, Path(folder)))


def read_datasets(folders: Sequence[Path]) -> Dataset:
    """Several datasets as one, split by split.

    Raises:
        ValueError: If grids or organs differ, or a patient occurs in two of them; or as `read_dataset`.
    """
    parts = [read_dataset(folder) for folder in folders]
    if not parts:
        raise ValueError("no dataset was named")
    if len({(part.spacing_mm, part.organs) for part in parts}) > 1:
        raise ValueError("the datasets differ in spacing or organs: prepare them with the same settings")
    # Sees only patients whose datasets were made with one key.
    patients = [patient for part in parts for split in SPLITS for patient in part.facts.split[split]]
    if len(set(patients)) < len(patients):
        raise ValueError("a patient occurs in two datasets: prepare their cohorts as one")
    if len(parts) == 1:
        return parts[0]
    pairs = {name: sha256 for part in parts for name, sha256 in part.facts.pairs.items()}
    facts = Facts(
        spacing_mm=parts[0].spacing_mm,
        organs=parts[0].organs,
        seed=parts[0].facts.seed,
        virtual=all(part.virtual for part in parts),
        sha256=hash_of(pairs),
        split={split: tuple(sorted(p for part in parts for p in part.facts.split[split])) for split in SPLITS},
        pairs=pairs,
    )
    folder_of = {name: folder for part in parts for name, folder in part.folder_of.items()}
    return Dataset(tuple(Path(folder) for folder in folders), facts, folder_of)


def hash_of(pairs: Mapping[str, str]) -> str:
    """SHA-256 over names and contents, in the order of the names."""
    return hashlib.sha256("\n".join(f"{name} {pairs[name]}" for name in sorted(pairs)).encode()).hexdigest()


def cohort_hash(pairs: Sequence[CachedPair]) -> str:
    """SHA-256 over names and contents of the pairs, so that a model can say what it saw."""
    return hash_of({pair.name: pair.sha256 for pair in pairs})


def write_case(case: HeldOutCase, folder: Path) -> None:
    """Store a case as folder/NAME, complete or not at all."""
    part = folder / f".{case.name}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    facts: dict[str, object] = {"affine": case.affine.matrix.tolist()}
    for side, scan in (("planning", case.planning), ("daily", case.daily)):
        np.save(part / f"{side}_hu.npy", scan.volume.hu)
        np.save(part / f"{side}_labels.npy", scan.labels)
        facts[side] = asdict(scan.volume.geometry)
    (part / "case.json").write_text(json.dumps(facts))
    put_in_place(part, folder / case.name)


def read_case(folder: Path) -> HeldOutCase:
    """The case in a folder."""
    facts = json.loads((folder / "case.json").read_text())
    scans = {}
    for side in ("planning", "daily"):
        geometry = VolumeGeometry(**{key: tuple(value) for key, value in facts[side].items()})
        hu, labels = np.load(folder / f"{side}_hu.npy"), np.load(folder / f"{side}_labels.npy")
        scans[side] = LabelledScan(Volume(hu, geometry), labels)
    affine = AffineTransform(np.array(facts["affine"]))
    return HeldOutCase(folder.name, patient_of(folder.name), scans["planning"], scans["daily"], affine)


def write_dataset(facts: Facts, folder: Path) -> None:
    """Store dataset.json, which makes the dataset a finished one."""
    # A dataset that is no virtual one says nothing about it.
    written = facts.model_dump_json(indent=1, exclude=None if facts.virtual else {"virtual"})
    write_durably(folder / "dataset.json", written + "\n")
