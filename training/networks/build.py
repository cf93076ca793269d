"""The network that a recipe names."""

from torch import nn

from training.networks.cross_stitch import CrossStitchNetwork
from training.networks.deep_atlas import DeepAtlasNetwork
from training.networks.shared import DenseNetwork, SharedEncoderNetwork
from training.networks.single_task import RegistrationNetwork, SegmentationNetwork
from training.recipe import NetworkSpec


def build_network(spec: NetworkSpec, classes: int) -> nn.Module:
    """A new network with the papers' initialisation, drawn from torch's generator."""
    widths = spec.widths
    match spec.family:
        case "segmentation":
            return SegmentationNetwork(classes, inputs=spec.segmentation_inputs, widths=widths)
        case "registration":
            return RegistrationNetwork(inputs=spec.registration_inputs, widths=widths)
        case "dense":
            return DenseNetwork(classes, inputs=spec.registration_inputs, widths=widths)
        case "sedd":
            return SharedEncoderNetwork(classes, inputs=spec.registration_inputs, widths=widths)
        case "cross-stitch":
            return CrossStitchNetwork(
                classes,
                segmentation_inputs=spec.segmentation_inputs,
                registration_inputs=spec.registration_inputs,
                widths=widths,
            )
        case "deep-atlas":
            return DeepAtlasNetwork(classes, widths=widths)
