import numpy as np
import pytest
from scipy import ndimage

from imaging.geometry import VolumeGeometry
from phantom import shapes
from phantom.anatomy import CLOSE
from phantom.contours import LABELS
from phantom.shapes import FAR_MM, axes, empty, smooth_noise
from phantom.statistics import draw_patient

from .conftest import Fractions


def _cc(scan, name):
    return float((scan.labels == LABELS[name]).sum()) * scan.volume.geometry.voxel_cc


@pytest.mark.parametrize("which", ["at_a", "at_b"])
def test_organ_volumes_lie_in_the_published_ranges(which, request):
    fractions: Fractions = request.getfixturevalue(which)
    for scan in (fractions.planning, *fractions.days):
        assert 20 <= _cc(scan, "Prostate") <= 82
        assert 60 <= _cc(scan, "Bladder") <= 520
        assert 30 <= _cc(scan, "Rectum") <= 150
        assert 2 <= _cc(scan, "SeminalVes") <= 20


def test_a_thousand_patients_stay_in_the_published_ranges():
    rng = np.random.default_rng(0)
    patients = [draw_patient(rng) for _ in range(1000)]
    prostate = np.array([p.prostate_cc for p in patients])
    assert prostate.min() >= 20
    assert prostate.max() <= 80
    assert 35 <= np.median(prostate) <= 45
    assert all(70 <= p.bladder_cc <= 500 for p in patients)
    assert all(5 <= p.muscle_hu - p.prostate_hu <= 15 for p in patients)


def test_organs_neither_overlap_each_other_nor_bone(at_a: Fractions):
    anatomy = at_a.patient.anatomy
    inside = [anatomy.regions[name] < 0 for name in LABELS]
    assert np.max(np.sum(inside, axis=0)) == 1


def test_the_prostate_lies_between_bladder_and_bulb_and_before_the_rectum(at_a: Fractions):
    scan = at_a.planning
    geometry = scan.volume.geometry
    centre = {}
    for name, label in LABELS.items():
        index = np.argwhere(scan.labels == label).mean(axis=0)[::-1]
        centre[name] = geometry.to_lps(index[None])[0]
    bulb = np.concatenate([c.xy_mm for c in _roi(scan, "PenileBulb").contours]).mean(axis=0)
    assert centre["Bladder"][2] > centre["SeminalVes"][2] > centre["Prostate"][2]
    assert centre["Rectum"][1] > centre["SeminalVes"][1] > centre["Bladder"][1]
    assert centre["Rectum"][1] > centre["Prostate"][1] + 15
    assert max(c.z_mm for c in _roi(scan, "PenileBulb").contours) < centre["Prostate"][2]
    assert abs(bulb[0]) < 8


def _roi(scan, name):
    return next(roi for roi in scan.structures.rois if roi.name == name)


def test_the_left_femoral_head_is_on_the_left(at_a: Fractions):
    left = np.concatenate([c.xy_mm for c in _roi(at_a.planning, "Femur_Head_L").contours])
    right = np.concatenate([c.xy_mm for c in _roi(at_a.planning, "Femur_Head_R").contours])
    assert left[:, 0].min() > 40
    assert right[:, 0].max() < -40
    top = max(c.z_mm for c in _roi(at_a.planning, "Femur_Head_L").contours)
    bottom = min(c.z_mm for c in _roi(at_a.planning, "Femur_Head_L").contours)
    assert 35 <= top - bottom <= 65


def test_the_ptv_surrounds_prostate_and_vesicles_by_seven_millimetres(at_a: Fractions):
    regions = at_a.patient.anatomy.regions
    target = regions["CTV"] < 0
    distance = ndimage.distance_transform_edt(~target, sampling=CLOSE.spacing_mm[::-1])
    shell = np.abs(regions["PTV"]) < 0.4
    # a voxel centre lies up to one voxel (1.6 mm) outside the surface that the target voxels stand for
    assert abs(float(np.median(distance[shell])) - 7.0) < 1.6
    assert not np.any(target & (regions["PTV"] > 0))


def test_tissues_have_the_hounsfield_units_of_a_pelvic_ct(at_a: Fractions):
    scan = at_a.planning
    hu = scan.volume.hu.astype(float)
    deep = {n: _eroded(scan.labels == LABELS[n]) for n in ("Bladder", "Prostate")}
    assert -5 <= np.mean(hu[deep["Bladder"]]) <= 16
    assert 30 <= np.mean(hu[deep["Prostate"]]) <= 60
    assert 8 <= np.std(hu[deep["Bladder"]]) <= 40
    assert hu.max() > 500
    assert np.median(hu[:, 0, :]) < -950


def _eroded(mask):
    return ndimage.binary_erosion(mask, iterations=2)


def test_a_rod_is_as_thick_as_its_radius():
    grid = VolumeGeometry((21, 21, 21), (-10.0, -10.0, -10.0), (1.0, 1.0, 1.0))
    field = empty(grid)
    shapes.add_chain(field, grid, points=[(0, 0, -5), (0, 0, 5)], radii=[4, 4], blend_mm=0.1)
    assert field[10, 10, 10] == pytest.approx(-4)
    assert field[10, 10, 17] == pytest.approx(3)
    assert field[18, 10, 10] == pytest.approx(-1)
    assert field.max() < FAR_MM


def test_an_ellipsoid_is_zero_on_its_surface():
    grid = VolumeGeometry((21, 21, 21), (-10.0, -10.0, -10.0), (1.0, 1.0, 1.0))
    field = shapes.ellipsoid(grid, centre=(0, 0, 0), radii=(3, 5, 8))
    assert field[10, 10, 13] == pytest.approx(0, abs=1e-5)
    assert field[10, 15, 10] == pytest.approx(0, abs=1e-5)
    assert field[18, 10, 10] == pytest.approx(0, abs=1e-5)
    assert field[10, 10, 10] == -3


def test_smooth_noise_changes_little_over_a_tenth_of_its_length():
    grid = VolumeGeometry((30, 30, 30), (0.0, 0.0, 0.0), (3.0, 3.0, 3.0))
    noise = smooth_noise(np.random.default_rng(1), grid, length_mm=30)
    assert 0.6 < noise.std() < 1.4
    assert np.abs(np.diff(noise, axis=0)).max() < 0.8
    assert axes(grid)[2].shape == (30, 1, 1)
