# ruff: noqa: E402 - nothing below the first lines can be imported without torch
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

torch = pytest.importorskip("torch", reason="training needs the extra 'training'")

from imaging.displacement import to_planning
from imaging.geometry import VolumeGeometry
from imaging.transforms import AffineTransform, Deformation, DisplacementField
from training.networks import LEVELS
from training.warp import at_level, warp

OUTPUT = {"high": (6, 5, 4), "mid": (7, 6, 5), "low": (6, 5, 4)}
INPUT = (46, 45, 44)


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.name)
def test_the_warp_agrees_with_scipy_on_random_fields(level):
    rng = np.random.default_rng(3)
    volume = rng.normal(size=(2, 3, *INPUT)).astype(np.float32)
    dvf = rng.normal(0, 4, size=(2, 3, *OUTPUT[level.name])).astype(np.float32)
    warped = warp(torch.from_numpy(volume), torch.from_numpy(dvf), level).numpy()
    z, y, x = np.meshgrid(*(level.border + level.stride * np.arange(n) for n in OUTPUT[level.name]), indexing="ij")
    for batch in range(2):
        dx, dy, dz = level.stride * dvf[batch].astype(np.float64)
        for channel in range(3):
            expected = map_coordinates(volume[batch, channel], [z + dz, y + dy, x + dx], order=1, mode="nearest")
            np.testing.assert_allclose(warped[batch, channel], expected, atol=2e-4)


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.name)
def test_without_displacement_the_warp_is_the_subsampling_of_the_level(level):
    volume = torch.randn(1, 2, *INPUT)
    warped = warp(volume, torch.zeros(1, 3, *OUTPUT[level.name]), level)
    torch.testing.assert_close(warped, at_level(volume, OUTPUT[level.name], level), atol=1e-4, rtol=0)


def test_a_displacement_of_one_voxel_to_the_left_fetches_from_the_margin():
    """Sampling only the part under the output would repeat its edge instead."""
    volume = torch.zeros(1, 1, *INPUT)
    volume[..., 15] = 1.0
    dvf = torch.zeros(1, 3, *OUTPUT["high"])
    dvf[:, 0] = -5.0
    assert warp(volume, dvf, LEVELS[0])[0, 0, 0, 0].tolist() == pytest.approx([1, 0, 0, 0])


def test_training_and_service_pull_along_the_same_vector():
    """The field that the loss improves carries the contours: components, units and direction agree."""
    rng = np.random.default_rng(4)
    spacing, level = 2.0, LEVELS[0]
    dvf_voxels = rng.normal(0, 3, size=(1, 3, *OUTPUT["high"])).astype(np.float32)
    region = VolumeGeometry(INPUT, (-40.0, 10.0, 7.0), (spacing,) * 3)
    z, y, x = OUTPUT["high"]
    grid = region.cropped((20, 20, 20), (20 + z, 20 + y, 20 + x))
    field = DisplacementField(dvf_voxels[0] * spacing, grid)
    # Three ramps hold each voxel's own position, so that pulling them returns where each point was fetched.
    axes = np.meshgrid(region.axis_mm("z"), region.axis_mm("y"), region.axis_mm("x"), indexing="ij")
    ramps = torch.from_numpy(np.stack(axes[::-1])[None].astype(np.float32))
    fetched = warp(ramps, torch.from_numpy(dvf_voxels), level)[0].numpy().reshape(3, -1).T
    indices = np.stack(np.meshgrid(*map(np.arange, OUTPUT["high"]), indexing="ij"), axis=-1).reshape(-1, 3)[:, ::-1]
    expected = to_planning(Deformation(AffineTransform.identity(), (field,)), grid.to_lps(indices))
    np.testing.assert_allclose(fetched, expected, atol=1e-3)


def test_the_three_levels_fetch_a_known_displacement_in_millimetres_from_the_same_places():
    """Coarser outputs are supervised where they lie: same sign, length and voxel as the full resolution."""
    spacing_mm, input_size = 2.0, 60
    positions = [torch.arange(input_size, dtype=torch.float32) * spacing_mm] * 3
    ramps = torch.stack(torch.meshgrid(*positions, indexing="ij")[::-1])[None]
    fetched, lies = {}, {}
    for level, size in zip(LEVELS, (20, 12, 8), strict=True):
        at_mm = at_level(ramps, (size,) * 3, level)
        x, y, z = at_mm.unbind(dim=1)
        # Affine in the place, another factor and sign for each component, so that swapped axes and shifts are noticed.
        truth_mm = torch.stack([4 + 0.05 * y, -6 + 0.03 * z, 3 - 0.04 * x], dim=1)
        voxels = truth_mm / (spacing_mm * level.stride)
        fetched[level.name], lies[level.name] = warp(ramps, voxels, level), at_mm
        torch.testing.assert_close(fetched[level.name], at_mm + truth_mm, atol=1e-3, rtol=0)
    # Input voxel 20 is voxel 0 of the full and 1 of the half resolution; 18 is 0 of the half and 1 of the quarter.
    for one, other, ours, theirs in (
        ("high", "mid", slice(0, 20, 2), slice(1, 11)),
        ("mid", "low", slice(0, 12, 2), slice(1, 7)),
    ):
        for values in (lies, fetched):
            fine, coarse = values[one][..., ours, ours, ours], values[other][..., theirs, theirs, theirs]
            torch.testing.assert_close(fine, coarse, atol=1e-3, rtol=0)
