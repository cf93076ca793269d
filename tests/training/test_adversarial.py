# ruff: noqa: E402 - nothing below the first lines can be imported without torch
import math

import pytest
from pydantic import ValidationError

torch = pytest.importorskip("torch", reason="training needs the extra 'training'")

from torch import nn

from imaging.manifest import HuWindow
from training.adversarial_losses import adversarial_loss, clip_weights, critic_loss, gradient_penalty, warped_triple
from training.adversarial_settings import AdversarialSettings, AlignedExampleSettings
from training.aligned_examples import Perturbation, aligned_triple, draw_perturbation
from training.networks.critic import PatchCritic
from training.patch import Patch

from .patches import fully_labelled

WINDOW = HuWindow(lower=-160, upper=240, divisor=200)
SIZE = 48
OUT = 8
"""Voxels per axis of the full-resolution output of a patch of 48."""


@pytest.fixture
def patch() -> Patch:
    """An organ on a ramp; in the plan it lies two voxels farther along x."""
    fixed_labels = torch.zeros(1, 1, SIZE, SIZE, SIZE, dtype=torch.uint8)
    fixed_labels[..., 20:25, 21:27, 21:25] = 1
    moving_labels = torch.roll(fixed_labels, 2, dims=4)
    ramp = torch.linspace(-0.5, 0.5, SIZE).expand(1, 1, SIZE, SIZE, SIZE).clone()
    return fully_labelled(ramp, ramp.clone(), fixed_labels, moving_labels)


@pytest.fixture
def still() -> Perturbation:
    """The Theta that changes nothing."""
    zero, one = torch.zeros(1, 1, 1, 1, 1), torch.ones(1, 1, 1, 1, 1)
    return Perturbation(
        jitter=torch.zeros(1, 3, OUT, OUT, OUT),
        contrast=torch.zeros(1, 2, 1, 1, 1),
        gain=one,
        offset=zero,
        noise=torch.zeros(1, 1, OUT, OUT, OUT),
        blur=zero,
    )


# --- the critic


@pytest.mark.parametrize(("widths", "field"), [((2,), 7), ((2, 2), 15), ((1, 1, 1), 31)])
def test_a_score_sees_as_many_voxels_as_the_docstring_says(widths, field):
    torch.manual_seed(1)
    critic = PatchCritic(1, widths=widths)
    assert critic.receptive_field == field
    triple = torch.randn(1, 3, 1, 1, 1).expand(1, 3, 48, 48, 48).clone().requires_grad_()
    index = 24 // 2 ** len(widths)  # its centre is voxel 24
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.abs_()  # no sum of weights can vanish by chance
    critic(triple)[0, 0, index, index, index].backward()
    seen = triple.grad.abs().sum(dim=(0, 1))
    for axis in range(3):
        support = seen.sum(dim=[other for other in range(3) if other != axis]).nonzero().flatten()
        assert (support.min().item(), support.max().item()) == (24 - field // 2, 24 + field // 2)


def test_the_critic_answers_with_a_map_halved_once_per_layer():
    critic = PatchCritic(4, widths=(2, 3, 4))
    assert critic(torch.zeros(2, 6, 24, 20, 17)).shape == (2, 1, 3, 3, 3)


def test_the_score_of_an_example_does_not_depend_on_the_others_of_its_batch():
    """The gradient penalty holds for one example only without batch normalisation."""
    torch.manual_seed(0)
    critic = PatchCritic(1, widths=(2, 3)).train()
    batch = torch.randn(3, 3, 8, 8, 8)
    torch.testing.assert_close(critic(batch)[1:2], critic(batch[1:2]))


# --- losses


def test_a_critic_that_gives_every_triple_the_same_score_has_loss_zero():
    scores = torch.full((2, 1, 3, 3, 3), 7.0)
    assert critic_loss(scores, scores).item() == 0
    assert adversarial_loss(scores).item() == -7


def test_the_critic_wants_aligned_scores_high_and_the_generator_warped_ones():
    aligned, warped = torch.full((1, 1, 2, 2, 2), 3.0), torch.full((1, 1, 2, 2, 2), 5.0)
    assert critic_loss(aligned, warped).item() == 5 - 3
    assert adversarial_loss(warped).item() == -5


def test_the_penalty_of_a_linear_critic_is_that_of_its_weights():
    """D(x) = w . x has the gradient w everywhere, so the penalty is (|w| - 1)^2."""
    weights = torch.zeros(1, 3, 2, 2, 2)
    weights[0, 0, 0, 0, 0], weights[0, 2, 1, 1, 1] = 3.0, 4.0  # length 5

    def linear(triple: torch.Tensor) -> torch.Tensor:
        return (triple * weights).sum(dim=(1, 2, 3, 4)).view(-1, 1, 1, 1, 1)

    aligned, warped, share = torch.randn(2, 3, 2, 2, 2), torch.randn(2, 3, 2, 2, 2), torch.rand(2, 1, 1, 1, 1)
    assert gradient_penalty(linear, aligned, warped, share).item() == pytest.approx((5 - 1) ** 2)


def test_the_penalty_is_taken_between_the_aligned_and_the_warped_triple():
    """D(x) = x^2 / 2 of one voxel has the gradient x; halves of 1 and 5 are 3, a quarter of the way from 5 is 4."""

    def square(triple: torch.Tensor) -> torch.Tensor:
        return triple.square() / 2

    aligned, warped = torch.full((2, 1, 1, 1, 1), 1.0), torch.full((2, 1, 1, 1, 1), 5.0)
    share = torch.tensor([0.5, 0.25]).view(2, 1, 1, 1, 1)
    assert gradient_penalty(square, aligned, warped, share).item() == pytest.approx((4 + 9) / 2)


def test_the_penalty_moves_the_critic_towards_slope_one():
    torch.manual_seed(0)
    critic = nn.Conv3d(3, 1, 1)
    with torch.no_grad():
        critic.weight.copy_(torch.tensor([3.0, 0.0, 4.0]).view(1, 3, 1, 1, 1))
    triple = torch.randn(1, 3, 1, 1, 1)
    gradient_penalty(critic, triple, triple, torch.ones(1, 1, 1, 1, 1)).backward()
    # d(|w| - 1)^2 / dw = 2 (|w| - 1) w / |w|
    assert critic.weight.grad.flatten().tolist() == pytest.approx([2 * 4 * 3 / 5, 0, 2 * 4 * 4 / 5])


def test_clipping_cuts_weights_and_leaves_those_within_the_limit():
    layer = nn.Conv3d(1, 3, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([-2.0, 0.005, 0.3]).view(3, 1, 1, 1, 1))
    clip_weights(layer, 0.01)
    assert layer.weight.flatten().tolist() == pytest.approx([-0.01, 0.005, 0.01])


# --- triples


def test_a_triple_is_fixed_image_moving_image_and_one_channel_per_organ_without_the_background(patch):
    inner = slice(20, 28)
    triple = warped_triple(patch, torch.zeros(1, 3, OUT, OUT, OUT), classes=3)
    assert triple.shape == (1, 2 + 2, OUT, OUT, OUT)
    torch.testing.assert_close(triple[:, :1], patch.fixed[..., inner, inner, inner])
    torch.testing.assert_close(triple[:, 1:2], patch.moving[..., inner, inner, inner])
    torch.testing.assert_close(
        triple[:, 2], (patch.moving_labels == 1)[:, 0, inner, inner, inner].float(), atol=1e-5, rtol=0
    )
    assert triple[:, 3].max() == 0, "no voxel has label 2"


def test_the_true_displacement_lays_the_planned_contour_on_the_daily_one(patch, still):
    dvf = torch.zeros(1, 3, OUT, OUT, OUT)
    dvf[:, 0] = 2
    warped = warped_triple(patch, dvf, classes=3)
    aligned = aligned_triple(patch, still, WINDOW, classes=3)
    torch.testing.assert_close(warped[:, 2:], aligned[:, 2:], atol=1e-5, rtol=0)


def test_the_warped_labels_carry_a_gradient_to_the_displacement(patch):
    """A critic that likes the organ where it is on the daily CT pulls the contour there."""
    dvf = torch.full((1, 3, OUT, OUT, OUT), 0.0)
    dvf[:, 0] = 1.5
    dvf.requires_grad_()
    wanted = (patch.fixed_labels == 1)[..., 20:28, 20:28, 20:28].float()
    adversarial_loss(warped_triple(patch, dvf, classes=3)[:, 2:3] * wanted).backward()
    assert dvf.grad[:, 0].sum().item() < 0


# --- well-aligned examples


def test_a_theta_that_changes_nothing_shows_the_fixed_image_twice_and_its_labels(patch, still):
    triple = aligned_triple(patch, still, WINDOW, classes=3)
    torch.testing.assert_close(triple[:, 1], triple[:, 0], atol=1e-5, rtol=0)
    wanted = (patch.fixed_labels == 1)[:, 0, 20:28, 20:28, 20:28].float()
    torch.testing.assert_close(triple[:, 2], wanted, atol=1e-5, rtol=0)


def changed(still: Perturbation, **parts: torch.Tensor) -> Perturbation:
    return Perturbation(**(vars(still) | parts))


def test_gain_offset_and_the_contrast_of_an_organ_change_the_moving_image_only(patch, still):
    plain = aligned_triple(patch, still, WINDOW, classes=3)
    theta = changed(
        still,
        gain=torch.full((1, 1, 1, 1, 1), 1.1),
        offset=torch.full((1, 1, 1, 1, 1), 0.02),
        contrast=torch.tensor([0.3, 0.0]).view(1, 2, 1, 1, 1),
    )
    triple = aligned_triple(patch, theta, WINDOW, classes=3)
    assert torch.equal(triple[:, :1], plain[:, :1])
    assert torch.equal(triple[:, 2:], plain[:, 2:])
    expected = 1.1 * (plain[:, 1:2] + 0.3 * plain[:, 2:3]) + 0.02
    torch.testing.assert_close(triple[:, 1:2], expected)


def test_the_moving_image_of_an_example_stays_in_the_window(patch, still):
    theta = changed(still, gain=torch.full((1, 1, 1, 1, 1), 1000.0))
    image = aligned_triple(patch, theta, WINDOW, classes=3)[:, 1]
    assert (image.min().item(), image.max().item()) == pytest.approx((-160 / 200, 240 / 200))


def test_the_blur_spreads_a_voxel_over_its_neighbours_by_one_two_one(patch, still):
    noise = torch.zeros(1, 1, OUT, OUT, OUT)
    noise[..., 4, 4, 4] = 0.64
    flat = patch._replace(fixed=torch.zeros_like(patch.fixed))
    theta = changed(still, noise=noise, blur=torch.ones(1, 1, 1, 1, 1))
    image = aligned_triple(flat, theta, WINDOW, classes=3)[0, 1]
    assert image[4, 4, 4].item() == pytest.approx(0.64 / 8)
    assert image[4, 4, 5].item() == image[3, 4, 4].item() == pytest.approx(0.64 / 16)
    assert image[3, 5, 5].item() == pytest.approx(0.64 / 64)
    assert image.sum().item() == pytest.approx(0.64)


def test_draws_stay_within_the_settings():
    settings = AlignedExampleSettings(noise_hu=(20, 40), jitter_voxels=1.0, jitter_spacing_voxels=4)
    drawn = draw_perturbation(
        settings, WINDOW, batch=6, organs=4, shape=(24, 20, 22), generator=torch.Generator().manual_seed(0)
    )
    sds = drawn.noise.flatten(1).std(dim=1) * WINDOW.divisor
    assert 19 < sds.min() < sds.max() < 41
    assert sds.max() - sds.min() > 5, "each example draws its own"
    length = drawn.jitter.norm(dim=1)
    assert 0.3 < length.max() <= 1 + 1e-6
    assert drawn.jitter.diff(dim=2).abs().max() < 2 / math.sqrt(3) / 4 + 0.1, "smooth between the points"
    assert (drawn.gain - 1).abs().max() <= 0.05
    assert drawn.offset.abs().max() * WINDOW.divisor <= 10
    assert drawn.contrast.shape == (6, 4, 1, 1, 1)


def test_the_same_seed_draws_the_same_example():
    first, second = (
        draw_perturbation(
            AlignedExampleSettings(),
            WINDOW,
            batch=1,
            organs=2,
            shape=(8, 8, 8),
            generator=torch.Generator().manual_seed(3),
        )
        for _ in range(2)
    )
    assert all(torch.equal(part, vars(second)[name]) for name, part in vars(first).items())


# --- settings


@pytest.mark.parametrize(
    "wrong",
    [{"critic_widths": ()}, {"critic_steps": 0}, {"lambda_adversarial": -1}, {"lipschitz": "none"}, {"colour": 1}],
)
def test_adversarial_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValidationError):
        AdversarialSettings(**wrong)


def test_a_noise_range_upside_down_is_refused():
    with pytest.raises(ValidationError, match="larger"):
        AlignedExampleSettings(noise_hu=(40, 20))
