"""From words on the command line to systems."""

from pathlib import Path

from imaging.errors import ModelError
from imaging.model import Device, load_model
from training.checkpoint import NETWORK
from training.evaluation.network_system import NetworkSystem, exported_system
from training.evaluation.torch_system import run_system


def network_system(name: str, folder: Path, *, device: Device = "auto") -> NetworkSystem:
    """The system in a folder: an exported model (manifest.json), or a run (network.pt).

    Args:
        name: What it is called in tables.
        folder: Of the run or of the model.
        device: 'auto' takes a GPU where there is one.

    Raises:
        ModelError: If the folder holds neither, or the exported model is not what its manifest says.
    """
    if (folder / "manifest.json").is_file():
        return exported_system(name, load_model(folder, device=device))
    if (folder / NETWORK).is_file():
        return run_system(name, folder, device=device)
    raise ModelError(f"the folder of {name} holds neither manifest.json of a model nor {NETWORK} of a finished run")
