"""The networks of the papers; `build.build_network` makes the one that a recipe names."""

from training.networks.blocks import LEVELS, Level, LevelOutput, parameter_count
from training.recipe import MARGIN, SIZE_MULTIPLE

__all__ = ["LEVELS", "MARGIN", "SIZE_MULTIPLE", "Level", "LevelOutput", "parameter_count"]
