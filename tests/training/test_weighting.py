# ruff: noqa: E402 - nothing below the first lines can be imported without torch
import math

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra 'training'")

from training.weighting import SMALLEST_WEIGHT, make_weighting
from training.weighting_settings import WeightingSettings

TASKS = ("similarity", "carried", "segmented")
SETTINGS = WeightingSettings(epoch_steps=2)


def losses(*values):
    return dict(zip(TASKS, (torch.tensor(value) for value in values), strict=False))


def toy(*slopes):
    """One shared parameter at 1 and a loss slope * parameter per task: gradient norm and loss are the slope."""
    shared = torch.nn.Parameter(torch.tensor(1.0))
    return shared, {name: slope * shared for name, slope in zip(TASKS, slopes, strict=False)}


def test_equal_weighting_is_the_plain_sum():
    rule = make_weighting("equal", TASKS, SETTINGS)
    assert rule.combine(losses(0.5, 0.25, 2.0), shared=(), number=0).item() == 2.75
    assert rule.weights() == dict.fromkeys(TASKS, 1.0)
    assert rule.parameters() == ()


def test_uncertainty_divides_by_the_variance_and_adds_the_log_of_the_deviation():
    rule = make_weighting("uncertainty", TASKS[:2], SETTINGS)
    (log_variances,) = rule.parameters()
    with torch.no_grad():
        log_variances.copy_(torch.tensor([math.log(4.0), 0.0]))
    total = rule.combine(losses(2.0, 3.0), shared=(), number=0)
    # sigma = 2 and 1: 2 / 4 + log 2 and 3 / 1 + 0.
    assert total.item() == pytest.approx(0.5 + math.log(2) + 3)
    assert rule.weights() == pytest.approx({"similarity": 0.25, "carried": 1.0})


def test_uncertainty_pulls_the_log_variance_by_half_minus_the_weighted_loss():
    rule = make_weighting("uncertainty", TASKS, SETTINGS)
    rule.combine(losses(0.25, 0.5, 2.0), shared=(), number=0).backward()
    # At sigma = 1: 1/2 - L. A loss of 1/2 is where the variance rests.
    assert rule.parameters()[0].grad.tolist() == pytest.approx([0.25, 0.0, -1.5])


def test_learned_variances_come_to_twice_the_losses():
    rule = make_weighting("uncertainty", TASKS[:2], SETTINGS)
    optimizer = torch.optim.SGD(rule.parameters(), lr=0.5)
    for number in range(200):
        optimizer.zero_grad()
        rule.combine(losses(0.1, 1.5), shared=(), number=number).backward()
        optimizer.step()
    assert rule.weights() == pytest.approx({"similarity": 1 / 0.2, "carried": 1 / 3}, rel=1e-3)


def test_dynamic_weights_are_one_for_two_epochs_and_then_follow_the_rates_of_descent():
    rule = make_weighting("dwa", TASKS[:2], SETTINGS)
    # Epoch means: (2, 1), then (1, 1); epochs are two steps long.
    sequence = [(3.0, 1.5), (1.0, 0.5), (1.5, 1.25), (0.5, 0.75)]
    for number, values in enumerate(sequence):
        assert rule.combine(losses(*values), shared=(), number=number).item() == pytest.approx(sum(values))
    total = rule.combine(losses(4.0, 8.0), shared=(), number=4)
    # Rates 1/2 and 1, temperature 2: exponentials of 1/4 and 1/2.
    first = 2 * math.exp(0.25) / (math.exp(0.25) + math.exp(0.5))
    assert total.item() == pytest.approx(4 * first + 8 * (2 - first), rel=1e-6)
    assert rule.weights() == pytest.approx({"similarity": first, "carried": 2 - first})


def test_dynamic_weights_use_the_last_two_epochs_only():
    rule = make_weighting("dwa", TASKS[:2], WeightingSettings(epoch_steps=1, temperature=1.0))
    for number, values in enumerate([(9.0, 1.0), (4.0, 2.0), (1.0, 3.0), (7.0, 7.0)]):
        rule.combine(losses(*values), shared=(), number=number)
    first = 2 * math.exp(1 / 4) / (math.exp(1 / 4) + math.exp(3 / 2))
    assert rule.weights() == pytest.approx({"similarity": first, "carried": 2 - first})


def test_gradnorm_lowers_the_weight_of_the_task_with_the_larger_gradient():
    settings = WeightingSettings(epoch_steps=1, learning_rate=0.1)
    rule = make_weighting("gradnorm", TASKS[:2], settings)
    shared, both = toy(3.0, 1.0)
    total = rule.combine(both, shared=(shared,), number=0)
    assert total.item() == pytest.approx(4)  # the first step has weights 1
    # Norms 3 and 1, mean 2, both tasks at their first loss: the signs are + and -. Adam's first step is the learning
    # rate: 1 - 0.1 and 1 + 0.1, whose sum is two already.
    assert rule.weights() == pytest.approx({"similarity": 0.9, "carried": 1.1}, rel=1e-5)


def test_gradnorm_turns_the_weights_towards_equal_pull():
    rule = make_weighting("gradnorm", TASKS[:2], WeightingSettings(epoch_steps=1, learning_rate=0.02))
    for number in range(200):
        shared, both = toy(3.0, 1.0)
        rule.combine(both, shared=(shared,), number=number)
    # w1 * 3 = w2 * 1 with w1 + w2 = 2.
    assert rule.weights() == pytest.approx({"similarity": 0.5, "carried": 1.5}, abs=0.05)


def test_gradnorm_wants_a_stronger_pull_from_the_task_that_lags():
    rule = make_weighting("gradnorm", TASKS[:2], WeightingSettings(epoch_steps=1, learning_rate=0.01))
    left = torch.nn.Parameter(torch.tensor([1.0, 1.0]))
    rule.combine({"similarity": left[0], "carried": left[1]}, shared=(left,), number=0)
    assert rule.weights() == pytest.approx({"similarity": 1, "carried": 1})  # equal norms, equal progress: no pull
    with torch.no_grad():
        left[1] = 0.25
    rule.combine({"similarity": left[0], "carried": left[1]}, shared=(left,), number=1)
    weights = rule.weights()
    assert weights["similarity"] > 1 > weights["carried"]


def test_gradnorms_weights_sum_to_the_number_of_tasks_and_stay_positive():
    rule = make_weighting("gradnorm", TASKS, WeightingSettings(epoch_steps=1, learning_rate=0.5))
    for number in range(30):
        shared, all_three = toy(1000.0, 1.0, 0.01)
        rule.combine(all_three, shared=(shared,), number=number)
        weights = rule.weights()
        assert sum(weights.values()) == pytest.approx(3, rel=1e-5)
        assert min(weights.values()) > SMALLEST_WEIGHT / 10


def test_gradnorm_leaves_the_gradient_of_the_total_to_the_tasks():
    rule = make_weighting("gradnorm", TASKS[:2], SETTINGS)
    shared, both = toy(3.0, 1.0)
    rule.combine(both, shared=(shared,), number=0).backward()
    assert shared.grad.item() == pytest.approx(4)


def test_a_task_that_does_not_reach_the_shared_parameters_pulls_with_zero():
    rule = make_weighting("gradnorm", TASKS[:2], SETTINGS)
    shared = torch.nn.Parameter(torch.tensor(1.0))
    other = torch.nn.Parameter(torch.tensor(1.0))
    rule.combine({"similarity": 2 * shared, "carried": 2 * other}, shared=(shared,), number=0)
    assert rule.weights()["similarity"] < 1


def test_gradnorm_refuses_a_network_that_shares_nothing():
    _, both = toy(1.0, 2.0)
    with pytest.raises(ValueError, match="share"):
        make_weighting("gradnorm", TASKS[:2], SETTINGS).combine(both, shared=(), number=0)


@pytest.mark.parametrize("kind", ["equal", "uncertainty", "dwa", "gradnorm"])
def test_a_loss_without_a_task_is_refused(kind):
    with pytest.raises(ValueError, match="tasks are"):
        make_weighting(kind, TASKS, SETTINGS).combine(losses(1.0, 2.0), shared=(), number=0)


@pytest.mark.parametrize("kind", ["equal", "uncertainty", "dwa", "gradnorm"])
def test_a_continued_rule_goes_on_as_if_it_had_never_stopped(kind, tmp_path):
    def run(rule, numbers):
        optimizer = torch.optim.SGD(rule.parameters(), lr=0.1) if rule.parameters() else None
        for number in numbers:
            shared, all_three = toy(3.0 / (1 + number), 1.0, 0.5 + 0.1 * number)
            total = rule.combine(all_three, shared=(shared,), number=number)
            if optimizer:
                optimizer.zero_grad()
                total.backward()
                optimizer.step()
        return total.item()

    whole, halved, continued = (make_weighting(kind, TASKS, SETTINGS) for _ in range(3))
    expected = run(whole, range(9))
    run(halved, range(5))
    torch.save(halved.state_dict(), tmp_path / "state.pt")
    continued.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert run(continued, range(5, 9)) == expected
    assert continued.weights() == whole.weights()
