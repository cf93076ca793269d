"""Names that moved to `training.dataset` and `training.pairs`."""

from training.dataset import HeldOutCase
from training.pairs import packed_organs

__all__ = ["HeldOutCase", "packed_organs"]
