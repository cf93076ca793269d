"""The learning rate over the steps of a run."""

import math

from training.recipe import Optimisation


def learning_rate(number: int, settings: Optimisation) -> float:
    """Linear from 0 over the warm-up, constant, then half a cosine down to the final rate over the last steps.

    A recipe without `decay_steps` keeps the rate constant, as the papers do.
    """
    if number < settings.warmup_steps:
        return settings.learning_rate * (number + 1) / settings.warmup_steps
    left = min(1.0, (settings.steps - number) / max(1, settings.decay_steps))
    share = (1 - math.cos(math.pi * left)) / 2
    return settings.final_learning_rate + (settings.learning_rate - settings.final_learning_rate) * share
