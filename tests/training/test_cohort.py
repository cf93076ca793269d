import hashlib
import json

import pydicom
import pytest
from pydantic import ValidationError

from training.cohort import CohortError, complete_cohort, draw_cohort, missing_scans, read_cohort

SMALL = {"patients": 1, "scans": 2, "in_plane": 96, "slices": 6}


def write_cohort(clinic, out, *, workers=1, **drawn):
    return complete_cohort(draw_cohort(clinic, **drawn), out, workers=workers)


def _digests(folder):
    return {
        str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in folder.rglob("*") if f.is_file()
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("cohort") / "A"
    assert len(list(write_cohort("A", out, seed=3, **SMALL))) == 2
    return out


def test_the_defaults_are_the_two_data_sets_of_the_paper():
    first, second = draw_cohort("A"), draw_cohort("B")
    assert len(first.patients) == 18
    assert {patient.scans for patient in first.patients} == {8, 9, 10, 11}
    assert [patient.scans for patient in second.patients] == [4] * 14
    assert len(second.scans()) == 14 * 4
    assert first == draw_cohort("A", seed=1) != draw_cohort("A", seed=2)


def test_no_two_cohorts_share_an_anatomy():
    cohorts = [draw_cohort(clinic, patients=50, seed=seed) for clinic in ("A", "B") for seed in range(40)]
    seeds = [patient.seed for cohort in cohorts for patient in cohort.patients]
    assert len(set(seeds)) == len(seeds) == 2 * 40 * 50


def test_numbers_out_of_range_are_refused():
    for wrong in ({"patients": 0}, {"patients": 1001}, {"seed": -1}, {"seed": -9999}, {"scans": 1}, {"in_plane": 8}):
        with pytest.raises(ValidationError):
            draw_cohort("A", **wrong)


def test_every_scan_is_a_study_of_its_own_with_true_contours(folder):
    (patient,) = (f for f in folder.iterdir() if f.is_dir())
    assert sorted(f.name for f in patient.iterdir()) == ["daily-1", "planning"]
    studies, frames, dates, patients = set(), set(), set(), set()
    for scan in patient.iterdir():
        assert len(list(scan.glob("CT_*.dcm"))) == 6
        image = pydicom.dcmread(scan / "CT_0001.dcm")
        structures = pydicom.dcmread(scan / "RS.dcm")
        assert image.Rows == image.Columns == 96
        names = {roi.ROIName for roi in structures.StructureSetROISequence}
        assert names >= {"Bladder", "Rectum", "SeminalVes", "Prostate", "Femur_Head_L", "Femur_Head_R", "BODY", "PTV"}
        reference = structures.ReferencedFrameOfReferenceSequence[0]
        series = reference.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0]
        assert series.SeriesInstanceUID == image.SeriesInstanceUID
        assert reference.FrameOfReferenceUID == image.FrameOfReferenceUID
        studies.add(image.StudyInstanceUID)
        frames.add(image.FrameOfReferenceUID)
        dates.add(image.StudyDate)
        patients.add(image.PatientID)
    assert len(studies) == len(frames) == len(dates) == 2
    assert patients == {patient.name}


def test_the_same_seed_gives_the_same_bytes_and_two_processes_change_nothing(folder, tmp_path):
    assert len(list(write_cohort("A", tmp_path, seed=3, workers=2, **SMALL))) == 2
    assert _digests(tmp_path) == _digests(folder)


def test_an_interrupted_cohort_is_completed_without_touching_what_is_there(folder, tmp_path):
    writer = write_cohort("A", tmp_path, seed=3, **SMALL)
    first = next(writer)
    writer.close()
    cohort = draw_cohort("A", seed=3, **SMALL)
    assert [fraction for _, fraction in missing_scans(cohort, tmp_path)] == [1]
    half = tmp_path / ".unfinished" / "half"
    half.mkdir(parents=True)
    (half / "CT_0001.dcm").write_bytes(b"half")
    before = (tmp_path / first / "RS.dcm").stat().st_mtime_ns
    assert [name.split("/")[1] for name in write_cohort("A", tmp_path, seed=3, **SMALL)] == ["daily-1"]
    assert (tmp_path / first / "RS.dcm").stat().st_mtime_ns == before
    assert _digests(tmp_path) == _digests(folder)
    assert list(write_cohort("A", tmp_path, seed=3, **SMALL)) == []


def test_a_folder_with_another_cohort_is_refused(folder):
    others = (
        ("A", {"seed": 4}, "seed 3, not 4"),
        ("B", {}, "clinic A, not B"),
        ("A", {"in_plane": 128}, "in_plane 96, not 128"),
        ("A", {"patients": 2}, "1 patients, not 2"),
        ("A", {"scans": 3}, "other numbers of scans"),
    )
    for clinic, changes, reason in others:
        with pytest.raises(CohortError, match=reason):
            next(write_cohort(clinic, folder, **{"seed": 3, **SMALL, **changes}))


def test_a_folder_with_other_files_is_refused_and_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(CohortError, match="no cohort"):
        next(write_cohort("A", tmp_path, **SMALL))
    assert [f.name for f in tmp_path.iterdir()] == ["notes.txt"]
    (tmp_path / "cohort.json").write_text(json.dumps({"clinic": "C"}))
    with pytest.raises(CohortError, match="does not describe"):
        next(write_cohort("A", tmp_path, **SMALL))


def test_a_cohort_knows_the_patient_ids_in_its_files(folder, tmp_path):
    (patient,) = (f for f in folder.iterdir() if f.is_dir())
    image = pydicom.dcmread(patient / "planning" / "CT_0001.dcm")
    assert read_cohort(folder).patient_ids() == {image.PatientID}
    assert read_cohort(tmp_path) is None
    (tmp_path / "cohort.json").write_text('{"study": "of somebody else"}')
    assert read_cohort(tmp_path) is None
