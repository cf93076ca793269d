import numpy as np
import pytest

from imaging.geometry import VolumeGeometry
from imaging.structures import Contour, Roi, StructureSet
from imaging.transforms import AffineTransform
from recontour.scoring import mean_over, patches_of, score

GRID = VolumeGeometry((30, 40, 40), (-20.0, -20.0, 0.0), (1.0, 1.0, 2.0))


def square(number: int, name: str, *, left: float, z: range) -> Roi:
    """20 x 20 mm, its corners between voxel centres."""
    corners = np.array([[left, -10.5], [left + 20, -10.5], [left + 20, 9.5], [left, 9.5]])
    return Roi(number, name, contours=tuple(Contour(float(k), corners) for k in z))


PLAN = StructureSet((square(1, "Bladder", left=-10.5, z=range(10, 30, 2)),))


def test_a_plan_carried_by_the_right_translation_meets_the_truth() -> None:
    moved = StructureSet((square(1, "Bladder", left=-5.5, z=range(10, 30, 2)),))
    matrix = np.eye(4)
    matrix[0, 3] = -5
    truth = patches_of(moved, GRID, daily=GRID)
    steps = {
        "before": patches_of(PLAN, GRID, daily=GRID),
        "affine": patches_of(PLAN, GRID, daily=GRID, affine=AffineTransform(matrix)),
        "segmented": {},
    }
    (found,) = score(truth, steps, {1: "Bladder"})
    assert found.name == "Bladder"
    assert found.true_cc == pytest.approx(20 * 20 * 20 / 1000)
    # 20 columns shifted by 5 share 15.
    assert found.dice["before"] == pytest.approx(0.75)
    assert found.dice["affine"] == pytest.approx(1)
    assert found.mean_mm["affine"] == pytest.approx(0)
    assert found.dice["segmented"] is None
    assert mean_over([found], "before") == pytest.approx(0.75)
    assert mean_over([found], "segmented") is None
