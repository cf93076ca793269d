"""A virtual clinic as DICOM and as a dataset: one seed, the same bytes everywhere; strangers are left out."""

import argparse
import csv
import shutil
from pathlib import Path

import pytest

from training.cohort import draw_cohort, missing_scans, read_cohort
from training.cohort_command import add_arguments, run
from training.dataset import read_dataset
from training.keys import public_key
from training.splitting import pseudonyms

from .dicom_cohort import Writer, edit

SMALL = ["--patients", "2", "--scans", "2", "--in-plane", "96", "--slices", "50", "--seed", "7"]
COARSE = ["--spacing", "6", "--margin", "2"]


def call(*words: str) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    run(parser.parse_args(words))


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


@pytest.fixture(scope="module")
def clinic(tmp_path_factory, rendered_scans) -> Path:
    """Two patients with one day each; the scans are drawn coarser than the command would, to save a minute."""
    root = tmp_path_factory.mktemp("clinic")
    cohort = draw_cohort("B", patients=2, scans=2, in_plane=96, slices=50, seed=7)
    writer = Writer(root / "cohort", rendered_scans)
    for patient in cohort.patient_ids():
        writer.scan(patient, 0, folder=f"{patient}/planning")
        writer.scan(patient, 1, folder=f"{patient}/daily-1")
    (root / "cohort" / "cohort.json").write_text(cohort.model_dump_json())
    assert not missing_scans(cohort, root / "cohort")
    call("B", str(root / "cohort"), *SMALL, "--prepared", str(root / "data"), *COARSE)
    return root


def test_a_cohort_is_written_as_dicom_and_as_dataset(clinic: Path) -> None:
    dataset = read_dataset(clinic / "data")
    names = pseudonyms(read_cohort(clinic / "cohort").patient_ids(), public_key(7))
    assert dataset.facts.split == {"training": (), "validation": (), "test": tuple(sorted(names.values()))}
    assert (dataset.spacing_mm, dataset.facts.seed, dataset.virtual) == (6.0, 7, True)
    assert (clinic / "data" / "rejected.csv").read_text().splitlines() == ["line,patient,what,reason,advice"]
    assert not (clinic / "data.key").exists()


def test_the_same_seed_gives_the_same_bytes_of_the_dataset(clinic: Path, tmp_path: Path) -> None:
    call("B", str(clinic / "cohort"), *SMALL, "--prepared", str(tmp_path / "again"), *COARSE, "--workers", "2")
    assert content(tmp_path / "again") == content(clinic / "data")


def test_whoever_is_not_of_the_virtual_cohort_is_listed_without_a_name(clinic: Path, tmp_path: Path) -> None:
    """Hazard: the key of virtual patients is public, so it must never name a real one."""
    cohort = tmp_path / "cohort"
    shutil.copytree(clinic / "cohort", cohort)
    (patient, _) = sorted(folder for folder in cohort.iterdir() if folder.is_dir())
    for file in (patient / "daily-1").iterdir():
        edit(file, lambda dataset: setattr(dataset, "PatientID", "Jansen-1"))
    call("B", str(cohort), *SMALL, "--prepared", str(tmp_path / "data"), *COARSE)
    with (tmp_path / "data" / "rejected.csv").open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert ("", "47 files", "a patient is none of this virtual cohort") in [
        (line["patient"], line["what"], line["reason"]) for line in lines
    ]
    assert pseudonyms(["Jansen-1"], public_key(7))["Jansen-1"] not in str(content(tmp_path / "data"))
    dataset = read_dataset(tmp_path / "data")
    assert dataset.virtual
    assert len(dataset.facts.pairs) == 1


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (["--patients", "0"], "give --patients from 1 to 1000"),
        (["--patients", "1001"], "give --patients from 1 to 1000"),
        (["--scans", "1"], "give --scans from 2 on"),
        (["--seed", "-9999"], "give --seed from 0 on"),
        (["--in-plane", "8", "--slices", "1"], "give --in-plane from 32 to 1024 and --slices from 4 on"),
        (["--prepared", "DATA", "--test", "2"], "must be from 0 to 1"),
        (["--prepared", "DATA", "--spacing", "0"], "spacing and workers must be positive"),
    ],
)
def test_a_number_out_of_range_is_one_line_with_what_to_do(tmp_path: Path, words: list[str], advice: str) -> None:
    with pytest.raises(SystemExit, match=advice) as found:
        call("A", str(tmp_path / "cohort"), *words)
    assert "\n" not in str(found.value)
    assert not (tmp_path / "cohort").exists()


def test_a_dataset_inside_its_cohort_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="give a folder outside"):
        call("A", str(tmp_path / "cohort"), *SMALL, "--prepared", str(tmp_path / "cohort" / "data"))
    assert not (tmp_path / "cohort").exists()
