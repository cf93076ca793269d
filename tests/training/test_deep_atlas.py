# ruff: noqa: E402 - nothing below the first lines can be imported without torch
import copy
import hashlib
import math

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra 'training'")

from pydantic import ValidationError
from torch import nn

from training.deep_atlas_losses import (
    contours,
    fixed_drawn_loss,
    gradient_energy,
    moving_drawn_loss,
    overlap_loss,
    similarity_loss,
    smoothness_loss,
    supervised_loss,
)
from training.deep_atlas_settings import DeepAtlasSettings, is_labelled, pairs_to_draw_from, turn
from training.deep_atlas_turns import registration_terms, segmentation_terms
from training.learners.alternating import AlternatingLearner
from training.losses import bending_energy, global_ncc_loss, local_ncc_loss, one_hot
from training.networks import parameter_count
from training.networks.deep_atlas import DeepAtlasNetwork, RegistrationUNet, SegmentationUNet, inner
from training.patch import Patch
from training.recipe import NetworkSpec

from .patches import fully_labelled
from .tiny import tiny_recipe

PAPER_WIDTHS = (16, 32, 64)
CASES = [(True, True), (False, True), (True, False), (False, False)]
"""Whether the fixed and the moving contours are drawn."""


# --- networks


def test_the_registration_network_has_the_parameters_of_voxelmorphs_channels():
    layers = [  # kernel 27, inputs, outputs
        (2, 16),  # both images
        (16, 32),
        (32, 32),
        (32, 32),
        (32, 32),  # 1/16
        (32, 32),  # 1/8
        (32 + 32, 32),  # 1/4
        (32 + 32, 32),  # 1/2
        (32 + 32, 8),  # 1/2
        (8, 8),  # 1
        (8 + 16, 3),  # displacement
    ]
    expected = sum(27 * inputs * outputs + outputs for inputs, outputs in layers)
    assert expected == 880 + 13_856 + 4 * 27_680 + 2 * 55_328 + 13_832 + 1_736 + 1_947 == 253_627
    assert parameter_count(RegistrationUNet(PAPER_WIDTHS)) == expected


def test_the_segmentation_network_has_the_parameters_of_the_light_u_net():
    blocks = [
        (27, 1, 8),  # encoder, full resolution
        (27, 8, 16),
        (27, 16, 16),  # 1/2
        (27, 16, 32),
        (27, 32, 32),  # 1/4
        (27, 32, 64),
        (27, 64, 64),  # 1/8
        (27, 64, 64),
        (8, 64, 64),  # decoder: transposed convolution to 1/4
        (27, 64 + 64, 64),
        (27, 64, 64),
        (8, 64, 64),  # to 1/2
        (27, 32 + 64, 32),
        (27, 32, 32),
        (8, 32, 32),  # to full resolution
        (27, 16 + 32, 16),
        (27, 16, 16),
    ]
    # Weights, biases, and a gain and an offset of the normalisation; then the head of five classes.
    expected = sum(kernel * inputs * outputs + 3 * outputs for kernel, inputs, outputs in blocks) + 16 * 5 + 5
    assert expected == 329_424 + 365_120 + 143_744 + 36_032 + 85 == 874_405
    assert parameter_count(SegmentationUNet(5, PAPER_WIDTHS)) == expected


@pytest.mark.parametrize("size", [(44, 48, 60), (72, 72, 72)])
def test_both_networks_answer_on_the_input_less_twenty_voxels_per_side(size):
    network = DeepAtlasNetwork(5, widths=(2, 3, 4)).eval()
    fixed, moving, labels = torch.randn(3, 1, 1, *size)
    with torch.no_grad():
        (output,) = network(fixed, moving, labels)
        logits, dvf = network.segmentation(fixed), network.registration(fixed, moving)
    assert logits.shape == (1, 5, *size)
    assert dvf.shape == (1, 3, *size)
    wanted = tuple(slice(20, n - 20) for n in size)
    assert torch.equal(output.logits, logits[:, :, *wanted])
    assert torch.equal(output.dvf, dvf[:, :, *wanted])


def test_a_new_registration_network_moves_next_to_nothing():
    torch.manual_seed(0)
    with torch.no_grad():
        dvf = RegistrationUNet(PAPER_WIDTHS)(*torch.randn(2, 1, 1, 32, 32, 32))
    assert dvf.abs().max() < 0.01


def test_no_border_leaves_a_volume_whole():
    volume = torch.arange(2.0 * 3 * 3 * 3).view(1, 2, 3, 3, 3)
    assert torch.equal(inner(volume, 0), volume)
    assert inner(volume, 1).flatten().tolist() == [13.0, 40.0]


# --- losses


def line(*channels: list[float]) -> torch.Tensor:
    """Channels of a single row of voxels, (1, classes, 1, 1, n)."""
    return torch.tensor(channels).view(1, len(channels), 1, 1, -1)


def test_overlap_counts_the_background_and_every_class_alike():
    predicted = line([1, 1, 0.5, 0], [0, 0, 0.5, 1])
    drawn = line([1.0, 0, 0, 0], [0.0, 1, 1, 1])
    # Background: 2 * 1 / (2.5 + 1). Organ: 2 * 1.5 / (1.5 + 3).
    assert overlap_loss(predicted, drawn).tolist() == pytest.approx([1 - (2 / 3.5 + 3 / 4.5) / 2], abs=1e-6)


def test_a_class_that_both_sides_lack_overlaps_fully():
    predicted = line([1.0, 1], [0.0, 0])
    assert overlap_loss(predicted, predicted).item() == pytest.approx(0, abs=1e-6)
    assert overlap_loss(predicted, predicted.flip(1)).item() == pytest.approx(1, abs=1e-5)


def test_overlap_is_taken_patch_by_patch():
    full, empty = line([1.0, 1], [0.0, 0]), line([0.0, 0], [1.0, 1])
    losses = overlap_loss(torch.cat([full, full]), torch.cat([full, empty]))
    assert losses.tolist() == pytest.approx([0, 1], abs=1e-5)


def test_a_missing_contour_is_what_the_other_network_predicts():
    labels = torch.tensor([[1, 0], [1, 0]]).view(2, 1, 1, 1, 2)
    predicted = torch.cat([line([0.3, 0.6], [0.7, 0.4])] * 2)
    chosen = contours(labels, torch.tensor([True, False]), predicted)
    assert chosen[0].flatten().tolist() == [0, 1, 1, 0]
    assert torch.equal(chosen[1], predicted[1])


def test_every_case_weighs_overlap_as_the_papers_table():
    """Predicted, drawn and carried contours whose overlaps are known: L is 0 for equal ones, 1 for opposite ones."""
    settings = DeepAtlasSettings(lambda_anatomy=3, lambda_supervised=5)
    left, right, half = line([1.0, 0], [0.0, 1]), line([0.0, 1], [1.0, 0]), line([0.5, 0.5], [0.5, 0.5])
    # L(half, left): per class 2 * 0.5 / (1 + 1), so 1/2.
    assert supervised_loss(half, left, settings).item() == pytest.approx(5 / 2)
    assert moving_drawn_loss(left, half, left, right, settings).item() == pytest.approx(3 * 1 + 5 / 2, abs=1e-4)
    assert moving_drawn_loss(left, right, left, left, settings).item() == pytest.approx(3 * 0 + 5 * 1, abs=1e-4)
    assert fixed_drawn_loss(left, left, half, settings).item() == pytest.approx(3 / 2 + 5 * 0, abs=1e-4)
    assert fixed_drawn_loss(half, left, right, settings).item() == pytest.approx(3 * 1 + 5 / 2, abs=1e-4)


def test_cross_entropy_joins_the_supervised_overlap():
    settings = DeepAtlasSettings(lambda_anatomy=3, lambda_supervised=5)
    left, half = line([1.0, 0], [0.0, 1]), line([0.5, 0.5], [0.5, 0.5])
    # Overlap 1/2, and log 2 in every voxel.
    expected = 5 * (1 / 2 + 2 * math.log(2))
    assert supervised_loss(half, left, settings, cross_entropy=2).item() == pytest.approx(expected)
    assert moving_drawn_loss(left, half, left, left, settings, cross_entropy=2).item() == pytest.approx(expected)
    assert fixed_drawn_loss(half, left, left, settings, cross_entropy=2).item() == pytest.approx(expected)
    assert torch.isfinite(supervised_loss(left, left.flip(1), settings, cross_entropy=2)).all()


def test_the_gradient_energy_of_a_linear_field_is_the_mean_of_its_slopes_squared():
    z, y, x = torch.meshgrid(*[torch.arange(5.0)] * 3, indexing="ij")
    field = torch.stack([2 * x, 3 * y, z + x])[None]
    # Along x the components rise by 2, 0, 1; along y by 0, 3, 0; along z by 0, 0, 1.
    assert gradient_energy(field).item() == pytest.approx((4 + 1 + 9 + 1) / 9)
    assert gradient_energy(torch.full_like(field, 7.0)).item() == 0


def test_the_settings_choose_similarity_and_smoothness():
    torch.manual_seed(0)
    fixed, warped, dvf = torch.randn(1, 1, 6, 6, 6), torch.randn(1, 1, 6, 6, 6), torch.randn(1, 3, 6, 6, 6)
    whole, window = DeepAtlasSettings(smoothness="bending"), DeepAtlasSettings(smoothness="gradient", ncc_window=3)
    assert similarity_loss(fixed, warped, whole) == global_ncc_loss(fixed, warped)
    assert similarity_loss(fixed, warped, window) == local_ncc_loss(fixed, warped, window=3)
    assert smoothness_loss(dvf, whole) == bending_energy(dvf)
    assert smoothness_loss(dvf, window) == gradient_energy(dvf)


# --- turns: a segmentation by threshold and a registration by one constant, so that every loss is known


class Threshold(nn.Module):
    """Says organ with certainty `sure` where the image is positive."""

    def __init__(self, sure: float) -> None:
        super().__init__()
        self.sure = nn.Parameter(torch.tensor(sure))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        organ = torch.where(image > 0, self.sure, 1 - self.sure)
        return torch.cat([1 - organ, organ], dim=1)


class Shift(nn.Module):
    """Looks `x` voxels farther along x."""

    def __init__(self, x: float) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.tensor(x))

    def forward(self, fixed: torch.Tensor, moving: torch.Tensor) -> torch.Tensor:
        assert moving.shape == fixed.shape
        zeros = torch.zeros_like(fixed)
        return torch.cat([zeros + self.x, zeros, zeros], dim=1)


def row(*voxels: float) -> torch.Tensor:
    """Every line along x alike, (1, 1, 5, 5, n)."""
    return torch.tensor(voxels).expand(1, 1, 5, 5, -1)


def one_pair(fixed_labelled: bool, moving_labelled: bool) -> Patch:
    """Drawn organs of 2 of 4 inner voxels, the moving one voxel farther; a threshold sees one more and two fewer.

    Behind the border of one voxel, the rows along x are:
        S_f 1100, S_m o phi 1100 for a shift of one voxel, S_m 0110, F(I_f) 1110, F(I_m) 1000, F(I_m) o phi 0000.
    """
    return Patch(
        fixed=row(-1, 1, 1, 1, -1, -1),
        moving=row(-1, 1, -1, -1, -1, -1),
        fixed_labels=row(0, 1, 1, 0, 0, 0).to(torch.uint8),
        moving_labels=row(0, 0, 1, 1, 0, 0).to(torch.uint8),
        fixed_labelled=torch.tensor([fixed_labelled]),
        moving_labelled=torch.tensor([moving_labelled]),
        planned_labels=row(0, 0, 1, 1, 0, 0).to(torch.uint8),
    )


def overlap_of(first: str, second: str) -> float:
    """L of two rows of 0 and 1 worked out by counting."""
    dice = []
    for wanted in "01":
        a, b = ({i for i, voxel in enumerate(voxels) if voxel == wanted} for voxels in (first, second))
        dice.append(2 * len(a & b) / (len(a) + len(b)) if a or b else 1.0)
    return 1 - sum(dice) / 2


SETTINGS = DeepAtlasSettings(lambda_anatomy=3, lambda_supervised=5, loss_border=1, lambda_similarity=0)


@pytest.mark.parametrize(
    ("drawn", "anatomy"),
    [
        ((True, True), overlap_of("1100", "1100")),
        ((False, True), overlap_of("1100", "1110")),
        ((True, False), overlap_of("0000", "1100")),
        ((False, False), overlap_of("0000", "1110")),
    ],
)
def test_the_registration_is_judged_by_drawn_contours_and_else_by_predicted_ones(drawn, anatomy):
    segment, register = Threshold(1.0), Shift(1.0)
    terms = registration_terms(segment, register, one_pair(*drawn), settings=SETTINGS, classes=2, helped=True)
    assert terms["anatomy"].item() == pytest.approx(anatomy, abs=1e-5)
    assert terms["total"].item() == pytest.approx(3 * anatomy, abs=1e-5)
    assert terms["smoothness"].item() == 0


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [
        ((True, True), 5 * overlap_of("1110", "1100")),
        ((False, True), 3 * overlap_of("1100", "1110") + 5 * overlap_of("1000", "0110")),
        ((True, False), 3 * overlap_of("0000", "1100") + 5 * overlap_of("1110", "1100")),
        ((False, False), 0),
    ],
)
def test_the_segmentation_learns_from_drawn_contours_and_from_carried_ones(drawn, expected):
    segment, register = Threshold(1.0), Shift(1.0)
    terms = segmentation_terms(segment, register, one_pair(*drawn), settings=SETTINGS, classes=2, helped=True)
    assert terms["total"].item() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [
        ((True, True), 5 * overlap_of("1110", "1100")),
        ((False, True), 5 * overlap_of("1000", "0110")),
        ((True, False), 5 * overlap_of("1110", "1100")),
        ((False, False), 0),
    ],
)
def test_a_segmentation_alone_learns_from_whichever_side_is_drawn(drawn, expected):
    segment, register = Threshold(1.0), Shift(float("nan"))
    terms = segmentation_terms(segment, register, one_pair(*drawn), settings=SETTINGS, classes=2, helped=False)
    assert terms["total"].item() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("drawn", CASES)
def test_a_registration_alone_asks_for_contours_only_where_both_are_drawn(drawn):
    segment, register = Threshold(float("nan")), Shift(1.0)
    terms = registration_terms(segment, register, one_pair(*drawn), settings=SETTINGS, classes=2, helped=False)
    assert ("anatomy" in terms) == all(drawn)
    assert torch.isfinite(terms["total"])


@pytest.mark.parametrize("drawn", CASES)
def test_gradients_reach_the_network_whose_turn_it_is_and_no_other(drawn):
    # A drawn organ of two voxels loses its second one to a longer shift, a predicted one of one voxel its only one.
    segment, register = Threshold(0.9), Shift(1.6 if drawn[1] else 0.6)
    registration_terms(segment, register, one_pair(*drawn), settings=SETTINGS, classes=2, helped=True)[
        "total"
    ].backward()
    assert register.x.grad != 0
    assert segment.sure.grad is None
    register.x.grad = None
    total = segmentation_terms(segment, register, one_pair(*drawn), settings=SETTINGS, classes=2, helped=True)["total"]
    assert total.requires_grad == any(drawn)
    if any(drawn):
        total.backward()
        assert segment.sure.grad != 0
    assert register.x.grad is None


def test_the_error_of_a_carried_prediction_reaches_the_moving_scan():
    """With only the fixed contour drawn and no supervision, the moving prediction is all that can learn."""
    settings = SETTINGS.model_copy(update={"lambda_supervised": 0.0})
    segment = Threshold(0.9)
    pair = one_pair(True, False)
    segmentation_terms(segment, Shift(1.0), pair, settings=settings, classes=2, helped=True)["total"].backward()
    # F(I_m) o phi is 0000: more certainty takes organ from the two voxels that are organ.
    assert segment.sure.grad > 0


def test_a_batch_is_the_mean_of_its_cases():
    pairs = [one_pair(*drawn) for drawn in CASES]
    batch = Patch(*(torch.cat(tensors) for tensors in zip(*pairs, strict=True)))
    segment, register = Threshold(0.8), Shift(1.0)
    for terms in (segmentation_terms, registration_terms):
        alone = [terms(segment, register, p, settings=SETTINGS, classes=2, helped=True)["total"] for p in pairs]
        together = terms(segment, register, batch, settings=SETTINGS, classes=2, helped=True)["total"]
        assert together.item() == pytest.approx(torch.stack(alone).mean().item(), abs=1e-5)


# --- settings


def test_each_network_learns_alone_before_they_take_turns():
    settings = DeepAtlasSettings(
        segmentation_alone=0.1, registration_alone=0.2, registration_steps_per_segmentation_step=3
    )
    turns = [turn(number, steps=20, settings=settings) for number in range(20)]
    assert turns[:2] == [("segmentation", False)] * 2
    assert turns[2:6] == [("registration", False)] * 4
    assert [t.network for t in turns[6:15]] == (["segmentation"] + ["registration"] * 3) * 2 + ["segmentation"]
    assert all(t.helped for t in turns[6:])


def test_with_one_label_the_registration_comes_first_and_helps_the_segmentation_at_once():
    settings = DeepAtlasSettings(segmentation_alone=0.1, registration_alone=0.2, labels="one-planning")
    turns = [turn(number, steps=20, settings=settings) for number in range(7)]
    assert turns[:4] == [("registration", False)] * 4
    assert turns[4:6] == [("segmentation", True)] * 2
    assert turns[6] == ("segmentation", True)


def test_the_paper_updates_the_registration_twenty_times_per_segmentation_step():
    settings = DeepAtlasSettings(segmentation_alone=0, registration_alone=0)
    turns = [turn(number, steps=210, settings=settings).network for number in range(210)]
    assert turns.count("segmentation") * 20 == turns.count("registration") == 200


def test_shares_of_more_than_all_steps_are_refused():
    with pytest.raises(ValidationError, match="more than all steps"):
        DeepAtlasSettings(segmentation_alone=0.6, registration_alone=0.5)


NAMES = tuple(f"{patient:08x}-{day}" for patient in range(100) for day in range(10))
FEW = NAMES[:200]


def test_planning_scans_are_labelled_and_a_fraction_of_the_daily_ones():
    settings = {share: DeepAtlasSettings(labelled_fraction=share) for share in (0.0, 0.3, 0.6, 1.0)}
    assert all(is_labelled(name, "moving", chosen) for name in NAMES[:50] for chosen in settings.values())
    labelled = {s: {name for name in NAMES if is_labelled(name, "fixed", chosen)} for s, chosen in settings.items()}
    assert labelled[0.0] == set()
    assert labelled[1.0] == set(NAMES)
    assert labelled[0.3] < labelled[0.6]
    # Three standard deviations of a binomial: 3 * sqrt(0.3 * 0.7 / 1000) = 0.043.
    assert len(labelled[0.3]) / len(NAMES) == pytest.approx(0.3, abs=0.043)


def test_which_daily_scan_is_labelled_follows_from_its_name_and_the_seed():
    position = int.from_bytes(hashlib.sha256(b"7 0badcafe-3").digest()[:6], "big") / 2**48
    for share in (position - 1e-9, position + 1e-9):
        settings = DeepAtlasSettings(labelled_fraction=share, label_seed=7)
        assert is_labelled("0badcafe-3", "fixed", settings) == (share > position)


def test_one_planning_scan_is_the_only_label_of_the_cohort():
    settings = DeepAtlasSettings(labels="one-planning")
    labelled = [name for name in FEW if is_labelled(name, "moving", settings, cohort=FEW)]
    assert len(labelled) == 10
    assert len({name[:8] for name in labelled}) == 1
    assert not any(is_labelled(name, "fixed", settings, cohort=FEW) for name in FEW)
    assert [n for n in FEW if is_labelled(n, "moving", settings, cohort=FEW[::-1])] == labelled
    with pytest.raises(ValueError, match="whole cohort"):
        is_labelled(FEW[0], "moving", settings)


def test_with_one_label_the_segmentation_draws_from_its_pairs_only():
    settings = DeepAtlasSettings(labels="one-planning", segmentation_alone=0, registration_alone=0.5)
    drawn = pairs_to_draw_from(FEW, 5, steps=10, settings=settings)
    assert [FEW[i] for i in drawn] == [n for n in FEW if is_labelled(n, "moving", settings, cohort=FEW)]
    assert pairs_to_draw_from(FEW, 4, steps=10, settings=settings) == tuple(range(200))
    every = DeepAtlasSettings(segmentation_alone=0.5, registration_alone=0)
    assert pairs_to_draw_from(FEW, 0, steps=10, settings=every) == tuple(range(200))


# --- learner


def recipe_with(**settings: object):
    spec = NetworkSpec(
        family="deep-atlas",
        segmentation_inputs=("fixed",),
        registration_inputs=("fixed", "moving"),
        widths=(2, 3, 4),
    )
    base = tiny_recipe(network=spec, deep_atlas=DeepAtlasSettings(**settings))
    changes = {"steps": 8, "warmup_steps": 4, "decay_steps": 0, "learning_rate": 1e-4, "precision": "float32"}
    return base.model_copy(update={"optimisation": base.optimisation.model_copy(update=changes)})


def learner_with(seed: int = 0, **settings: object) -> AlternatingLearner:
    torch.manual_seed(seed)
    return AlternatingLearner(recipe_with(**settings), torch.device("cpu"))


def random_patch(seed: int, drawn: tuple[tuple[bool, bool], ...] = ((True, False), (False, True))) -> Patch:
    generator = torch.Generator().manual_seed(seed)
    fixed, moving = torch.randn(2, len(drawn), 1, 24, 24, 24, generator=generator)
    labels = torch.randint(0, 5, (2, len(drawn), 1, 24, 24, 24), generator=generator, dtype=torch.uint8)
    return Patch(fixed, moving, labels[0], labels[1], *torch.tensor(drawn).T, labels[1])


def weights_of(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("number", "trained", "frozen"), [(4, "segmentation", "registration"), (5, "registration", "segmentation")]
)
def test_a_step_changes_one_network_and_leaves_the_other_as_it_was(number, trained, frozen):
    learner = learner_with()  # 2 + 2 steps alone, then turns from step 4 on
    before = {name: weights_of(getattr(learner.network, name)) for name in (trained, frozen)}
    terms = learner.step(random_patch(0), number)
    assert terms["total"] == terms[trained]
    assert frozen not in terms
    assert not any(term.requires_grad for term in terms.values())
    assert not same(before[trained], weights_of(getattr(learner.network, trained)))
    # Among the frozen tensors are the running means of the normalisation.
    assert same(before[frozen], weights_of(getattr(learner.network, frozen)))
    assert all(parameter.grad is None for parameter in getattr(learner.network, frozen).parameters())
    assert all(parameter.grad is not None for parameter in getattr(learner.network, trained).parameters())


@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize("labels", ["daily-fraction", "one-planning"])
def test_hidden_labels_make_no_difference(number, labels):
    patch = random_patch(0, tuple(CASES))
    hidden = patch._replace(
        fixed_labels=torch.where(patch.fixed_labelled.view(-1, 1, 1, 1, 1), patch.fixed_labels, 3),
        moving_labels=torch.where(patch.moving_labelled.view(-1, 1, 1, 1, 1), patch.moving_labels, 3),
    )
    learners = [learner_with(labels=labels), learner_with(labels=labels)]
    totals = [learner.step(p, number)["total"] for learner, p in zip(learners, (patch, hidden), strict=True)]
    assert torch.equal(*totals)
    assert same(*(weights_of(learner.network) for learner in learners))


def test_a_segmentation_step_without_labels_changes_nothing():
    learner = learner_with()
    learner.step(random_patch(0), 0)  # so that Adam remembers a gradient
    before = weights_of(learner.network)
    assert learner.step(random_patch(1, ((False, False),)), 1)["total"] == 0
    assert same(before, weights_of(learner.network))


def test_rates_are_adams_of_each_network_scaled_by_the_recipes_warm_up():
    learner = learner_with(segmentation_learning_rate=1e-3, registration_learning_rate=5e-4)
    for number in range(6):
        learner.step(random_patch(number), number)
    rates = {name: state["param_groups"][0]["lr"] for name, state in learner.state_dict()["optimizers"].items()}
    assert rates == pytest.approx({"segmentation": 1e-3, "registration": 5e-4})
    learner.step(random_patch(6), 0)
    assert learner.state_dict()["optimizers"]["segmentation"]["param_groups"][0]["lr"] == pytest.approx(1e-3 / 4)


def test_a_resumed_run_equals_one_that_never_stopped():
    settings = {"registration_steps_per_segmentation_step": 1}
    straight = learner_with(**settings)
    for number in range(8):
        straight.step(random_patch(number), number)
    stopped = learner_with(**settings)
    for number in range(5):
        stopped.step(random_patch(number), number)
    resumed = learner_with(seed=1, **settings)
    resumed.load_state_dict(copy.deepcopy(stopped.state_dict()))
    for number in range(5, 8):
        resumed.step(random_patch(number), number)
    assert same(weights_of(straight.network), weights_of(resumed.network))


def test_a_recipe_without_the_settings_is_refused():
    with pytest.raises(ValueError, match="deep_atlas"):
        AlternatingLearner(tiny_recipe(), torch.device("cpu"))


def test_the_registration_learns_to_carry_a_shifted_ball():
    """Six voxels of radius, two voxels apart: the overlap after the warp rises well above that before it."""
    torch.manual_seed(0)
    learner = AlternatingLearner(
        recipe_with(
            segmentation_alone=0, registration_alone=0.9, lambda_smoothness=0.1, registration_learning_rate=0.01
        ),
        torch.device("cpu"),
    )
    z, y, x = torch.meshgrid(*[torch.arange(28.0)] * 3, indexing="ij")
    balls = [((x - c) ** 2 + (y - 14) ** 2 + (z - 14) ** 2 < 36).float()[None, None] for c in (13, 15)]
    drawn = [ball.to(torch.uint8) for ball in balls]
    patch = fully_labelled(*balls, *drawn)
    first = learner.step(patch, 4)["anatomy"]
    for _ in range(40):
        last = learner.step(patch, 4)["anatomy"]
    assert one_hot(drawn[0], 5)[:, 1].sum() > 800
    assert last < 0.5 * first
