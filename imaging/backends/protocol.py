"""What the model asks of a runtime."""

from typing import Protocol

from imaging.arrays import FloatVoxels
from imaging.errors import ProviderUnavailable


class Backend(Protocol):
    """One loaded network on one device; not safe to call from two threads at once."""

    @property
    def provider(self) -> str:
        """What really executes the network, for example 'CUDAExecutionProvider' or 'OpenVINO CPU bf16'."""

    def run(self, fixed: FloatVoxels, moving: FloatVoxels, labels: FloatVoxels) -> tuple[FloatVoxels, FloatVoxels]:
        """Run one pass.

        Args:
            fixed: (1, 1, D, H, W) float32.
            moving: (1, 1, D, H, W) float32.
            labels: (1, L, D, H, W) float32.

        Returns:
            Class probabilities (1, C, D-2m, H-2m, W-2m) and DVF (1, 3, D-2m, H-2m, W-2m) in mm, m the margin.

        Raises:
            ProviderUnavailable: If the device fails during the pass. What the runtime says is the cause, not the text.
        """


def lost_in_flight() -> ProviderUnavailable:
    """What a back end raises where its runtime fails in a run that it has accepted."""
    return ProviderUnavailable(
        "the device failed while it ran the network and nothing was contoured: try again, "
        "and start the program anew if it fails again"
    )
