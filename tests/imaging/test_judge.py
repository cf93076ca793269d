"""Who decides between two fields must see what they differ by."""

import numpy as np
import pytest

from imaging import judge as module
from imaging.geometry import VolumeGeometry
from imaging.judge import ComparedPair, Judge, fine_judge_of, judge_of
from imaging.transforms import AffineTransform, DisplacementField
from imaging.volume import COMPARED_MM, Volume

OWN = VolumeGeometry((60, 64, 64), (-47.25, -47.25, -44.25), (1.5, 1.5, 1.5))
REGION = VolumeGeometry((22, 23, 23), (-44.0, -44.0, -42.0), (COMPARED_MM,) * 3)
IDENTITY = AffineTransform.identity()


def walls(shift_mm: float, contents_hu: float = 40.0) -> Volume:
    """A cylinder along z with a wall of 4 mm in fat, `shift_mm` to the left of the middle."""
    y, x = OWN.axis_mm("y")[:, None], OWN.axis_mm("x")[None, :] + shift_mm
    radius = np.hypot(x, y)
    hu = np.where(radius < 20, contents_hu, np.where(radius < 24, 60.0, -100.0))
    noise = np.random.default_rng(int(10 * shift_mm)).normal(0, 10, OWN.shape)
    return Volume((hu + noise).astype(np.int16), OWN)


def both(daily: Volume, planning: Volume) -> tuple[Judge, Judge]:
    pair = ComparedPair.of(daily.compared, planning.compared)
    farthest = [DisplacementField(np.full((3, *REGION.shape), mm, np.float32), REGION) for mm in (-3.0, 3.0)]
    return judge_of(pair, IDENTITY, REGION), fine_judge_of(daily, planning, pair, IDENTITY, farthest)


def shifted(judge: Judge, mm: float) -> float:
    """Mean distance near the wall of what is `mm` to the right."""
    vectors = np.zeros((3, *judge.grid.shape), np.float32)
    vectors[0] = mm
    y, x = judge.grid.axis_mm("y")[:, None], judge.grid.axis_mm("x")[None, :]
    return float(judge.distance(vectors)[:, np.abs(np.hypot(x, y) - 22) < 6].mean())


def test_the_fine_judge_tells_a_millimetre_better_than_the_one_who_looks_at_means() -> None:
    # The planning CT shows at x - 2 what the daily one shows at x.
    coarse, fine = ([shifted(judge, mm) for mm in (-2.0, -1.0)] for judge in both(walls(0.0), walls(2.0)))
    assert fine[0] < fine[1]
    assert fine[1] - fine[0] > 1.5 * (coarse[1] - coarse[0])


def test_contents_that_changed_are_no_reason_to_move_the_wall() -> None:
    _, fine = both(walls(0.0), walls(0.0, contents_hu=300.0))
    assert shifted(fine, 0.0) < min(shifted(fine, -3.0), shifted(fine, 3.0))


def test_a_large_region_is_judged_on_a_coarser_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_VOXELS", 8_000)
    _, fine = both(walls(0.0), walls(0.0))
    # 88 x 88 x 84 mm in 8 000 voxels.
    assert fine.grid.spacing_mm == pytest.approx((4.3323,) * 3, abs=1e-3)
