# ruff: noqa: E402 - nothing below the first lines can be imported without torch
import copy

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra 'training'")

from training.adversarial_settings import AdversarialSettings
from training.learners.adversarial import AdversarialLearner
from training.learners.joint import JointLearner
from training.learners.protocol import Learner
from training.patch import Patch
from training.recipe import Recipe

from .patches import fully_labelled
from .tiny import tiny_recipe

CPU = torch.device("cpu")
SIZE = 48


def adversarial_recipe(**changes: object) -> Recipe:
    settings = AdversarialSettings(critic_widths=(2, 3), critic_steps=2).model_copy(update=changes)
    return tiny_recipe("jrs-gan", adversarial=settings)


def steps(learner: Learner, numbers: range) -> list[dict[str, torch.Tensor]]:
    scalars = []
    for number in numbers:
        torch.manual_seed(number)  # as the training loop does
        scalars.append(learner.step(noisy_patch(), number))
    return scalars


def noisy_patch() -> Patch:
    """Noise with four boxes of organs; the planned boxes lie two voxels farther along x."""
    fixed_labels = torch.zeros(1, 1, SIZE, SIZE, SIZE, dtype=torch.uint8)
    for label in range(1, 5):
        fixed_labels[..., 20:28, 18 + 2 * label : 20 + 2 * label, 18:26] = label
    moving_labels = torch.roll(fixed_labels, 2, dims=4)
    fixed, moving = (0.3 * torch.randn(labels.shape) + 0.7 * (labels > 0) for labels in (fixed_labels, moving_labels))
    return fully_labelled(fixed, moving, fixed_labels, moving_labels)


@pytest.mark.parametrize("lipschitz", ["gradient-penalty", "weight-clipping"])
def test_a_learner_put_back_goes_on_as_one_that_never_stopped(lipschitz):
    recipe = adversarial_recipe(lipschitz=lipschitz)
    torch.manual_seed(0)
    whole = AdversarialLearner(recipe, CPU)
    steps(whole, range(1))
    state = copy.deepcopy(whole.state_dict())
    expected = steps(whole, range(1, 3))
    torch.manual_seed(99)
    resumed = AdversarialLearner(recipe, CPU)
    resumed.load_state_dict(state)
    assert steps(resumed, range(1, 3)) == expected
    for name in ("network", "critic"):
        for key, tensor in whole.state_dict()[name].items():
            assert torch.equal(tensor, resumed.state_dict()[name][key]), key


def test_without_its_weight_the_critic_leaves_plain_registration_as_it_is():
    """lambda 2 = 0 is JRS-registration without the planned labels as input."""
    recipe = adversarial_recipe(lambda_adversarial=0.0)
    plain_recipe = recipe.model_copy(update={"adversarial": None})
    torch.manual_seed(0)
    learner = AdversarialLearner(recipe, CPU)
    torch.manual_seed(0)
    plain = JointLearner(plain_recipe, CPU)
    numbers = range(2)
    for ours, theirs in zip(steps(learner, numbers), steps(plain, numbers), strict=True):
        for name in ("dice_registration", "ncc", "bending", "total"):
            assert ours[name].item() == pytest.approx(theirs[name].item(), rel=1e-6), name
    for key, tensor in plain.network.state_dict().items():
        torch.testing.assert_close(tensor, learner.network.state_dict()[key])


def test_the_generators_total_is_its_terms_and_the_weighted_opinion_of_the_critic():
    recipe = adversarial_recipe(lambda_adversarial=3.0)
    torch.manual_seed(0)
    (scalars,) = steps(AdversarialLearner(recipe, CPU), range(1))
    loss = recipe.loss
    plain = sum(getattr(loss, name) * scalars[name] for name in ("dice_registration", "ncc", "bending"))
    assert scalars["without critic"].item() == pytest.approx(plain.item(), rel=1e-6)
    assert scalars["total"].item() == pytest.approx((plain + 3 * scalars["adversarial"]).item(), rel=1e-6)


def test_the_critic_is_updated_as_often_as_the_recipe_says(monkeypatch):
    calls = []
    real = AdversarialLearner._update_critic
    monkeypatch.setattr(
        AdversarialLearner, "_update_critic", lambda self, *given: (calls.append(1), real(self, *given))[1]
    )
    recipe = adversarial_recipe(critic_steps=3)
    steps(AdversarialLearner(recipe, CPU), range(2))
    assert len(calls) == 2 * 3


def test_a_clipped_critic_has_no_weight_beyond_the_limit():
    recipe = adversarial_recipe(lipschitz="weight-clipping", weight_limit=0.02)
    learner = AdversarialLearner(recipe, CPU)
    (scalars,) = steps(learner, range(1))
    assert max(parameter.abs().max().item() for parameter in learner.critic.parameters()) <= 0.02
    assert "gradient penalty" not in scalars


def test_the_critic_learns_to_tell_warped_triples_from_aligned_ones():
    recipe = adversarial_recipe(critic_steps=15, critic_learning_rate=1e-2, critic_widths=(8,))
    torch.manual_seed(0)
    (scalars,) = steps(AdversarialLearner(recipe, CPU), range(1))
    assert scalars["critic"].item() < -0.1


def test_a_patch_whose_labels_are_hidden_is_refused():
    recipe = adversarial_recipe()
    hidden = noisy_patch()._replace(moving_labelled=torch.tensor([False]))
    with pytest.raises(ValueError, match="labelled"):
        AdversarialLearner(recipe, CPU).step(hidden, 0)


def test_a_recipe_without_a_critic_or_with_learned_task_weights_is_refused():
    with pytest.raises(ValueError, match="no critic"):
        AdversarialLearner(tiny_recipe("jrs-registration-a"), CPU)
    recipe = adversarial_recipe().model_copy(update={"weighting": "dwa"})
    with pytest.raises(ValueError, match="equal"):
        AdversarialLearner(recipe, CPU)
