"""From words on the command line to systems."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from imaging.errors import ModelError
from imaging.model import Device, load_model
from training.baselines.references import reference_systems
from training.checkpoint import NETWORK
from training.evaluation.network_system import NetworkSystem, exported_system
from training.evaluation.system import System
from training.evaluation.torch_system import run_system


def named_systems(words: Sequence[str], *, device: Device = "auto") -> tuple[System, ...]:
    """The systems that the words of a command line name, in their order.

    Args:
        words: '[NAME=]FOLDER' of a run or an exported model; 'references' for all systems that learn nothing, or the
            name of one of them; 'elastix' for all its settings.
        device: Of the networks.

    Raises:
        ModelError: If a folder holds neither a model nor a finished run.
        ModuleNotFoundError: If elastix is wanted and itk-elastix is not installed.
    """
    systems: list[System] = []
    for word in words:
        references = {system.name: system for system in reference_systems()}
        name, given, folder = word.rpartition("=")
        if word == "references":
            systems.extend(references.values())
        elif word in references:
            systems.append(references[word])
        elif word == "elastix":
            # itk is large and only elastix needs it: networks are evaluated without it.
            systems.extend(import_module("training.baselines.elastix").elastix_systems())
        else:
            systems.append(network_system(name if given else "", Path(folder), device=device))
    return tuple(systems)


def network_system(name: str, folder: Path, *, device: Device = "auto") -> NetworkSystem:
    """The system in a folder: an exported model (manifest.json), or a run that came to its end (network.pt).

    Args:
        name: What it is called in tables; empty for its own name.
        folder: Of the run or of the model.
        device: 'auto' takes a GPU where there is one.

    Raises:
        ModelError: If the folder holds neither, or the exported model is not what its manifest says.
    """
    if (folder / "manifest.json").is_file():
        model = load_model(folder, device=device)
        return exported_system(name or model.manifest.identity, model)
    if (folder / NETWORK).is_file():
        return run_system(name or folder.resolve().name, folder, device=device)
    raise ModelError(f"{folder.name} holds neither manifest.json of a model nor {NETWORK} of a finished run")
