"""From words on the command line to systems."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from imaging.errors import ModelError
from imaging.model import Device, load_model
from training.baselines.bladder import NetworkBladder, network_bladder
from training.baselines.references import reference_systems
from training.checkpoint import NETWORK
from training.evaluation.network_system import NetworkSystem, exported_system
from training.evaluation.system import System
from training.evaluation.torch_system import run_system


def named_systems(words: Sequence[str], *, device: Device = "auto", threads: int = 1) -> tuple[System, ...]:
    """The systems that the words of a command line name, in their order.

    Args:
        words: '[NAME=]FOLDER' of a run or an exported model; 'references' for all systems that learn nothing, or the
            name of one of them; 'elastix' for all its settings; 'hybrid=RUN' for all settings of the Hybrid method
            with the bladder as the network in the folder of a run or a model segments it.
        device: Of the networks.
        threads: CPU threads of elastix and of the runtimes of exported models, 0 for their own choice.

    Raises:
        ModelError: If a word names no system, or a folder holds neither a model nor a run with a network.
        ModuleNotFoundError: If elastix or Hybrid is wanted and itk-elastix is not installed.
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
            systems.extend(import_module("training.baselines.elastix").elastix_systems(threads=threads or 1))
        elif word == "hybrid":
            raise ModelError("hybrid needs a network that segments the bladder: name its run, hybrid=RUN")
        elif given and name == "hybrid":
            bladder = bladder_of(Path(folder), device=device, threads=threads)
            systems.extend(import_module("training.baselines.hybrid").hybrid_systems(bladder, threads=threads or 1))
        else:
            systems.append(network_system(name if given else "", Path(folder), device=device, threads=threads))
    return tuple(systems)


def bladder_of(folder: Path, *, device: Device = "auto", threads: int = 0) -> NetworkBladder:
    """What gives the Hybrid method its bladder.

    Args:
        folder: Of the run or the model whose segmentation path does.
        device: As in `network_system`, like `threads`.
        threads: See there.

    Raises:
        ModelError: If the folder holds no network, or it has no segmentation path.
    """
    return network_bladder(network_system("Hybrid's bladder", folder, device=device, threads=threads))


def network_system(name: str, folder: Path, *, device: Device = "auto", threads: int = 0) -> NetworkSystem:
    """The system in a folder: an exported model (manifest.json), or a run that came to its end (network.pt).

    Args:
        name: What it is called in tables; empty for its own name.
        folder: Of the run or of the model.
        device: 'auto' takes a GPU where there is one.
        threads: CPU threads of the runtime of an exported model, 0 for its own choice.

    Raises:
        ModelError: If the folder holds neither, or the exported model is not what its manifest says.
    """
    if (folder / "manifest.json").is_file():
        model = load_model(folder, device=device, threads=threads)
        return exported_system(name or model.manifest.identity, model)
    if (folder / NETWORK).is_file():
        return run_system(name or folder.resolve().name, folder, device=device)
    raise ModelError(
        f"{folder.name} names no system: no folder with manifest.json (an exported model) or {NETWORK} (a run that "
        "`python -m training train` brought to its end), and none of references, elastix, hybrid=RUN"
    )
