# ruff: noqa: E402 - nothing below the first lines can be imported without torch
import math

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra 'training'")

from training.losses import (
    bending_energy,
    dice_loss,
    dice_per_class,
    global_ncc_loss,
    joint_terms,
    local_ncc_loss,
    one_hot,
    task_losses,
    task_names,
)
from training.networks import LevelOutput
from training.patch import Patch
from training.recipe import RECIPES, read_recipe

from .patches import fully_labelled


def test_dice_is_twice_the_overlap_over_both_sums_without_the_background():
    truth = torch.zeros(1, 3, 1, 1, 4)
    truth[0, 0, 0, 0, :1], truth[0, 1, 0, 0, 1:3], truth[0, 2, 0, 0, 3:] = 1, 1, 1
    predicted = torch.zeros_like(truth)
    predicted[0, 1], predicted[0, 2] = 0.5, 0.25
    # Organ 1: overlap 2 * 0.5, sums 4 * 0.5 and 2. Organ 2: overlap 0.25, sums 4 * 0.25 and 1.
    assert dice_per_class(predicted, truth)[1:].tolist() == pytest.approx([2 * 1 / 4, 2 * 0.25 / 2])
    assert dice_loss(predicted, truth).item() == pytest.approx(1 - (0.5 + 0.25) / 2)
    assert dice_loss(truth, truth).item() == pytest.approx(0, abs=1e-6)


def test_dice_sums_over_the_batch_before_it_divides():
    truth = torch.zeros(2, 2, 1, 1, 3)
    truth[0, 1] = 1
    truth[1, 1, 0, 0, 0] = 1
    predicted = truth.clone()
    predicted[1, 1] = 0
    assert dice_loss(predicted, truth).item() == pytest.approx(1 - 2 * 3 / (3 + 4))


@pytest.mark.parametrize("loss", [local_ncc_loss, global_ncc_loss])
def test_correlation_ignores_gain_and_offset_but_not_an_inverted_contrast(loss):
    torch.manual_seed(0)
    image = torch.randn(2, 1, 12, 11, 10)
    assert loss(image, 3 * image + 7).item() == pytest.approx(0, abs=1e-4)
    assert loss(image, -image).item() == pytest.approx(2, abs=1e-4)
    assert loss(image, torch.ones_like(image)).item() == pytest.approx(1, abs=1e-4)


def test_local_correlation_of_a_window_is_that_of_its_voxels():
    """In a window of 3 on a line of 3 voxels, the middle voxel sees all three and the ends see two."""
    fixed = torch.tensor([0.0, 1.0, 2.0]).view(1, 1, 1, 1, 3)
    moving = torch.tensor([0.0, 2.0, 0.0]).view(1, 1, 1, 1, 3)
    # Ends: (0, 1) with (0, 2) correlate fully, (1, 2) with (2, 0) fully the other way; middle: covariance 0.
    assert local_ncc_loss(fixed, moving, window=3).item() == pytest.approx(1 - (1 + 0 - 1) / 3, abs=1e-5)


def test_the_bending_energy_of_an_affine_field_is_zero():
    z, y, x = torch.meshgrid(*[torch.arange(5.0)] * 3, indexing="ij")
    field = torch.stack([2 * x - y + 3, 0.5 * z, x + y + z])[None]
    assert bending_energy(field).item() == pytest.approx(0, abs=1e-10)


def test_the_bending_energy_counts_pure_terms_once_and_mixed_terms_twice():
    z, y, x = torch.meshgrid(*[torch.arange(6.0)] * 3, indexing="ij")
    zero = torch.zeros_like(x)
    # u = x^2 / 2 has u_xx = 1; u = x y has u_xy = 1; each in one of three components.
    assert bending_energy(torch.stack([x * x / 2, zero, zero])[None]).item() == pytest.approx(1 / 3, abs=1e-5)
    assert bending_energy(torch.stack([zero, x * y, zero])[None]).item() == pytest.approx(2 / 3, abs=1e-5)
    assert bending_energy(torch.stack([zero, zero, y * z])[None]).item() == pytest.approx(2 / 3, abs=1e-5)


def test_labels_become_channels_in_their_order():
    labels = torch.tensor([0, 2, 1]).view(1, 1, 1, 1, 3).to(torch.uint8)
    assert one_hot(labels, 3)[0, :, 0, 0].tolist() == [[1, 0, 0], [0, 0, 1], [0, 1, 0]]


@pytest.fixture
def patch() -> Patch:
    """A bladder-like block on a ramp; in the plan it lies two voxels farther along x."""
    fixed_labels = torch.zeros(1, 1, 60, 60, 60, dtype=torch.uint8)
    fixed_labels[..., 26:36, 26:36, 26:36] = 1
    moving_labels = torch.roll(fixed_labels, 2, dims=4)
    return fully_labelled(fixed_labels.float(), moving_labels.float(), fixed_labels, moving_labels)


def outputs_with(shift: float) -> tuple[LevelOutput, ...]:
    outputs = []
    for size, stride in ((20, 1), (12, 2), (8, 4)):
        dvf = torch.zeros(1, 3, size, size, size)
        dvf[:, 0] = shift / stride
        outputs.append(LevelOutput(torch.zeros(1, 2, size, size, size), dvf.requires_grad_()))
    return tuple(outputs)


def test_the_true_displacement_brings_the_registration_dice_loss_to_zero(patch, recipe):
    terms = joint_terms(outputs_with(2.0), patch, recipe.loss, classes=2)
    assert terms["dice_registration"].item() == pytest.approx(0, abs=1e-5)
    assert terms["bending"].item() == 0
    assert joint_terms(outputs_with(0.0), patch, recipe.loss, classes=2)["dice_registration"].item() > 0.1


def test_the_label_warp_pulls_the_displacement_towards_the_planned_organ(patch, recipe):
    """A nearest-neighbour warp in the loss would give a gradient of exactly zero."""
    outputs = outputs_with(1.5)
    joint_terms(outputs, patch, recipe.loss, classes=2)["dice_registration"].backward()
    for output in outputs:
        assert output.dvf.grad[:, 0].sum().item() < 0


def test_tasks_are_the_weighted_sums_of_their_terms(patch, recipe):
    weights = recipe.loss.model_copy(
        update={"dice_segmentation": 2.0, "cross_entropy": 3.0, "dice_registration": 5.0, "ncc": 7.0, "bending": 11.0}
    )
    terms = joint_terms(outputs_with(1.0), patch, weights, classes=2)
    tasks = {name: task.item() for name, task in task_losses(terms, weights).items()}
    assert terms["cross_entropy"].item() == pytest.approx(math.log(2))
    assert tasks["similarity"] == pytest.approx((7 * terms["ncc"] + 11 * terms["bending"]).item())
    assert tasks["registration"] == pytest.approx((5 * terms["dice_registration"]).item())
    assert tasks["segmentation"] == pytest.approx((2 * terms["dice_segmentation"] + 3 * math.log(2)).item())


@pytest.mark.parametrize(
    ("system", "tasks"),
    [
        ("segmentation-a", ("segmentation",)),
        ("registration-a", ("similarity",)),
        ("jrs-registration-b", ("similarity", "registration")),
        ("cross-stitch-b", ("similarity", "registration", "segmentation")),
    ],
)
def test_a_system_has_the_tasks_of_its_paths(system, tasks):
    recipe = read_recipe(RECIPES / f"{system}.toml")
    assert task_names(recipe.loss, recipe.network) == tasks


def test_a_single_path_gives_the_terms_of_its_task_only(patch, recipe):
    whole = outputs_with(1.0)
    segmented = joint_terms(tuple(LevelOutput(o.logits, None) for o in whole), patch, recipe.loss, classes=2)
    registered = joint_terms(tuple(LevelOutput(None, o.dvf) for o in whole), patch, recipe.loss, classes=2)
    assert segmented | registered == joint_terms(whole, patch, recipe.loss, classes=2)
    assert not segmented.keys() & registered.keys()
