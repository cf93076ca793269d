"""The cross-stitch network: one path segments the daily CT, the other registers the planning CT to it.

Beljaards et al., MIDL 2020; the units are those of Misra et al., CVPR 2016. 779,576 parameters with the paper's inputs.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from training.networks.blocks import DVF_COMPONENTS, LevelOutput, TaskPath, initialise
from training.networks.inputs import stacked
from training.recipe import Channel, Widths


class CrossStitch(nn.Module):
    """Two paths exchange features: one 2x2 matrix per channel, no bias."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.empty(2, 2, channels))
        nn.init.trunc_normal_(self.alpha, mean=0.5, std=0.25, a=0.0, b=1.0)

    def forward(self, segmentation: Tensor, registration: Tensor) -> tuple[Tensor, Tensor]:
        """Both maps (batch, channels, z, y, x), mixed."""
        alpha = self.alpha.view(2, 2, 1, -1, 1, 1, 1).to(segmentation.dtype)
        return (
            alpha[0, 0] * segmentation + alpha[0, 1] * registration,
            alpha[1, 0] * segmentation + alpha[1, 1] * registration,
        )


class CrossStitchNetwork(nn.Module):
    """Both paths with units after layers 3, 6, 9 and 12.

    Layers 9 and 12 double the map. The unit is linear per channel and the doubling repeats voxels, so mixing before
    doubling is the same function for an eighth of the work.

    Args:
        classes: Organs and background.
        segmentation_inputs: What the segmentation path sees.
        registration_inputs: What the registration path sees.
        widths: Channels at full, half and quarter resolution.
    """

    def __init__(
        self,
        classes: int,
        *,
        segmentation_inputs: Sequence[Channel],
        registration_inputs: Sequence[Channel],
        widths: Widths,
    ) -> None:
        super().__init__()
        self.segmentation_inputs = tuple(segmentation_inputs)
        self.registration_inputs = tuple(registration_inputs)
        self.segmentation = TaskPath(len(segmentation_inputs), classes, widths)
        self.registration = TaskPath(len(registration_inputs), DVF_COMPONENTS, widths)
        self.stitch3, self.stitch6, self.stitch9, self.stitch12 = (
            CrossStitch(width) for width in (widths[0], widths[1], widths[2], widths[1])
        )
        initialise(self)

    def forward(self, fixed: Tensor, moving: Tensor, moving_labels: Tensor) -> tuple[LevelOutput, ...]:
        """Segment `fixed` and register `moving` to it.

        Args:
            fixed: (batch, 1, z, y, x) daily CT, windowed; every size a multiple of 4 and more than 40.
            moving: (batch, 1, z, y, x) planning CT on the same grid.
            moving_labels: (batch, 1, z, y, x) planned organs as whole numbers.

        Returns:
            One output per level in the order of `LEVELS`; for sizes n: n - 40, n/2 - 18 and n/4 - 7.
        """
        encode_s, encode_r = self.segmentation.encoder, self.registration.encoder
        decode_s, decode_r = self.segmentation.decoder, self.registration.decoder
        skip_s1 = encode_s.down1(stacked(self.segmentation_inputs, fixed, moving, moving_labels))  # (batch, 16, n-4)
        skip_r1 = encode_r.down1(stacked(self.registration_inputs, fixed, moving, moving_labels))
        xs, xr = self.stitch3(encode_s.halve1(skip_s1), encode_r.halve1(skip_r1))  # (batch, 16, n/2-2)
        skip_s2, skip_r2 = encode_s.down2(xs), encode_r.down2(xr)  # (batch, 32, n/2-6)
        xs, xr = self.stitch6(decode_s.halve2(skip_s2), decode_r.halve2(skip_r2))  # (batch, 32, n/4-3)
        xs, xr = decode_s.bottom(xs), decode_r.bottom(xr)  # (batch, 64, n/4-7)
        low = LevelOutput(decode_s.low(xs), decode_r.low(xr))
        xs, xr = self.stitch9(xs, xr)
        xs, xr = decode_s.up1(xs, skip_s2), decode_r.up1(xr, skip_r2)  # (batch, 32, n/2-18)
        mid = LevelOutput(decode_s.mid(xs), decode_r.mid(xr))
        xs, xr = self.stitch12(xs, xr)
        xs, xr = decode_s.up2(xs, skip_s1), decode_r.up2(xr, skip_r1)  # (batch, 16, n-40)
        return LevelOutput(decode_s.high(xs), decode_r.high(xr)), mid, low

    def shared_parameters(self) -> list[nn.Parameter]:
        """Where the tasks meet: the units."""
        return [unit.alpha for unit in (self.stitch3, self.stitch6, self.stitch9, self.stitch12)]
