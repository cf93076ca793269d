"""The bladder of the day for the Hybrid method, as a trained network segments it."""

from dataclasses import dataclass

from imaging.arrays import MaskVoxels
from imaging.errors import ModelError
from training.evaluation.network_system import NetworkSystem
from training.evaluation.scores import filled
from training.evaluation.system import HeldOutCase
from training.evaluation.unseen import Cohort

BLADDER = "Bladder"


@dataclass(frozen=True, eq=False)
class NetworkBladder:
    """A function from a case to the bladder on the daily CT's own grid, (z, y, x).

    Attributes:
        system: A network with a segmentation path.
        label: Of the bladder.
    """

    system: NetworkSystem
    label: int

    @property
    def learned_from(self) -> tuple[Cohort, ...] | None:
        """See `Learned.learned_from`."""
        return self.system.learned_from

    def __call__(self, case: HeldOutCase) -> MaskVoxels:
        """All False where the network sees none."""
        patches = self.system.contour(case).paths["segmentation"]
        return filled(patches, self.label, case.daily.volume.geometry.shape)


def network_bladder(system: NetworkSystem) -> NetworkBladder:
    """The bladder by the segmentation path of a network.

    Raises:
        ModelError: If it has no such path, or knows no bladder.
    """
    labels = {organ.name: organ.label for organ in system.model.manifest.organs}
    if "segmentation" not in system.paths or BLADDER not in labels:
        raise ModelError(f"{system.name} cannot give the bladder: Hybrid needs a network that segments {BLADDER}")
    return NetworkBladder(system, labels[BLADDER])
