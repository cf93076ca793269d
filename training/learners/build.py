"""The way of learning that a recipe names."""

import torch

from training.learners.adversarial import AdversarialLearner
from training.learners.alternating import AlternatingLearner
from training.learners.joint import JointLearner
from training.learners.protocol import Learner
from training.recipe import Recipe


def begin_learner(recipe: Recipe, *, device: torch.device) -> Learner:
    """A learner at step 0; its weights come from the recipe's seed."""
    torch.manual_seed(recipe.seed)
    if recipe.adversarial is not None:
        return AdversarialLearner(recipe, device)
    if recipe.deep_atlas is not None:
        return AlternatingLearner(recipe, device)
    return JointLearner(recipe, device)
