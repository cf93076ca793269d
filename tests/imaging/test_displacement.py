import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imaging.displacement import (
    border_weight,
    fraction_folded,
    jacobian_determinant,
    least_determinant,
    part_around,
    reached,
    taper_weight,
    to_daily,
    to_planning,
    vectors_at,
    vectors_on,
    vectors_reaching,
)
from imaging.geometry import VolumeGeometry
from imaging.transforms import AffineTransform, Deformation, DisplacementField

GRID = VolumeGeometry((5, 6, 7), (-10.0, 0.0, 20.0), (4.0, 5.0, 6.0))


def linear_field(matrix: np.ndarray) -> DisplacementField:
    """vectors = matrix @ p."""
    k, j, i = np.indices(GRID.shape)
    points = GRID.to_lps(np.stack([i, j, k], axis=-1).reshape(-1, 3))
    return DisplacementField((points @ matrix.T).T.reshape(3, *GRID.shape).astype(np.float32), GRID)


@settings(max_examples=20, deadline=None)
@given(st.floats(-9.9, 13.9), st.floats(0.1, 24.9), st.floats(20.1, 43.9))
def test_between_voxel_centres_a_linear_field_is_read_exactly(x: float, y: float, z: float) -> None:
    matrix = np.array([[0.1, 0, 0.02], [0, -0.05, 0], [0.03, 0, 0.2]])
    point = np.array([[x, y, z]])
    assert vectors_at([linear_field(matrix)], point)[0] == pytest.approx(matrix @ point[0], abs=1e-4)


def test_outside_its_grid_a_field_moves_nothing() -> None:
    field = DisplacementField(np.ones((3, *GRID.shape), np.float32), GRID)
    assert vectors_at([field], np.array([[14.1, 5.0, 25.0], [-10.0, 0.0, 19.9]])).tolist() == [[0, 0, 0], [0, 0, 0]]


def test_a_field_asked_to_reach_farther_repeats_its_outermost_vectors() -> None:
    ramp = VolumeGeometry((1, 1, 3), (0.0, 0.0, 0.0), (4.0, 4.0, 4.0))
    field = DisplacementField(np.array([[[[1.0, 3.0, 5.0]]]] * 3, np.float32), ramp)
    wider = VolumeGeometry((3, 2, 7), (-4.0, -7.0, -4.0), (2.0, 4.0, 30.0))
    assert vectors_reaching(field, wider)[1, 2, 0].tolist() == [1, 1, 1, 2, 3, 4, 5]
    assert (vectors_reaching(field, wider) == [1, 1, 1, 2, 3, 4, 5]).all()


def test_fields_add_up_and_a_grid_reads_the_same_as_points() -> None:
    first = linear_field(np.diag([0.1, 0.1, 0.1]))
    second = DisplacementField(np.full((3, *GRID.shape), 2.0, np.float32), GRID)
    grid = VolumeGeometry((3, 4, 5), (-12.0, 1.0, 21.0), (3.3, 4.4, 5.5))
    k, j, i = np.indices(grid.shape)
    points = grid.to_lps(np.stack([i, j, k], axis=-1).reshape(-1, 3))
    expected = vectors_at([first, second], points).T.reshape(3, *grid.shape)
    assert vectors_on([first, second], grid) == pytest.approx(expected, abs=1e-4)


def test_the_jacobian_of_a_linear_field_is_its_known_change_of_volume() -> None:
    # x grows by a tenth, z shrinks by a fifth: 1.1 * 1.0 * 0.8.
    determinant = jacobian_determinant(linear_field(np.diag([0.1, 0.0, -0.2])))
    assert determinant == pytest.approx(np.full(GRID.shape, 0.88), abs=1e-4)


def test_a_field_that_turns_space_inside_out_is_counted_as_folded() -> None:
    assert fraction_folded(linear_field(np.diag([-1.5, 0.0, 0.0]))) == 1.0
    assert fraction_folded(linear_field(np.diag([-0.5, 0.0, 0.0]))) == 0.0


def zigzag(grid: VolumeGeometry, *, axis: int, size_mm: float) -> DisplacementField:
    """Every second voxel along an axis of (x, y, z) is pushed ahead; central differences see nothing."""
    vectors = np.zeros((3, *grid.shape), np.float32)
    vectors[axis] = size_mm * (np.indices(grid.shape)[2 - axis] % 2)
    return DisplacementField(vectors, grid)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_fold_of_a_single_cell_is_seen_along_every_axis(axis: int) -> None:
    grid = VolumeGeometry((6, 7, 8), (0.0, 0.0, 0.0), (2.0, 2.0, 2.0))
    # 3 mm back over a step of 2 mm: 1 - 3 / 2.
    determinant = jacobian_determinant(zigzag(grid, axis=axis, size_mm=3.0))
    assert determinant[1:-1, 1:-1, 1:-1] == pytest.approx(np.full((4, 5, 6), -0.5))


def test_a_fold_between_the_points_of_a_coarser_grid_is_carried_to_its_nearest_points() -> None:
    fine = VolumeGeometry((21, 21, 21), (0.0, 0.0, 0.0), (2.0, 2.0, 2.0))
    coarse = VolumeGeometry((11, 11, 11), (0.0, 0.0, 0.0), (4.0, 4.0, 4.0))
    vectors = np.zeros((3, *fine.shape), np.float32)
    vectors[0, 10, 10, 11] = 3.0
    field = DisplacementField(vectors, fine)
    assert not vectors_on((field,), coarse).any()
    least = least_determinant((field,), coarse)
    assert least[5, 5, 5:7].min() == pytest.approx(-0.5)
    assert (least[:, :, :4] == 1).all()
    assert (least[:, :, 8:] == 1).all()


def test_a_grid_of_one_voxel_along_an_axis_keeps_its_volume() -> None:
    thin = VolumeGeometry((1, 4, 5), (0.0, 0.0, 0.0), (2.0, 2.0, 2.0))
    assert jacobian_determinant(DisplacementField(np.ones((3, 1, 4, 5), np.float32), thin)).tolist() == [[[1] * 5] * 4]


def test_a_part_of_a_fields_own_grid_holds_its_own_vectors() -> None:
    field = DisplacementField(np.arange(3 * 5 * 6 * 7, dtype=np.float32).reshape(3, 5, 6, 7), GRID)
    assert np.array_equal(vectors_on((field,), GRID.cropped((1, 2, 0), (5, 6, 4))), field.vectors[:, 1:5, 2:6, :4])
    wider = vectors_on((field,), GRID.cropped((-1, 0, 0), (6, 6, 7)))
    assert np.array_equal(wider[:, 1:6], field.vectors)
    assert not wider[:, 0].any()
    assert not wider[:, 6].any()


def test_the_weight_of_a_taper_is_zero_on_the_border_and_one_inside() -> None:
    weight = taper_weight(VolumeGeometry((21, 21, 21), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)), 4.0)
    assert not weight[0].any()
    assert not weight[:, :, -1].any()
    assert weight[10, 10, 10] == 1
    assert weight[10, 10, 2] == pytest.approx(0.5)


def test_a_part_of_a_grid_fades_out_only_where_the_grid_goes_on() -> None:
    whole = VolumeGeometry((10, 10, 10), (0.0, 0.0, 0.0), (2.0, 2.0, 2.0))
    weight = border_weight(whole.cropped((0, 0, 0), (10, 10, 6)), whole, 4.0)
    # Along x it ends at 10 mm within the grid: there it is 0, 2 mm before a half, from 4 mm on 1.
    assert np.allclose(weight, [1, 1, 1, 1, 0.5, 0], atol=1e-6)
    # One voxel short of the end is inside too.
    assert np.allclose(border_weight(whole.cropped((0, 0, 1), (10, 10, 10)), whole, 4.0)[..., 0], 0)
    assert np.all(border_weight(whole, whole, 4.0) == 1)


def test_the_part_round_a_plan_follows_what_moves() -> None:
    grid = VolumeGeometry((10, 10, 10), (0.0, 0.0, 0.0), (4.0, 4.0, 4.0))
    vectors = np.zeros((3, *grid.shape), np.float32)
    vectors[0] = 8.0
    matrix = np.eye(4)
    matrix[1, 3] = -4.0
    planned = np.array([16.0, 16, 16]), np.array([20.0, 20, 20])
    part = part_around(planned, DisplacementField(vectors, grid), AffineTransform(matrix), 4.0)
    # From 12 to 24 mm in the plan: x begins 8 mm, y ends 4 mm from there.
    assert part.origin_mm == (4.0, 16.0, 12.0)
    assert part.last_mm == (16.0, 28.0, 24.0)


def test_a_plan_that_no_point_comes_from_leaves_the_whole_grid() -> None:
    field = DisplacementField(np.zeros((3, *GRID.shape), np.float32), GRID)
    nowhere = np.array([500.0, 0, 0]), np.array([501.0, 1, 1])
    assert part_around(nowhere, field, AffineTransform.identity(), 4.0) == GRID


def test_a_daily_point_goes_to_the_plan_and_back() -> None:
    matrix = np.eye(4)
    matrix[:3, 3] = 1.0, -2.0, 3.0
    bend = linear_field(np.array([[0.05, 0, 0], [0, 0.02, 0.03], [0, 0, -0.04]]))
    deformation = Deformation(AffineTransform(matrix), (bend,))
    daily = np.array([[0.0, 12.0, 30.0], [5.0, 6.0, 33.0]])
    assert to_daily(deformation, to_planning(deformation, daily)) == pytest.approx(daily, abs=1e-3)


def test_the_box_that_fields_reach_holds_every_point_and_no_more_than_the_margin() -> None:
    grid = VolumeGeometry((2, 3, 4), (0.0, 10.0, 20.0), (4.0, 4.0, 4.0))
    still, moved = (np.zeros((3, *grid.shape), np.float32) for _ in range(2))
    moved[0, 1, 1, 2] = -30.0
    lower, upper = reached(AffineTransform.identity(), [DisplacementField(v, grid) for v in (still, moved)], 1.0)
    # Centres lie from 0 to 12, 10 to 18 and 20 to 24 mm; one vector points 30 mm to the right.
    assert lower.tolist() == [-31.0, 9.0, 19.0]
    assert upper.tolist() == [13.0, 19.0, 25.0]
