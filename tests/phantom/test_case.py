import numpy as np
import pytest

from phantom.case import CLINIC_A, CLINIC_B, VirtualPatient, make_case
from phantom.contours import LABELS

from .conftest import Fractions


def test_the_same_seed_gives_the_same_bytes(at_a: Fractions):
    case = make_case(11, clinic=CLINIC_A, slices=44, in_plane=128, spacing_mm=(3.6, 3.6, 4.0))
    assert case.planning.hu.tobytes() == at_a.planning.volume.hu.tobytes()
    assert case.daily.hu.tobytes() == at_a.days[0].volume.hu.tobytes()
    assert case.daily_labels.tobytes() == at_a.days[0].labels.tobytes()
    points = np.array([[0.0, 0.0, 0.0], [10.0, -30.0, 40.0]])
    assert np.array_equal(case.daily_to_planning(points), case.daily_to_planning(points.copy()))
    assert case.deformation.fields[0].vectors.tobytes() == at_a.days[0].deformation.fields[0].vectors.tobytes()


def test_gas_in_the_rectum_has_no_correspondence_between_days(at_a: Fractions, at_b: Fractions):
    for fractions in (at_a, at_b):
        scans = (fractions.planning, *fractions.days)
        gas = [int(((s.volume.hu < -300) & (s.labels == LABELS["Rectum"])).sum()) for s in scans]
        assert len({s.gas_fraction for s in scans}) == 3
        assert len(set(gas)) > 1


def test_two_days_of_a_patient_differ(at_b: Fractions):
    first, second = at_b.days
    assert not np.array_equal(first.volume.hu, second.volume.hu)
    assert not np.array_equal(first.deformation.affine.matrix, second.deformation.affine.matrix)


def test_the_clinics_scan_with_their_own_spacing():
    for clinic, slice_mm, slices in ((CLINIC_A, 2.0, 100), (CLINIC_B, 1.5, 134)):
        grid = VirtualPatient._grid(_Bare(clinic), None, 512, None, offset_mm=0.0)
        assert grid.spacing_mm == pytest.approx((0.9, 0.9, slice_mm))
        # 200 mm of patient
        assert grid.shape == (slices, 512, 512)


class _Bare:
    def __init__(self, clinic):
        self.clinic = clinic


def test_every_scan_holds_the_structures_of_a_prostate_plan(at_a: Fractions):
    expected = {
        "BODY": "EXTERNAL",
        "PTV": "PTV",
        "CTV": "CTV",
        "Prostate": "ORGAN",
        "SeminalVes": "ORGAN",
        "Bladder": "ORGAN",
        "Rectum": "ORGAN",
        "PenileBulb": "ORGAN",
        "Femur_Head_L": "ORGAN",
        "Femur_Head_R": "ORGAN",
    }
    for scan in (at_a.planning, *at_a.days):
        assert {roi.name: roi.interpreted_type for roi in scan.structures.rois} == expected
        assert all(roi.contours for roi in scan.structures.rois)
        heights = set(np.round(scan.volume.geometry.axis_mm("z"), 6))
        assert {round(c.z_mm, 6) for roi in scan.structures.rois for c in roi.contours} <= heights


def test_contour_areas_agree_with_the_labels(at_a: Fractions):
    scan = at_a.planning
    for roi in scan.structures.rois:
        if roi.name not in LABELS:
            continue
        # no holes in these organs: the loops' areas add up
        drawn = sum(abs(c.signed_area_mm2) for c in roi.contours) * scan.volume.geometry.spacing_mm[2] / 1000
        counted = float((scan.labels == LABELS[roi.name]).sum()) * scan.volume.geometry.voxel_cc
        assert drawn == pytest.approx(counted, rel=0.12)


def test_the_couch_stays_with_the_scanner(at_a: Fractions):
    for scan in (at_a.planning, at_a.days[0]):
        geometry = scan.volume.geometry
        back = max(c.xy_mm[:, 1].max() for c in scan.structures.by_number(1).contours)
        below = int((back + 8 - geometry.origin_mm[1]) / geometry.spacing_mm[1])
        rows = scan.volume.hu[:, below : below + 6, 30:98].astype(float).mean(axis=(0, 2))
        assert rows.max() > -990
        left, right = scan.volume.hu[:, below : below + 12, 30:64], scan.volume.hu[:, below : below + 12, 64:98]
        assert left.mean() == pytest.approx(right.mean(), abs=6)


def test_fractions_are_counted_from_one(at_a: Fractions):
    with pytest.raises(ValueError, match="counted from 1"):
        at_a.patient.daily(0)


def test_the_second_clinic_is_noisier_than_the_first(at_a: Fractions, at_b: Fractions):
    noise = []
    for fractions in (at_a, at_b):
        scan = fractions.planning
        inside = scan.labels == LABELS["Bladder"]
        inside[:, :, 1:] &= inside[:, :, :-1]
        difference = scan.volume.hu[:, :, 2:].astype(float) - scan.volume.hu[:, :, :-2]
        noise.append(float(np.median(np.abs(difference[inside[:, :, 2:]]))))
    assert noise[1] > noise[0]
