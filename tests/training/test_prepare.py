"""From DICOM to a dataset: the same bytes each time, what is damaged is listed, the rest is prepared."""

import argparse
import csv
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from imaging.geometry import VolumeGeometry
from imaging.transforms import AffineTransform
from training.aliases import read_aliases
from training.dataset import read_dataset
from training.keys import key_beside, read_key
from training.pairs import labels_on
from training.prepare import Prepared, Settings, prepare
from training.prepare_command import add_arguments, summary
from training.prepare_command import run as command
from training.splitting import pseudonyms
from training.unusable import Unusable

from .dicom_cohort import Writer, drop_contours_above, edit, rename_rois

SETTINGS = Settings(spacing_mm=6.0, margin_voxels=3, validation=0.5)
PATIENTS = ("Jansen-1", "Jansen-2")


@pytest.fixture(scope="module")
def scans(rendered_scans):
    return rendered_scans


@pytest.fixture(scope="module")
def cohort(tmp_path_factory, scans) -> Path:
    """Two patients with two days each, in folders that say nothing."""
    root = tmp_path_factory.mktemp("cohort")
    for patient in PATIENTS:
        Writer(root, scans).patient(patient)
    return root


@pytest.fixture(scope="module")
def out(tmp_path_factory, cohort) -> Path:
    folder = tmp_path_factory.mktemp("prepared") / "A"
    run(cohort, folder, workers=2)
    return folder


def run(
    cohort: Path, out: Path, *, settings: Settings = SETTINGS, workers: int = 1, key: Path | None = None
) -> Prepared:
    return prepare(cohort, out, settings=settings, aliases=read_aliases(), key=key, workers=workers, progress=False)


def names_in(out: Path, patients: Sequence[str] = PATIENTS) -> dict[str, str]:
    return pseudonyms(patients, read_key(key_beside(out)))


def copied(out: Path, to: Path) -> Path:
    """A dataset with its key."""
    shutil.copytree(out, to)
    shutil.copy(key_beside(out), key_beside(to))
    return to


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def rejected(out: Path) -> list[dict[str, str]]:
    with (out / "rejected.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_every_day_becomes_a_pair_and_held_out_ones_a_case(out: Path) -> None:
    dataset = read_dataset(out)
    names = names_in(out)
    assert sorted(dataset.facts.pairs) == sorted(f"{name}-0{day}" for name in names.values() for day in (1, 2))
    (held_out,) = dataset.facts.split["validation"]
    assert dataset.case_names("validation") == (f"{held_out}-01", f"{held_out}-02")
    assert sorted(folder.name for folder in (out / "cases").iterdir()) == list(dataset.case_names("validation"))
    assert rejected(out) == []


def test_the_labels_are_those_of_the_phantom(out: Path, scans) -> None:
    """The phantom labels voxel centres in the true organs; contours of 0.01 mm may differ on the boundary."""
    case = next(read_dataset(out).cases("validation"))
    for found, truth in ((case.planning, scans[0]), (case.daily, scans[1])):
        np.testing.assert_array_equal(found.volume.hu, truth.volume.hu)
        assert found.volume.geometry.shape == truth.volume.geometry.shape
        np.testing.assert_allclose(found.volume.geometry.origin_mm, truth.volume.geometry.origin_mm, atol=1e-6)
        assert np.mean(found.labels != truth.labels) < 1e-4
        assert set(np.unique(found.labels)) == {0, 1, 2, 3, 4}


def test_a_pair_shows_what_the_service_would_be_shown(out: Path) -> None:
    """The cached moving side is the planning scan through the stored affine, label by label."""
    dataset = read_dataset(out)
    case, pair = next(dataset.cases("validation")), dataset.pairs("validation")[0]
    assert pair.name == case.name
    facts = json.loads((out / "pairs" / pair.name / "pair.json").read_text())
    grid = VolumeGeometry(pair.labels.shape[1:], tuple(facts["origin_mm"]), tuple(facts["spacing_mm"]))
    np.testing.assert_array_equal(labels_on(case.planning, grid, case.affine), pair.labels[1])
    np.testing.assert_array_equal(labels_on(case.daily, grid, AffineTransform.identity()), pair.labels[0])
    assert grid.spacing_mm == (6.0, 6.0, 6.0)


def test_one_worker_makes_the_same_bytes_as_two(cohort: Path, out: Path, tmp_path: Path) -> None:
    run(cohort, tmp_path / "A", workers=1, key=key_beside(out))
    assert content(tmp_path / "A") == content(out)


def test_nothing_in_the_dataset_tells_who_the_patients_are(cohort: Path, out: Path) -> None:
    """Hazard: a data set that leaves the hospital must not carry identifiers, dates or folders."""
    planted = [b"Jansen", b"2.25.", b"20260101", str(cohort).encode(), b"scan1", b"Phantom^Virtual"]
    for name, data in content(out).items():
        assert not [word for word in planted if word in data or word.decode() in name]


def test_the_key_beside_the_dataset_leads_back_to_the_folders(cohort: Path, out: Path) -> None:
    key = out.with_name("A.key.csv")
    assert key.stat().st_mode & 0o077 == 0
    with key.open(newline="") as stream:
        places = {line["what"]: line["source"] for line in csv.DictReader(stream)}
    name = names_in(out)[PATIENTS[0]]
    assert places[f"{name} planning"] == str(cohort / PATIENTS[0] / "scan0")
    assert places[f"{name}-02"] == str(cohort / PATIENTS[0] / "scan2")


def test_the_key_is_random_beside_the_dataset_and_nowhere_in_it(out: Path, cohort: Path, tmp_path: Path) -> None:
    """Hazard: whoever can compute the pseudonyms of a list of Patient IDs can tell who is who."""
    key = key_beside(out)
    assert (key.stat().st_mode & 0o777, len(read_key(key))) == (0o600, 32)
    for data in content(out).values():
        assert read_key(key) not in data
        assert read_key(key).hex().encode() not in data
    other = run(cohort, tmp_path / "A")
    assert read_key(key_beside(tmp_path / "A")) != read_key(key)
    assert not set(other.facts.pairs) & set(read_dataset(out).facts.pairs)


def test_a_dataset_is_continued_with_its_own_key_only(cohort: Path, out: Path, tmp_path: Path) -> None:
    before = key_beside(out).read_bytes()
    run(cohort, out)
    assert key_beside(out).read_bytes() == before
    copy, other = copied(out, tmp_path / "A"), tmp_path / "other.key"
    other.write_text("ab" * 32)
    with pytest.raises(Unusable, match="begun with another key"):
        run(cohort, copy, key=other)
    key_beside(copy).unlink()
    with pytest.raises(Unusable, match=r"the key .* is gone; put A\.key back"):
        run(cohort, copy)
    assert not key_beside(copy).exists()
    other.write_text("ab" * 31)
    with pytest.raises(Unusable, match="32 bytes"):
        run(cohort, tmp_path / "B", key=other)
    with pytest.raises(Unusable, match="lies inside the dataset"):
        run(cohort, copy, key=copy / "settings.json")


def test_a_second_run_makes_only_what_is_missing(cohort: Path, out: Path, tmp_path: Path) -> None:
    copy = copied(out, tmp_path / "A")
    gone, *kept = sorted((copy / "pairs").iterdir())
    shutil.rmtree(gone)
    before = {folder: (folder / "pair.json").stat().st_mtime_ns for folder in kept}
    run(cohort, copy)
    assert {folder: (folder / "pair.json").stat().st_mtime_ns for folder in kept} == before
    assert content(copy) == content(out)


def test_a_scan_that_changed_is_made_again(cohort: Path, out: Path, tmp_path: Path, scans) -> None:
    changed, copy = tmp_path / "cohort", copied(out, tmp_path / "A")
    shutil.copytree(cohort, changed)
    shutil.rmtree(changed / PATIENTS[0] / "scan2")
    name = f"{names_in(out)[PATIENTS[0]]}-01"
    rename_rois(changed / PATIENTS[0] / "scan1" / "RS.dcm", {"Rectum": "Endeldarm"})
    before = (copy / "pairs" / name / "pair.json").read_bytes()
    prepared = run(changed, copy)
    assert (copy / "pairs" / name / "pair.json").read_bytes() != before
    assert len(prepared.facts.pairs) == 3


def test_other_settings_and_a_strange_folder_are_refused(cohort: Path, out: Path, tmp_path: Path) -> None:
    with pytest.raises(Unusable, match=r"spacing_mm 6\.0 instead of 2\.5"):
        run(cohort, out, settings=Settings(spacing_mm=2.5, margin_voxels=3, validation=0.5))
    strange = tmp_path / "thesis"
    strange.mkdir()
    (strange / "thesis.txt").touch()
    with pytest.raises(Unusable, match="something else"):
        run(cohort, strange)
    assert not key_beside(strange).exists()
    with pytest.raises(Unusable, match="inside the cohort"):
        run(cohort, cohort / "out")


def test_the_summary_counts_patients_and_pairs(cohort: Path, out: Path) -> None:
    lines = list(summary(run(cohort, out)))
    assert lines[:3] == [
        "training: 1 patients, 2 pairs",
        "validation: 1 patients, 2 pairs",
        "test: 0 patients, 0 pairs",
    ]


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (["--spacing", "nan"], "spacing and workers must be positive"),
        (["--validation", "nan"], "must be from 0 to 1"),
        (["--workers", "0"], "spacing and workers must be positive"),
        (["--planning", "none.txt"], "give a text file"),
        (["--key", "none.key"], "give the .key file"),
    ],
)
def test_a_wrong_argument_is_one_line_with_what_to_do(
    cohort: Path, tmp_path: Path, words: list[str], advice: str
) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    with pytest.raises(SystemExit, match=advice) as found:
        command(parser.parse_args([str(cohort), str(tmp_path / "A"), *words]))
    assert "\n" not in str(found.value)


def test_damaged_notes_of_an_earlier_run_are_refused_or_made_again(cohort: Path, out: Path, tmp_path: Path) -> None:
    copy = copied(out, tmp_path / "A")
    next((copy / "pairs").iterdir()).joinpath("pair.json").write_text("{")
    run(cohort, copy)
    assert content(copy) == content(out)
    (copy / "settings.json").write_text("{")
    with pytest.raises(Unusable, match="choose a new folder"):
        run(cohort, copy)


DAMAGE = {
    "no RTSTRUCT": (1, "no RTSTRUCT is drawn on it"),
    "unknown organ names": (1, "no ROI with contours is named Bladder, SeminalVes"),
    "one organ twice": (2, "mean Bladder"),
    "missing slice": (2, "1 slices are missing"),
    "truncated image": (3, "images cannot be read: the pixel data of an image lack"),
    "oblique": (3, "oblique"),
    "frame of reference": (4, "another frame of reference"),
    "one UID, two images": (4, "have one SOP Instance UID"),
    "no registration": (5, "could not be aligned"),
    "cut organ": (5, "reach the end of the scan"),
    "scout": (6, "the series is a scout"),
    "RTSTRUCT without CT": (6, "the CT that it was drawn on is not in the folder"),
    "planning CT lost": (7, "the planning CT of the patient cannot be used"),
    "newer RTSTRUCT": (8, "another RTSTRUCT of CT 1 is newer"),
    "copies": (8, "files are copies of others"),
    "another modality": (8, "no CT image, RTSTRUCT or RTPLAN"),
    "another patient": (9, "the patient has no daily CT that can be used"),
    "no DICOM": (0, "this is no DICOM file"),
}
"""Kind of damage: whose line tells of it, and how; a file that is no DICOM belongs to nobody."""


def damage(writer: Writer) -> None:
    """Patients 1 to 6 lose both days, 7 the planning CT; 8 keeps both; of 9 there is one scan in the folder of 8."""
    days = {number: writer.patient(f"patient {number}")[1:] for number in range(1, 9)}
    images = {(number, day): sorted(days[number][day - 1].glob("CT*")) for number in days for day in (1, 2)}

    def structures(number: int, day: int) -> Path:
        return days[number][day - 1] / "RS.dcm"

    structures(1, 1).unlink()
    rename_rois(structures(1, 2), {"Bladder": "Bladdr", "SeminalVes": "S"})
    rename_rois(structures(2, 1), {"Rectum": "Blaas"})
    images[2, 2][20].unlink()
    cut = images[3, 1][20]
    cut.write_bytes(cut.read_bytes()[:-500])
    turned = [0.9998477, 0.0174524, 0, -0.0174524, 0.9998477, 0]
    for file in images[3, 2]:
        edit(file, lambda d: setattr(d, "ImageOrientationPatient", turned))
    for file in images[4, 1]:
        edit(file, lambda d: setattr(d, "FrameOfReferenceUID", "1.2.3"))
    again = images[4, 2][10].with_name("again.dcm")
    shutil.copy(images[4, 2][10], again)
    edit(again, lambda d: setattr(d, "InstanceNumber", 99))
    for file in images[5, 1]:
        edit(file, scrambled)
    heights = writer.scans[2].volume.geometry.axis_mm("z")
    bladder = next(roi for roi in writer.scans[2].structures.rois if roi.name == "Bladder")
    top_mm = max(contour.z_mm for contour in bladder.contours) - 10
    for file, z_mm in zip(images[5, 2], heights, strict=True):
        if z_mm > top_mm:
            file.unlink()
    drop_contours_above(structures(5, 2), top_mm)
    for file in images[6, 1]:
        edit(file, lambda d: setattr(d, "ImageType", ["ORIGINAL", "PRIMARY", "LOCALIZER"]))
    for file in images[6, 2]:
        file.unlink()
    rename_rois(days[7][0].with_name("scan0") / "RS.dcm", {"Prostate": "P"})
    older = structures(8, 1).with_name("RS0.dcm")
    shutil.copy(structures(8, 1), older)
    edit(older, lambda d: (setattr(d, "StructureSetDate", "20250101"), setattr(d, "SOPInstanceUID", "1.2")))
    shutil.copytree(days[8][1], writer.root / "backup")
    dose = days[8][0] / "dose.dcm"
    shutil.copy(images[8, 1][0], dose)
    edit(dose, lambda d: (setattr(d, "SOPClassUID", "1.2.840.10008.5.1.4.1.1.481.2"), delattr(d, "PixelData")))
    (days[8][0] / "notes.txt").write_text("sent again on Tuesday")
    writer.scan("patient 9", 0, folder="patient 8/scan9")


def scrambled(dataset) -> None:
    """Noise without a body in it."""
    rng = np.random.default_rng(dataset.InstanceNumber)
    noise = rng.integers(0, 2, size=dataset.Rows * dataset.Columns) * 1000
    dataset.PixelData = noise.astype("<u2").tobytes()


def test_a_damaged_cohort_is_listed_line_by_line_and_the_rest_prepared(tmp_path: Path, scans) -> None:
    damage(Writer(tmp_path / "cohort", scans))
    prepared = run(tmp_path / "cohort", tmp_path / "out", workers=2)
    names = names_in(tmp_path / "out", [f"patient {number}" for number in range(1, 10)])
    lines = rejected(tmp_path / "out")
    for kind, (number, reason) in DAMAGE.items():
        own = [line for line in lines if line["patient"] == names.get(f"patient {number}", "")]
        assert any(reason in line["reason"] and line["advice"] for line in own), (kind, own)
    assert sorted(prepared.facts.pairs) == [f"{names['patient 8']}-01", f"{names['patient 8']}-02"]


def test_a_cohort_folder_that_is_not_there_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="not there"):
        run(tmp_path / "none", tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_cohort_without_a_usable_pair_says_where_the_reasons_are(tmp_path: Path, scans) -> None:
    Writer(tmp_path / "cohort", scans).scan("P", 0)
    with pytest.raises(Unusable, match=r"rejected\.csv"):
        run(tmp_path / "cohort", tmp_path / "out")
    assert "no daily CT" in rejected(tmp_path / "out")[0]["reason"]
