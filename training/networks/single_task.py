"""One path alone: it segments, or it registers. Beljaards et al., MIDL 2020; Elmahdy et al., IEEE Access 2021.

The paper gives a single path more channels, so that every network has about as many parameters as the cross-stitch one.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from training.networks.blocks import DVF_COMPONENTS, LevelOutput, TaskPath, initialise
from training.networks.inputs import stacked
from training.recipe import Channel, Widths


class SegmentationNetwork(nn.Module):
    """The segmentation path alone; with the planned labels among its inputs it becomes a prior-guided one."""

    def __init__(self, classes: int, *, inputs: Sequence[Channel], widths: Widths) -> None:
        super().__init__()
        self.inputs = tuple(inputs)
        self.path = TaskPath(len(inputs), classes, widths)
        initialise(self)

    def forward(self, fixed: Tensor, moving: Tensor, moving_labels: Tensor) -> tuple[LevelOutput, ...]:
        """Segment `fixed`; shapes as in `CrossStitchNetwork`, without a dvf."""
        levels = self.path(stacked(self.inputs, fixed, moving, moving_labels))
        return tuple(LevelOutput(logits, None) for logits in levels)

    def shared_parameters(self) -> list[nn.Parameter]:
        """None: there is one task."""
        return []


class RegistrationNetwork(nn.Module):
    """The registration path alone; whether the loss sees contours (JRS-registration) is the recipe's affair."""

    def __init__(self, *, inputs: Sequence[Channel], widths: Widths) -> None:
        super().__init__()
        self.inputs = tuple(inputs)
        self.path = TaskPath(len(inputs), DVF_COMPONENTS, widths)
        initialise(self)

    def forward(self, fixed: Tensor, moving: Tensor, moving_labels: Tensor) -> tuple[LevelOutput, ...]:
        """Register `moving` to `fixed`; shapes as in `CrossStitchNetwork`, without logits."""
        levels = self.path(stacked(self.inputs, fixed, moving, moving_labels))
        return tuple(LevelOutput(None, dvf) for dvf in levels)

    def shared_parameters(self) -> list[nn.Parameter]:
        """The last shared layer: image similarity and contour overlap are two tasks of one path."""
        return [self.path.decoder.high.weight]
