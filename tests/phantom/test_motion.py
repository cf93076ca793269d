import numpy as np
import pytest
from scipy import ndimage

from imaging.geometry import VolumeGeometry
from imaging.transforms import AffineTransform, Deformation, DisplacementField
from phantom.anatomy import CLOSE, WIDE
from phantom.contours import LABELS, draw_truth
from phantom.motion import LEAST_JACOBIAN, smallest_jacobian, to_planning
from phantom.shapes import sample

from .conftest import Fractions


@pytest.mark.parametrize("which", ["at_a", "at_b"])
def test_the_true_map_carries_daily_contours_onto_planning_surfaces(which, request):
    fractions: Fractions = request.getfixturevalue(which)
    for day in fractions.days:
        for roi in day.structures.rois:
            if roi.name not in LABELS:
                continue
            corners = np.concatenate([np.column_stack([c.xy_mm, np.full(len(c.xy_mm), c.z_mm)]) for c in roi.contours])
            planned = to_planning(day.deformation, corners)
            field = sample(fractions.patient.anatomy.regions[roi.name], CLOSE, planned)
            # straight lines between 3.6 mm pixels cut the corners of a curved surface
            assert np.percentile(np.abs(field), 95) < 0.35
            assert np.abs(field).max() < 2.0


def test_daily_labels_are_the_planning_anatomy_at_the_mapped_voxels(at_b: Fractions):
    day = at_b.days[0]
    geometry = day.volume.geometry
    rng = np.random.default_rng(3)
    index = np.argwhere(day.labels > 0)
    index = index[rng.choice(len(index), 300, replace=False)]
    planned = to_planning(day.deformation, geometry.to_lps(index[:, ::-1]))
    for name, label in LABELS.items():
        mine = day.labels[tuple(index.T)] == label
        assert np.array_equal(sample(at_b.patient.anatomy.regions[name], CLOSE, planned)[mine] < 1e-3, mine[mine])


@pytest.mark.parametrize("which", ["at_a", "at_b"])
def test_the_daily_motion_folds_nowhere(which, request):
    fractions: Fractions = request.getfixturevalue(which)
    for day in fractions.days:
        (field,) = day.deformation.fields
        assert smallest_jacobian(field.vectors, field.geometry) >= 0.99 * LEAST_JACOBIAN
        assert np.linalg.det(day.deformation.affine.matrix[:3, :3]) == pytest.approx(1.0)


def test_the_motion_ends_before_the_border_of_its_grid(at_b: Fractions):
    (field,) = at_b.days[0].deformation.fields
    for axis in (1, 2, 3):
        for side in (0, -1):
            assert np.abs(np.take(field.vectors, side, axis=axis)).max() == 0


def test_a_known_fold_is_found():
    grid = VolumeGeometry((6, 6, 6), (0.0, 0.0, 0.0), (2.0, 2.0, 2.0))
    vectors = np.zeros((3, 6, 6, 6), dtype=np.float32)
    assert smallest_jacobian(vectors, grid) == pytest.approx(1.0)
    vectors[0, 3, 3, 3] = 3.0
    # over one cell of 2 mm the x coordinate goes from +3 to 0: derivative 1 - 3/2
    assert smallest_jacobian(vectors, grid) == pytest.approx(-0.5)


def test_a_linear_field_is_mapped_exactly():
    grid = VolumeGeometry((5, 5, 5), (0.0, 0.0, 0.0), (2.0, 2.0, 2.0))
    x = np.broadcast_to(grid.axis_mm("x"), grid.shape)
    vectors = np.stack([0.25 * x, 0 * x, 0 * x + 1.0]).astype(np.float32)
    shift = np.eye(4)
    shift[:3, 3] = (10, 20, 30)
    deformation = Deformation(AffineTransform(shift), (DisplacementField(vectors, grid),))
    moved = to_planning(deformation, np.array([[4.0, 2.0, 3.0], [100.0, 0.0, 0.0]]))
    assert moved == pytest.approx(np.array([[15.0, 22.0, 34.0], [110.0, 20.0, 30.0]]))


def test_bones_are_rigid_from_day_to_day(at_b: Fractions):
    day = at_b.days[0]
    inside = np.argwhere(at_b.patient.anatomy.bone < -3)[::97]
    planned = WIDE.to_lps(inside[:, ::-1])
    daily = (planned - day.deformation.affine.matrix[:3, 3]) @ day.deformation.affine.matrix[:3, :3]
    away = np.linalg.norm(to_planning(day.deformation, daily) - planned, axis=1)
    assert len(away) > 100
    assert np.percentile(away, 99) < 0.8


def test_the_prostate_keeps_its_volume_while_bladder_and_rectum_change(at_b: Fractions):
    # 2 mm voxels: a 40 cc prostate has 5000, so its volume is known to better than 1 %
    grid = VolumeGeometry((75, 60, 70), (-69.0, -59.0, -70.0), (2.0, 2.0, 2.0))
    _, planned = draw_truth(at_b.patient.anatomy, grid, Deformation(AffineTransform.identity()))
    for day in at_b.days:
        still = Deformation(AffineTransform.identity(), day.deformation.fields)
        _, moved = draw_truth(at_b.patient.anatomy, grid, still)
        prostate = [float((m == LABELS["Prostate"]).sum()) for m in (planned, moved)]
        assert prostate[1] / prostate[0] == pytest.approx(1.0, abs=0.08)


def test_set_up_alone_leaves_millimetres_to_be_corrected(at_a: Fractions, at_b: Fractions):
    """Even a perfect rigid alignment leaves organs misplaced: otherwise nothing would be proven by correcting them."""
    grid = VolumeGeometry((70, 75, 65), (-64.0, -90.0, -60.0), (2.0, 2.0, 2.0))
    residuals = {"Prostate": [], "Bladder": []}
    for fractions in (at_a, at_b):
        _, planned = draw_truth(fractions.patient.anatomy, grid, Deformation(AffineTransform.identity()))
        for day in fractions.days:
            still = Deformation(AffineTransform.identity(), day.deformation.fields)
            _, moved = draw_truth(fractions.patient.anatomy, grid, still)
            for name, found in residuals.items():
                found.append(_mean_surface_distance(planned == LABELS[name], moved == LABELS[name], 2.0))
    assert 1.0 < np.mean(residuals["Prostate"]) < 6.0
    assert 1.5 < np.mean(residuals["Bladder"]) < 20.0
    assert min(residuals["Bladder"]) > 0.3


def _mean_surface_distance(a, b, spacing):
    edges = [m & ~ndimage.binary_erosion(m) for m in (a, b)]
    there = ndimage.distance_transform_edt(~edges[1])[edges[0]]
    back = ndimage.distance_transform_edt(~edges[0])[edges[1]]
    return spacing * float(np.concatenate([there, back]).mean())
