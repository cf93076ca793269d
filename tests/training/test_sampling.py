# ruff: noqa: E402 - nothing below the first lines can be imported without torch
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra 'training'")

from imaging.volume import AIR_HU
from training.sampling import cut, draw_patch


def with_sampling(recipe, **changes):
    return recipe.model_copy(update={"sampling": recipe.sampling.model_copy(update=changes)})


def test_what_lies_beyond_the_scan_is_air():
    array = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5).astype(np.int16)
    part = cut(array, np.array([-1, 2, 3]), 4, outside=AIR_HU)
    assert part.shape == (2, 4, 4, 4)
    np.testing.assert_array_equal(part[:, 1:4, :2, :2], array[:, :, 2:, 3:])
    assert (part[:, 0] == AIR_HU).all()
    assert (part[:, :, 2:] == AIR_HU).all()
    assert (part[..., 2:] == AIR_HU).all()


def test_patches_are_centred_equally_often_on_targets_other_organs_and_the_rest(recipe, pairs):
    recipe = with_sampling(recipe, roles="both")
    rng = np.random.default_rng(0)
    middle = recipe.sampling.patch_size // 2
    found = [int(draw_patch(pairs, recipe, rng).fixed_labels[0, 0, middle, middle, middle]) for _ in range(90)]
    counts = [sum(label in group for label in found) for group in ((3, 4), (1, 2), (0,))]
    assert min(counts) >= 18, "each is binomial with mean 30 and standard deviation 4.5"


def test_swapping_the_roles_doubles_the_batch(recipe, pairs):
    recipe = with_sampling(recipe, roles="both", patches=2)
    patch = draw_patch(pairs, recipe, np.random.default_rng(1))
    assert patch.fixed.shape == (4, 1, 48, 48, 48)
    assert torch.equal(patch.fixed[:2], patch.moving[2:])
    assert torch.equal(patch.moving_labels[:2], patch.fixed_labels[2:])
    assert not torch.equal(patch.fixed_labels[:2], patch.moving_labels[:2])


def test_intensities_are_clipped_and_divided_as_the_manifest_will_say(recipe, pairs):
    patch = draw_patch(pairs, recipe, np.random.default_rng(2))
    window = recipe.hu_window
    assert patch.fixed.dtype == torch.float32
    assert patch.fixed.min().item() == pytest.approx(window.lower / window.divisor), "the air beyond the tiny scan"
    assert 0 < patch.fixed.max().item() <= np.float32(window.upper / window.divisor)


def test_the_same_generator_state_draws_the_same_patch(recipe, pairs):
    one, other = (draw_patch(pairs, recipe, np.random.default_rng(5)) for _ in range(2))
    for a, b in zip(one, other, strict=True):
        assert torch.equal(a, b)
