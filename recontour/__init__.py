"""The command line: the composition root that may import every other package but training."""
