"""The compiled kernels: numba keeps them on disk, and where it has none yet, two processes compile them at once.

numba compiles a kernel when it is first called and writes it beside its source, or below NUMBA_CACHE_DIR. A note in
the same place says for which sources, which numba and which processor everything was compiled, so that a start knows at
once whether anything is missing. `recontour warm` does this at the installation, before anybody waits.
"""

import hashlib
import subprocess
import sys
from pathlib import Path

import llvmlite
import numba
import numpy as np
from numba.core.dispatcher import Dispatcher
from numba.core.registry import cpu_target

import imaging
from imaging.arrays import FloatVoxels
from imaging.deformation import choose_deformation
from imaging.manifest import HuWindow, ModelManifest, Organ
from imaging.model import RecontouringModel
from imaging.transforms import AffineTransform
from service.warm_up import made_up_plan, made_up_scans, run_made_up_case, write_and_read

NOTE = "recontour.compiled"
HELPER_S = 600.0
"""A helper that takes longer hangs; what it left is compiled here."""


def kernels_are_compiled() -> bool:
    """Whether a start with these sources, this numba and this processor finds everything on disk."""
    if not _kernels():  # NUMBA_DISABLE_JIT
        return True
    try:
        return _note().read_text() == _fingerprint()
    except OSError:
        return False


def compile_kernels() -> None:
    """Compile everything that a case needs, for the disk and for this process.

    The deformation is about half of it. A process of its own compiles that while this one goes through the other steps;
    each finds on disk what the other has done before it.
    """
    # Of the sources as they were read: whoever edits them meanwhile compiles again.
    fingerprint = _fingerprint()
    helper = subprocess.Popen(
        [sys.executable, "-m", "service.kernels"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        run_made_up_case(made_up_network(), refine="off")
        helper.wait(HELPER_S)
    except subprocess.TimeoutExpired:
        pass
    finally:
        helper.kill()
        helper.wait()
    # What the helper did comes from the disk; had it failed, the rest would be compiled here.
    run_made_up_case(made_up_network())
    _note().write_text(fingerprint)


def compile_half() -> None:
    """The helper's half: the deformation, then the last of the other steps."""
    planning, daily = made_up_scans()
    choose_deformation(daily=daily.volume, planning=planning.volume, affine=AffineTransform.identity(), network=None)
    write_and_read(made_up_plan("Bladder"), daily)


class _MadeUpBackend:
    """Answers each region with a ball of every organ and a field of 1 mm, at no cost."""

    provider = "none"

    def __init__(self, manifest: ModelManifest) -> None:
        self._channels = len(manifest.organs) + 1
        self._margin = manifest.margin_voxels

    def run(self, fixed: FloatVoxels, moving: FloatVoxels, labels: FloatVoxels) -> tuple[FloatVoxels, FloatVoxels]:  # noqa: ARG002
        """See `Backend.run`."""
        shape = tuple(n - 2 * self._margin for n in fixed.shape[2:])
        z, y, x = np.ogrid[tuple(slice(-1, 1, n * 1j) for n in shape)]
        inside = np.clip(2.0 - 3.0 * np.sqrt(z**2 + y**2 + x**2), 0.0, 1.0).astype(np.float32)
        organs = [inside / (self._channels - 1)] * (self._channels - 1)
        return np.stack([1 - inside, *organs])[None], np.full((1, 3, *shape), 1.0, dtype=np.float32)


def made_up_network() -> RecontouringModel:
    """Stands for the network, whose files and runtime an installation need not have yet; its answer is worthless."""
    organ = Organ(label=1, name="Bladder", aliases=(), recommended="segmented", colour=(255, 255, 0), components=1)
    manifest = ModelManifest(
        name="made-up",
        version="0.0.0",
        device_uid="2.25.0",
        sha256="0" * 64,
        golden_sha256="0" * 64,
        opset=17,
        spacing_mm=3.0,
        margin_voxels=4,
        size_multiple=4,
        region_sizes=((48, 48, 48),),
        hu_window=HuWindow(lower=-1000, upper=1000, divisor=1000),
        label_encoding="integer-channel",
        organs=(organ,),
        parity_tolerance=1.0,
        golden_tolerance=1.0,
        training_commit="none",
        recipe="none",
        cohort_hash="none",
        intended_use="to compile",
    )
    return RecontouringModel(manifest, Path(), _MadeUpBackend(manifest))


def _note() -> Path:
    # None where a kernel has no cache; imaging gives one to each.
    return Path(min(kernel.stats.cache_path or "" for kernel in _kernels().values())) / NOTE


def _kernels() -> dict[str, Dispatcher]:
    modules = {name: module for name, module in sys.modules.items() if name.split(".")[0] == imaging.__name__}
    return {
        f"{name}.{label}": value
        for name, module in sorted(modules.items())
        for label, value in vars(module).items()
        if isinstance(value, Dispatcher)
    }


def _fingerprint() -> str:
    digest = hashlib.sha256()
    for part in (sys.version, numba.__version__, llvmlite.__version__, _processor()):
        digest.update(part.encode() + b"\0")
    for file in sorted(Path(*imaging.__path__).rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _processor() -> str:
    """Triple, name and features as numba tells them apart."""
    return " ".join(cpu_target.target_context.codegen().magic_tuple())


if __name__ == "__main__":
    compile_half()
