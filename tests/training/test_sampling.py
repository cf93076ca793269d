# ruff: noqa: E402 - nothing below the first lines can be imported without torch
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra 'training'")

from imaging.volume import AIR_HU
from training.sampling import cut, draw_patch

from .tiny import tiny_recipe


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


def test_hidden_contours_do_not_tell_where_to_look(pairs):
    """Where the day's contours are hidden, patches lie about the planned organs, and without those anywhere."""
    recipe = tiny_recipe("deep-atlas-part")
    hidden = recipe.model_copy(update={"deep_atlas": recipe.deep_atlas.model_copy(update={"labelled_fraction": 0.0})})
    (pair, *_) = pairs
    moved = pair.labels.copy()
    moved[0] = 0  # whatever the day's contours are
    for labels in (pair.labels, moved):
        blind = replace(pair, labels=labels, centres=np.zeros_like(pair.centres))
        patch = draw_patch((blind,), hidden, np.random.default_rng(3))
        assert not bool(patch.fixed_labelled) or not bool(patch.moving_labelled)
        if labels is pair.labels:
            first = patch
    assert torch.equal(first.fixed, patch.fixed)
    assert torch.equal(first.moving, patch.moving)


def test_the_network_is_shown_plans_that_lack_organs_and_the_losses_are_not(recipe, pairs):
    lacking = recipe.augmentation.model_copy(update={"lacking_probability": 1.0})
    patch = draw_patch(pairs, recipe.model_copy(update={"augmentation": lacking}), np.random.default_rng(6))
    assert not patch.planned_labels.any()
    assert patch.moving_labels.any()
