import io
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pydicom
import pytest

from imaging.geometry import VolumeGeometry
from imaging.structures import Contour, Roi, StructureSet
from imaging.volume import Volume
from phantom.case import PhantomCase
from phantom.dicom import (
    ORIENTATIONS,
    SeriesIdentity,
    identity_of,
    uid_of,
    write_case,
    write_ct_series,
    write_structure_set,
)

IDENTITY = SeriesIdentity("PHANTOM-T-000001", "planning", "20200106")


@pytest.fixture(scope="module")
def volume() -> Volume:
    geometry = VolumeGeometry((4, 6, 5), (-10.5, 20.25, -7.5), (2.0, 3.0, 1.5))
    hu = np.random.default_rng(5).integers(-1024, 3071, geometry.shape).astype(np.int16)
    return Volume(hu, geometry)


def _triangle(z):
    return Contour(z, np.array([[-9.0, 22.0], [-4.0, 22.0], [-4.126, 30.0]]))


@pytest.fixture(scope="module")
def structures() -> StructureSet:
    return StructureSet((Roi(1, "Bladder", "ORGAN", (1, 2, 3), (_triangle(-6.0), _triangle(-4.5))), Roi(2, "Empty")))


@pytest.mark.parametrize("position", sorted(ORIENTATIONS))
def test_every_patient_position_stores_the_same_patient(volume, position):
    """Each pixel is put back by PS3.3 C.7.6.2.1.1 alone: position + column * spacing * row direction + ..."""
    found = np.full(volume.geometry.shape, 9999, dtype=np.int32)
    for content in write_ct_series(volume, identity=IDENTITY, patient_position=position):
        ds = pydicom.dcmread(io.BytesIO(content))
        assert ds.PatientPosition == position
        row, column = np.array(ds.ImageOrientationPatient[:3]), np.array(ds.ImageOrientationPatient[3:])
        pixels = ds.pixel_array.astype(int) * int(ds.RescaleSlope) + int(ds.RescaleIntercept)
        between_rows, between_columns = (float(v) for v in ds.PixelSpacing)
        for r in range(ds.Rows):
            for c in range(ds.Columns):
                place = np.array(ds.ImagePositionPatient, float) + row * c * between_columns + column * r * between_rows
                i, j, k = np.round(volume.geometry.to_index(place[None])[0]).astype(int)
                found[k, j, i] = pixels[r, c]
    assert np.array_equal(found, volume.hu)


def test_instance_numbers_run_along_the_slice_normal(volume):
    for position, (row, column) in ORIENTATIONS.items():
        files = [
            pydicom.dcmread(io.BytesIO(b))
            for b in write_ct_series(volume, identity=IDENTITY, patient_position=position)
        ]
        heights = [float(ds.ImagePositionPatient[2]) for ds in files]
        assert [int(ds.InstanceNumber) for ds in files] == [1, 2, 3, 4]
        assert np.all(np.diff(heights) * np.cross(row, column)[2] > 0)


def test_an_unknown_patient_position_is_refused(volume):
    with pytest.raises(ValueError, match="not one of HFS"):
        write_ct_series(volume, identity=IDENTITY, patient_position="SITTING")


def test_the_structure_set_points_at_the_planning_ct(volume, structures):
    content = write_structure_set(structures, identity=IDENTITY, geometry=volume.geometry)
    ds = pydicom.dcmread(io.BytesIO(content))
    series = [pydicom.dcmread(io.BytesIO(b)) for b in write_ct_series(volume, identity=IDENTITY)]
    frame = ds.ReferencedFrameOfReferenceSequence[0]
    study = frame.RTReferencedStudySequence[0]
    assert frame.FrameOfReferenceUID == series[0].FrameOfReferenceUID
    assert study.ReferencedSOPInstanceUID == series[0].StudyInstanceUID == ds.StudyInstanceUID
    assert study.RTReferencedSeriesSequence[0].SeriesInstanceUID == series[0].SeriesInstanceUID
    images = study.RTReferencedSeriesSequence[0].ContourImageSequence
    assert {i.ReferencedSOPInstanceUID for i in images} == {s.SOPInstanceUID for s in series}
    first, second = ds.ROIContourSequence[0].ContourSequence
    assert first.ContourImageSequence[0].ReferencedSOPInstanceUID == series[1].SOPInstanceUID
    assert second.ContourImageSequence[0].ReferencedSOPInstanceUID == series[2].SOPInstanceUID
    points = np.reshape([str(v) for v in first.ContourData], (3, 3)).tolist()
    assert points == [["-9.00", "22.00", "-6.00"], ["-4.00", "22.00", "-6.00"], ["-4.13", "30.00", "-6.00"]]
    assert "ContourSequence" not in ds.ROIContourSequence[1]


def test_the_daily_ct_is_another_study_of_the_same_patient():
    plan, day, later = (identity_of(7, "A", fraction) for fraction in (0, 1, 2))
    assert plan.patient == day.patient
    uids = {getattr(i, a) for i in (plan, day, later) for a in ("study_uid", "series_uid", "frame_uid")}
    assert len(uids) == 9
    assert plan.date < day.date < later.date


def test_identifiers_are_valid_and_repeat_for_the_same_case():
    assert uid_of("a", 1) == uid_of("a", 1) != uid_of("a", 2)
    assert uid_of("a", 1).startswith("2.25.")
    assert len(uid_of("a", 1)) <= 64
    assert pydicom.uid.UID(uid_of("a", 1)).is_valid
    assert replace(IDENTITY, scan="daily-1").image_uid(0) != IDENTITY.image_uid(0)


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (dicom3tools) is not installed")
def test_an_independent_checker_finds_no_error(volume, structures, tmp_path):
    files = {
        f"{p}.dcm": write_ct_series(volume, identity=IDENTITY, patient_position=p)[0] for p in ("HFS", "FFP", "HFDL")
    }
    files["rs.dcm"] = write_structure_set(structures, identity=IDENTITY, geometry=volume.geometry)
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        found = subprocess.run(["dciodvfy", str(tmp_path / name)], capture_output=True, text=True, check=False)
        assert "Error" not in found.stdout + found.stderr


def test_a_case_on_disk_has_planning_structures_and_a_daily_ct(tmp_path, at_a):
    plan, day = at_a.planning, at_a.days[0]
    small = at_a.patient.clinic
    case = PhantomCase(
        11, small, 1, plan.volume, day.volume, plan.structures, day.structures, plan.labels, day.labels, day.deformation
    )
    write_case(case, tmp_path)
    assert len(list((tmp_path / "planning").glob("CT_*.dcm"))) == 44
    assert len(list((tmp_path / "daily").glob("CT_*.dcm"))) == 44
    structure_set = pydicom.dcmread(tmp_path / "planning" / "RS.dcm")
    daily = pydicom.dcmread(tmp_path / "daily" / "CT_0001.dcm")
    assert structure_set.PatientID == daily.PatientID
    assert structure_set.StudyInstanceUID != daily.StudyInstanceUID
    assert len(structure_set.StructureSetROISequence) == 10
