"""Two tasks in one trunk: all of it shared, or the encoder only. Elmahdy et al., IEEE Access 2021."""

from collections.abc import Sequence

from torch import Tensor, nn

from training.networks.blocks import (
    DVF_COMPONENTS,
    Decoder,
    Encoder,
    LevelOutput,
    TaskPath,
    initialise,
    last_convolution,
)
from training.networks.inputs import stacked
from training.recipe import Channel, Widths


class DenseNetwork(nn.Module):
    """Hard parameter sharing: one path whose heads answer both tasks. The papers' table calls it dense."""

    def __init__(self, classes: int, *, inputs: Sequence[Channel], widths: Widths) -> None:
        super().__init__()
        self.classes = classes
        self.inputs = tuple(inputs)
        self.path = TaskPath(len(inputs), classes + DVF_COMPONENTS, widths)
        initialise(self)

    def forward(self, fixed: Tensor, moving: Tensor, moving_labels: Tensor) -> tuple[LevelOutput, ...]:
        """Segment and register; shapes as in `CrossStitchNetwork`."""
        levels = self.path(stacked(self.inputs, fixed, moving, moving_labels))
        return tuple(LevelOutput(level[:, : self.classes], level[:, self.classes :]) for level in levels)

    def shared_parameters(self) -> list[nn.Parameter]:
        """The last layer before the heads."""
        return [last_convolution(self.path.decoder.up2)]


class SharedEncoderNetwork(nn.Module):
    """SEDD: layers 1 to 5 shared, from the second halving on a decoder per task; both decoders use the same skips."""

    def __init__(self, classes: int, *, inputs: Sequence[Channel], widths: Widths) -> None:
        super().__init__()
        self.inputs = tuple(inputs)
        self.encoder = Encoder(len(inputs), widths)
        self.segmentation = Decoder(classes, widths)
        self.registration = Decoder(DVF_COMPONENTS, widths)
        initialise(self)

    def forward(self, fixed: Tensor, moving: Tensor, moving_labels: Tensor) -> tuple[LevelOutput, ...]:
        """Segment and register; shapes as in `CrossStitchNetwork`."""
        skips = self.encoder(stacked(self.inputs, fixed, moving, moving_labels))
        levels = zip(self.segmentation(*skips), self.registration(*skips), strict=True)
        return tuple(LevelOutput(logits, dvf) for logits, dvf in levels)

    def shared_parameters(self) -> list[nn.Parameter]:
        """The last layer of the encoder."""
        return [last_convolution(self.encoder.down2)]
