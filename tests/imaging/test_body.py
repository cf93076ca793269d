import os
from pathlib import Path

import numpy as np
import pydicom
import pytest

from imaging.body import find_body
from imaging.geometry import VolumeGeometry
from imaging.masks import RoiPatch
from imaging.rasterize import mask_of, rasterize
from imaging.structures import Roi, StructureSet
from imaging.trace import trace
from imaging.volume import Volume

SHARED = Path(os.environ.get("RECONTOUR_SHARED", Path(__file__).resolve().parents[2] / ".." / "shared"))
GRID = VolumeGeometry((8, 200, 240), (-240.0, -200.0, 0.0), (2.0, 2.0, 3.0))
Y, X = np.mgrid[-200:200:2, -240:240:2]


def ellipse(a: float, b: float, *, x: float = 0.0, y: float = 0.0) -> np.ndarray:
    return ((X - x) / a) ** 2 + ((Y - y) / b) ** 2 < 1


def scan(*, couch: bool = True, lungs: bool = True) -> Volume:
    """An elliptic patient of 180 x 110 mm half axes; its back at y = 110 lies on a couch of two thin shells."""
    hu = np.full(GRID.shape, -1000, np.int16)
    hu[:, ellipse(180, 110)] = 30
    if lungs:
        hu[:, ellipse(40, 50, x=-60)] = -800
        hu[:, ellipse(15, 15, x=70, y=20)] = -1000
    if couch:
        hu[:, (np.abs(X) < 230) & (Y >= 111) & (Y < 114)] = -50
        hu[:, (np.abs(X) < 230) & (Y >= 160) & (Y < 163)] = -50
        hu[:, (np.abs(X) > 226) & (np.abs(X) < 230) & (Y >= 111) & (Y < 163)] = -50
    return Volume(hu, GRID)


def body_mask(patch: RoiPatch | None, grid: VolumeGeometry) -> np.ndarray:
    assert patch is not None
    structures = StructureSet((Roi(1, "BODY", contours=trace(patch)),))
    return mask_of(rasterize(structures, grid), 1)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def test_the_patient_is_outlined_with_hollows_filled_and_without_the_couch() -> None:
    found = body_mask(find_body(scan()), GRID)
    wanted = np.broadcast_to(ellipse(180, 110), GRID.shape)
    assert dice(found, wanted) > 0.985
    # The shell that touches the back may stay; the rest of the couch, and the air in it, must not.
    assert not found[:, Y > 120].any()
    assert not found[:, (np.abs(X) > 184)].any()


def test_noise_leaves_the_outline_where_it_is() -> None:
    noisy = scan()
    hu = noisy.hu + np.random.default_rng(3).normal(0, 40, GRID.shape).astype(np.int16)
    quiet, loud = body_mask(find_body(noisy), GRID), body_mask(find_body(Volume(hu, GRID)), GRID)
    assert dice(quiet, loud) > 0.995


def test_both_legs_are_outlined_where_they_are_apart() -> None:
    hu = np.full(GRID.shape, -1000, np.int16)
    hu[:, ellipse(70, 80, x=-90) | ellipse(60, 75, x=90)] = 20
    found = body_mask(find_body(Volume(hu, GRID)), GRID)
    assert dice(found, np.broadcast_to(ellipse(70, 80, x=-90) | ellipse(60, 75, x=90), GRID.shape)) > 0.98


def test_a_patient_cut_off_by_the_field_of_view_is_outlined_up_to_its_edge() -> None:
    narrow = VolumeGeometry((8, 200, 120), (-120.0, -200.0, 0.0), (2.0, 2.0, 3.0))
    found = body_mask(find_body(Volume(scan().hu[:, :, 60:180].copy(), narrow)), narrow)
    assert found[:, 100, 0].all()
    assert found[:, 100, -1].all()


@pytest.mark.parametrize("level", [-1000, -1024, -600])
def test_a_scan_of_air_has_no_body_and_is_not_refused(level: int) -> None:
    assert find_body(Volume(np.full(GRID.shape, level, np.int16), GRID)) is None


def test_the_patch_keeps_the_planes_of_the_scan() -> None:
    patch = find_body(scan(), roi_number=9)
    assert patch is not None
    assert (patch.roi_number, patch.geometry.origin_mm[2], patch.geometry.spacing_mm[2]) == (9, 0.0, 3.0)
    assert sorted({c.z_mm for c in trace(patch)}) == [3.0 * k for k in range(8)]


@pytest.mark.parametrize(("scan_name", "truth"), [("daily", "truth.npz"), ("daily-hard", "truth-hard.npz")])
def test_a_real_ct_under_synthetic_motion_is_outlined_as_its_truth_says(scan_name: str, truth: str) -> None:
    folder = SHARED / "data" / "cort-liver"
    if not folder.is_dir():
        pytest.skip("the real planning CT (cort-liver, beside the project) is not on this machine")
    slices = [pydicom.dcmread(path) for path in (folder / scan_name).glob("*.dcm")]
    slices.sort(key=lambda one: float(one.ImagePositionPatient[2]))
    hu = np.stack([s.pixel_array * float(s.RescaleSlope) + float(s.RescaleIntercept) for s in slices]).astype(np.int16)
    with np.load(folder / truth) as arrays:
        wanted, origin, spacing = arrays["mask_BODY"], arrays["origin_xyz"], arrays["spacing_xyz"]
    grid = VolumeGeometry(hu.shape, tuple(origin.tolist()), tuple(spacing.tolist()))
    assert dice(body_mask(find_body(Volume(hu, grid)), grid), wanted) >= 0.98
