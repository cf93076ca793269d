"""What a user would run instead: each function finds a deformation from the daily to the planning patient.

All get the same two CTs. elastix finds its own affine; the others start from SimpleITK's. What follows works on 2 mm
voxels round the planned organs, in the window of soft tissue, as in `training.baselines`: less than whole scans, which
is in favour of these methods. The settings are those that their makers recommend, as far as they do.
"""

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from shutil import which

import numpy as np
import SimpleITK as sitk

from bench.alignment import simpleitk as affine_by_simpleitk
from imaging.arrays import DvfVoxels, FloatVoxels, Points
from imaging.plan import contour_points
from imaging.transforms import AffineTransform, Deformation
from imaging.volume import Volume
from phantom.case import PhantomCase
from training.baselines.region import ScanPair, deformation_of, scan_pair

ORGANS = ("Bladder", "Rectum", "SeminalVes", "Prostate")
SPACING_MM = 2.0
WINDOW_HU = (-200.0, 300.0)
DEMONS_LEVELS = ((8.0, 80), (4.0, 60), (2.0, 30))
"""Spacing in mm and iterations."""
OTHER_PYTHON = "BENCH_CONVEXADAM_PYTHON"
"""Another interpreter that has convexAdam, where it cannot live beside recontour's own packages."""
PLASTIMATCH = """[GLOBAL]
fixed={folder}/fixed.nrrd
moving={folder}/moving.nrrd
vf_out={folder}/field.nrrd
default_value=-200
[STAGE]
xform=bspline
optim=lbfgsb
impl=plastimatch
threading=openmp
metric=mse
regularization_lambda=0.005
max_its=50
grid_spac=50 50 50
res=4 4 4
[STAGE]
max_its=50
grid_spac=30 30 30
res=2 2 2
[STAGE]
max_its=50
grid_spac=15 15 15
res=1 1 1
"""


class NotHere(Exception):
    """The method is not installed."""


@dataclass(frozen=True, eq=False)
class Scans:
    """What a registration is given.

    Attributes:
        daily: The fixed image.
        planning: The moving image.
        outlines: (n, 3) corners of the planned organs, LPS millimetres on the planning patient.
    """

    daily: Volume
    planning: Volume
    outlines: Points


@dataclass(frozen=True)
class Peer:
    """A method beside recontour.

    Attributes:
        name: Short.
        what: In words, for the table.
        find: The registration; raises NotHere.
    """

    name: str
    what: str
    find: Callable[[Scans, int], Deformation]


def scans_of(case: PhantomCase) -> Scans:
    """A virtual patient with the outlines of the four pelvic organs."""
    plan = case.planning_structures
    organs = {roi.number for roi in plan.rois if roi.name in ORGANS}
    return Scans(case.daily, case.planning, contour_points(plan, organs))


def elastix(scans: Scans, threads: int, setting: int) -> Deformation:
    """elastix's affine, then its B-spline with one of the settings of `training.baselines.elastix`."""
    if not find_spec("itk"):
        raise NotHere("itk-elastix is not installed: extra 'baselines'")
    from bench.peer_elastix import affine_by_elastix
    from training.baselines.elastix import SETTINGS, registered

    affine = affine_by_elastix(scans, threads)
    pair = _pair(scans, affine, SETTINGS[setting].spacing_mm)
    return deformation_of(pair, registered(pair, SETTINGS[setting], threads=threads))


def demons(scans: Scans, threads: int) -> Deformation:
    """Fast symmetric forces demons (Vercauteren et al., NeuroImage 2009) on three levels."""
    affine = affine_by_simpleitk(scans.daily, scans.planning)
    field: sitk.Image | None = None
    for spacing_mm, iterations in DEMONS_LEVELS:
        pair = _pair(scans, affine, spacing_mm)
        fixed, moving = (_image(hu, pair) for hu in _windowed(pair))
        method = sitk.FastSymmetricForcesDemonsRegistrationFilter()
        method.SetNumberOfIterations(iterations)
        method.SetSmoothDisplacementField(True)
        method.SetStandardDeviations(1.5)
        method.SetNumberOfThreads(threads)
        start = _nothing(fixed) if field is None else sitk.Resample(field, fixed)
        field = method.Execute(fixed, moving, start)
    return deformation_of(pair, _vectors(sitk.GetArrayFromImage(field)))


def plastimatch(scans: Scans, threads: int) -> Deformation:
    """B-spline by L-BFGS-B on three levels, mean squares. Its clock holds writing and reading the files between."""
    if which("plastimatch") is None:
        raise NotHere("the command plastimatch is not installed: apt-get install plastimatch")
    pair = _pair(scans, affine_by_simpleitk(scans.daily, scans.planning), SPACING_MM)
    with tempfile.TemporaryDirectory() as folder:
        for name, hu in zip(("fixed", "moving"), _windowed(pair), strict=True):
            sitk.WriteImage(_image(hu, pair), f"{folder}/{name}.nrrd")
        commands = Path(folder) / "commands.txt"
        commands.write_text(PLASTIMATCH.format(folder=folder))
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        done = subprocess.run(
            ["plastimatch", "register", str(commands)], capture_output=True, text=True, check=False, env=environment
        )
        if done.returncode or not (Path(folder) / "field.nrrd").is_file():
            raise RuntimeError(f"plastimatch ended with {done.returncode}: {done.stderr.strip()[-200:]}")
        found = sitk.GetArrayFromImage(sitk.ReadImage(f"{folder}/field.nrrd"))
    return deformation_of(pair, _vectors(found))


def convex_adam(scans: Scans, threads: int) -> Deformation:
    """ConvexAdam with MIND features (Siebert et al. 2024), settings of the package, in a process of its own."""
    python = os.environ.get(OTHER_PYTHON, sys.executable)
    probe = subprocess.run([python, "-c", "import convexAdam"], capture_output=True, check=False)
    if probe.returncode:
        raise NotHere("convexAdam is not installed: extra 'peers'")
    pair = _pair(scans, affine_by_simpleitk(scans.daily, scans.planning), SPACING_MM)
    with tempfile.TemporaryDirectory() as folder:
        fixed, moving = _windowed(pair)
        np.savez(f"{folder}/pair.npz", fixed=fixed, moving=moving)
        worker = Path(__file__).with_name("peer_convexadam.py")
        command = [python, str(worker), f"{folder}/pair.npz", f"{folder}/field.npy", str(threads)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"ConvexAdam ended with {done.returncode}: {done.stderr.strip()[-200:]}")
        voxels = np.load(f"{folder}/field.npy")
    # Components come in the order of the array's axes (z, y, x), in voxels.
    return deformation_of(pair, _vectors(voxels[..., ::-1] * SPACING_MM))


PEERS = (
    Peer("elastix-Par0035", "elastix: affine + B-spline, Par0035", lambda scans, threads: elastix(scans, threads, 0)),
    Peer("elastix-10mm", "elastix: affine + B-spline, tuned here", lambda scans, threads: elastix(scans, threads, 1)),
    Peer("demons", "SimpleITK: affine + symmetric demons", demons),
    Peer("plastimatch", "SimpleITK affine + plastimatch B-spline", plastimatch),
    Peer("convexadam", "SimpleITK affine + ConvexAdam (MIND)", convex_adam),
)


def spent_s() -> float:
    """Processor time of this process and of those that it started and that have ended."""
    here, there = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return here.ru_utime + here.ru_stime + there.ru_utime + there.ru_stime


def _pair(scans: Scans, affine: AffineTransform, spacing_mm: float) -> ScanPair:
    daily, planning = (Volume(volume.hu, volume.geometry) for volume in (scans.daily, scans.planning))
    return scan_pair(daily=daily, planning=planning, affine=affine, around_mm=scans.outlines, spacing_mm=spacing_mm)


def _windowed(pair: ScanPair) -> tuple[FloatVoxels, FloatVoxels]:
    """Both images on the fixed grid, clipped."""
    beyond = tuple((n - m) // 2 for n, m in zip(pair.moving.shape, pair.fixed.shape, strict=True))
    within = tuple(slice(b, b + n) for b, n in zip(beyond, pair.fixed.shape, strict=True))
    return np.clip(pair.fixed, *WINDOW_HU), np.clip(pair.moving[within], *WINDOW_HU)


def _image(hu: FloatVoxels, pair: ScanPair) -> sitk.Image:
    image = sitk.GetImageFromArray(np.ascontiguousarray(hu, dtype=np.float32))
    image.SetOrigin(pair.fixed_grid.origin_mm)
    image.SetSpacing(pair.fixed_grid.spacing_mm)
    return image


def _nothing(fixed: sitk.Image) -> sitk.Image:
    field = sitk.Image(fixed.GetSize(), sitk.sitkVectorFloat64, 3)
    field.CopyInformation(fixed)
    return field


def _vectors(found: np.ndarray) -> DvfVoxels:
    """(z, y, x, 3) as (3, z, y, x)."""
    return np.ascontiguousarray(np.moveaxis(found, -1, 0), dtype=np.float32)
