import numpy as np
import pytest

from imaging import nearby
from imaging.displacement import to_planning
from imaging.geometry import VolumeGeometry
from imaging.masks import PackedMasks, RoiPatch
from imaging.propagation import propagate
from imaging.rasterize import rasterize
from imaging.structures import Roi, StructureSet
from imaging.trace import trace
from imaging.transforms import AffineTransform, Deformation, DisplacementField
from tests.closed_form import circle

PLAN = VolumeGeometry((12, 20, 24), (-30.0, -25.0, 0.0), (2.5, 2.5, 3.0))
DAILY = VolumeGeometry((14, 30, 34), (-28.0, -24.0, -3.0), (1.7, 1.6, 2.6))


def whole(patch: RoiPatch) -> np.ndarray:
    """The patch on its whole grid."""
    out = np.zeros(patch.geometry.shape, np.float32)
    out[tuple(slice(a, a + n) for a, n in zip(patch.lower, patch.inside.shape, strict=True))] = patch.inside
    return out


def reference(mask: np.ndarray, deformation: Deformation) -> np.ndarray:
    """One mask, pulled by eight looks per voxel in plain numpy."""
    k, j, i = np.indices(DAILY.shape)
    index = PLAN.to_index(to_planning(deformation, DAILY.to_lps(np.stack([i, j, k], -1).reshape(-1, 3))))
    lower = np.floor(index).astype(int)
    part = index - lower
    padded = np.pad(mask.astype(float), 1)
    total = np.zeros(len(index))
    for corner in np.ndindex(2, 2, 2):
        at = np.clip(lower + corner + 1, 0, np.array(mask.shape[::-1]) + 1)
        weight = np.prod(np.where(np.array(corner) == 1, part, 1 - part), axis=1)
        total += weight * padded[at[:, 2], at[:, 1], at[:, 0]]
    return total.reshape(DAILY.shape)


def some_masks() -> tuple[PackedMasks, list[np.ndarray]]:
    k, j, i = np.indices(PLAN.shape)
    ball = ((k - 5) * 3.0) ** 2 + ((j - 9) * 2.5) ** 2 + ((i - 12) * 2.5) ** 2 < 12.0**2
    masks = [ball, ball & (i > 11), np.zeros(PLAN.shape, bool), (k > 1) & (j > 3) & (i > 2)]
    bits = sum((m.astype(np.uint64) << np.uint64(b) for b, m in enumerate(masks)), np.zeros(PLAN.shape, np.uint64))
    return PackedMasks(bits, (4, 7, 9, 2), PLAN), masks


def some_deformation() -> Deformation:
    matrix = np.eye(4)
    matrix[0, 1], matrix[1, 0] = 0.05, -0.05
    matrix[:3, 3] = 1.0, 2.0, -1.5
    grid = VolumeGeometry((6, 7, 8), (-30.0, -26.0, -6.0), (9.0, 9.0, 8.0))
    vectors = np.random.default_rng(0).normal(0, 1.5, (3, *grid.shape)).astype(np.float32)
    return Deformation(AffineTransform(matrix), (DisplacementField(vectors, grid),))


def test_the_one_pull_agrees_with_a_plain_pull_of_every_roi() -> None:
    packed, masks = some_masks()
    patches = propagate((packed,), some_deformation(), DAILY)
    assert [patch.roi_number for patch in patches] == [4, 7, 9, 2]
    for patch, mask in zip(patches, masks, strict=True):
        assert whole(patch) == pytest.approx(reference(mask, some_deformation()), abs=1e-4)


def test_several_points_of_a_voxel_count_with_their_share() -> None:
    rng = np.random.default_rng(5)
    _, masks = some_masks()
    shaken = [np.logical_xor(masks[0], rng.random(PLAN.shape) < 0.2) for _ in range(4)]
    samples = np.stack(shaken, axis=-1).astype(np.uint64)
    (patch,) = propagate((PackedMasks(samples[..., 0].copy(), (4,), PLAN, samples),), some_deformation(), DAILY)
    expected = np.mean([reference(mask, some_deformation()) for mask in shaken], axis=0)
    assert whole(patch) == pytest.approx(expected, abs=1e-4)


def test_a_contour_comes_back_to_a_tenth_of_a_pixel() -> None:
    grid = VolumeGeometry((3, 24, 24), (-23.0, -23.0, 0.0), (2.0, 2.0, 3.0))
    rng, off = np.random.default_rng(0), []
    for radius in rng.uniform(9, 12, 20):
        x, y, shift = rng.uniform(-1, 1, 3)
        drawn = Roi(1, "disc", contours=tuple(circle(z, (x, y), radius) for z in (0.0, 3.0, 6.0)))
        matrix = np.eye(4)
        matrix[0, 3] = shift
        masks = rasterize(StructureSet((drawn,)), grid, within=True)
        (patch,) = propagate(masks, Deformation(AffineTransform(matrix)), grid)
        corners = np.concatenate([contour.xy_mm for contour in trace(patch)]) + np.array([shift, 0])
        off.append(np.abs(np.linalg.norm(corners - [x, y], axis=1) - radius).mean())
    # With the centres of the pixels alone it is a quarter of a pixel.
    assert np.mean(off) < 0.1 * 2.0


@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_lost_where_a_field_bends_within_a_few_millimetres(seed: int) -> None:
    packed, masks = some_masks()
    # Ends within the daily CT, so that it also tears; voxels of 3 mm differ by 10 mm and more.
    grid = VolumeGeometry((9, 11, 12), (-20.0, -15.0, 3.0), (3.0, 3.0, 3.0))
    vectors = np.random.default_rng(seed).normal(0, 8, (3, *grid.shape)).astype(np.float32)
    smooth = some_deformation()
    steep = Deformation(smooth.affine, (*smooth.fields, DisplacementField(vectors, grid)))
    for patch, mask in zip(propagate((packed,), steep, DAILY), masks, strict=True):
        assert whole(patch) == pytest.approx(reference(mask, steep), abs=1e-4)


def test_the_search_for_what_lies_near_is_compiled_once_for_all_cases() -> None:
    packed, _ = some_masks()
    wide = VolumeGeometry((14, 60, 60), (-90.0, -90.0, -3.0), (3.0, 3.0, 3.0))
    within = VolumeGeometry((4, 6, 6), (-5.0, -5.0, 10.0), (3.0, 3.0, 3.0))
    for daily in (DAILY, wide, within):
        propagate((packed,), some_deformation(), daily)
    assert len(nearby._look_up.signatures) == 1


def test_a_plan_that_lies_beside_the_daily_scan_leaves_nothing_there() -> None:
    packed, _ = some_masks()
    matrix = np.eye(4)
    matrix[0, 3] = 500.0
    assert not any(patch.inside.size for patch in propagate((packed,), Deformation(AffineTransform(matrix)), DAILY))


def test_a_patch_is_no_larger_than_its_roi() -> None:
    packed, _ = some_masks()
    for patch in propagate((packed,), some_deformation(), DAILY):
        if patch.roi_number == 9:
            assert patch.inside.size == 0
            continue
        for axis in range(3):
            assert patch.inside.take(0, axis=axis).any()
            assert patch.inside.take(-1, axis=axis).any()


def test_a_daily_grid_coarser_than_the_plan_loses_nothing_at_the_ends_of_a_roi() -> None:
    mask = np.zeros(PLAN.shape, np.uint64)
    mask[3:9, 4:16, 4:20] = 1
    packed = PackedMasks(mask, (1,), PLAN)
    # Every third planning centre along x and y, every second along z: index 4 to 19, 4 to 15, 3 to 8.
    coarse = VolumeGeometry((6, 7, 8), (-30.0 + 2.5, -25.0 + 2.5, 3.0), (7.5, 7.5, 6.0))
    (patch,) = propagate((packed,), Deformation(AffineTransform.identity()), coarse)
    assert patch.lower == (1, 1, 1)
    assert patch.inside.shape == (3, 4, 6)
    assert patch.inside.min() == 1


def test_the_boundary_lies_between_voxels_where_the_plan_has_it() -> None:
    mask = np.zeros(PLAN.shape, np.uint64)
    mask[:, :, :10] = 1
    daily = VolumeGeometry((1, 1, 2), (-30.0 + 9 * 2.5 + 0.5, 0.0, 15.0), (1.0, 1.0, 1.0))
    (patch,) = propagate((PackedMasks(mask, (1,), PLAN),), Deformation(AffineTransform.identity()), daily)
    # The last inner centre is at index 9; 0.5 mm and 1.5 mm beyond it are 0.2 and 0.6 of the way to the next one.
    assert patch.inside[0, 0].tolist() == pytest.approx([0.8, 0.4], abs=1e-4)


def test_daily_planes_beyond_the_planning_scan_stay_empty() -> None:
    everywhere = PackedMasks(np.ones(PLAN.shape, np.uint64), (1,), PLAN)
    daily = VolumeGeometry((30, 4, 4), (0.0, 0.0, -30.0), (1.0, 1.0, 3.0))
    (patch,) = propagate((everywhere,), Deformation(AffineTransform.identity()), daily)
    assert np.flatnonzero(whole(patch)[:, 0, 0] >= 0.5).tolist() == list(range(10, 22))
