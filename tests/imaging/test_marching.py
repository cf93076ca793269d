import contourpy
import numpy as np
import pytest

from imaging.marching import march


def by_contourpy(values: np.ndarray, level: float) -> list[np.ndarray]:
    """The same lines from contourpy: all planes as one tall picture, apart by their borders of 0."""
    planes, rows, columns = values.shape
    padded = np.zeros((planes, rows + 2, columns + 2), np.float32)
    padded[:, 1:-1, 1:-1] = values
    padded[np.abs(padded - level) < 1e-4] = level - 1e-4
    tall = padded.reshape(-1, columns + 2)
    lines = contourpy.contour_generator(z=tall, name="serial", line_type="Separate").lines(level)
    return [np.array(line[:-1]) for line in lines]


@pytest.mark.parametrize("steps", [1, 2, 4, 1000])
def test_lines_are_those_of_contourpy_to_the_last_digit(steps: int) -> None:
    """Few steps give values on the level itself and many squares whose corners lie crosswise."""
    for seed in range(30):
        values = np.round(steps * np.random.default_rng(seed).random((3, 14, 11))).astype(np.float32) / np.float32(
            steps
        )
        lines, wanted = march(values, 0.5), by_contourpy(values, 0.5)
        assert len(lines.ends) == len(wanted) == len(lines.planes)
        for plane, loop, tall in zip(lines.planes, lines.loops(), wanted, strict=True):
            assert np.array_equal(loop, tall - [0, plane * 16])


def test_a_voxel_alone_is_a_diamond_that_begins_in_its_lowest_row() -> None:
    values = np.zeros((3, 4, 5), np.float32)
    values[1, 2, 3] = 1
    lines = march(values, 0.5)
    assert lines.planes.tolist() == [1]
    assert lines.points.tolist() == [[3.5, 3.0], [4.0, 2.5], [4.5, 3.0], [4.0, 3.5]]


def test_no_plane_and_no_value_above_the_level_give_no_line() -> None:
    for shape in ((0, 0, 0), (2, 0, 5), (3, 4, 5)):
        lines = march(np.full(shape, 0.5, np.float32), 0.5)
        assert (len(lines.points), len(lines.ends), lines.loops()) == (0, 0, [])


def test_more_corners_than_expected_find_room() -> None:
    chessboard = (np.indices((1, 120, 120)).sum(axis=0) % 2).astype(np.float32)
    lines = march(chessboard, 0.75)
    assert len(lines.ends) == 120 * 120 / 2
    assert len(lines.points) == 4 * len(lines.ends)
