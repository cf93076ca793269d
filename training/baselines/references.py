"""Systems that learn nothing and tune nothing: how far one comes with the plan as it is, aligned, or pulled by forces.

All are carried by the propagation of the service. The affine is the one stored with the case; the rigid one is its
rotation and its shift, without scale and shear.
"""

import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from time import perf_counter
from types import ModuleType

import numpy as np
import SimpleITK as sitk

from imaging import deformation, gas, local_fit, matching, refinement, similarity, smoothing
from imaging.arrays import DvfVoxels, FloatVoxels, Points
from imaging.deformation import choose_deformation
from imaging.displacement import vectors_on
from imaging.geometry import VolumeGeometry
from imaging.transforms import AffineTransform, Deformation, DisplacementField
from training.baselines.region import BOX_MM, ORGANS, ScanPair, carried, deformation_of, pair_of
from training.evaluation.network_system import labelled_points
from training.evaluation.system import Contoured, HeldOutCase, System
from training.pairs import packed_organs

REFINED_BY = (deformation, refinement, local_fit, gas, matching, similarity, smoothing)


@dataclass(frozen=True)
class DemonsSettings:
    """Diffeomorphic demons (Vercauteren et al., NeuroImage 2009) on a pyramid; the numbers are ours.

    Attributes:
        levels: Spacing of the working grid in mm and iterations, from coarse to fine.
        update_sigma: Gaussian smoothing of every update, voxels of the level.
        field_sigma: Gaussian smoothing of the whole field, voxels of the level.
        window_hu: Outside of this range Hounsfield units are clipped, because bone and gas would outshout all else.
    """

    levels: tuple[tuple[float, int], ...] = ((8.0, 80), (4.0, 60), (2.0, 30))
    update_sigma: float = 1.0
    field_sigma: float = 1.5
    window_hu: tuple[float, float] = (-200.0, 300.0)


@dataclass(frozen=True, eq=False)
class Reference:
    """A system made of one function from a case to its deformation.

    Attributes:
        name: As it stands in tables.
        deformation: From the daily to the planning patient.
        settings: All that its answer depends on, in words.
    """

    name: str
    deformation: Callable[[HeldOutCase], Deformation]
    settings: str = ""

    @property
    def identity(self) -> str:
        """See `Identified.identity`."""
        return f"{self.name} {self.settings}".rstrip()

    def contour(self, case: HeldOutCase) -> Contoured:
        """See `System.contour`."""
        began = perf_counter()
        return carried(case, self.deformation(case), since=began)


def reference_systems(*, iterations: int | None = None) -> tuple[System, ...]:
    """No alignment, rigid, affine, affine and demons, affine and the project's own refinement.

    Args:
        iterations: Of the demons on each level, where an experiment is to be quick; None leaves their own.
    """
    forces = DemonsSettings()
    if iterations is not None:
        forces = DemonsSettings(levels=tuple((spacing_mm, iterations) for spacing_mm, _ in forces.levels))
    tuned = f"SimpleITK {version('SimpleITK')} {forces!r} {BOX_MM!r}"
    return (
        Reference("no alignment", lambda _: Deformation(AffineTransform.identity())),
        Reference("rigid", lambda case: Deformation(rigid_part(case.affine, centre_mm=_organ_centre(case)))),
        Reference("affine", lambda case: Deformation(case.affine)),
        Reference("affine + demons", lambda case: demons(case, forces), tuned),
        Reference("affine + refinement", refined, _source_hash(*REFINED_BY)),
    )


def _source_hash(*modules: ModuleType) -> str:
    """The refinement has its numbers in its code, so the code tells one version from another."""
    return hashlib.sha256("".join(map(inspect.getsource, modules)).encode()).hexdigest()[:16]


def rigid_part(affine: AffineTransform, *, centre_mm: Points) -> AffineTransform:
    """The rotation nearest to an affine (polar decomposition), shifted so that one point goes where the affine puts it.

    Args:
        affine: From the daily to the planning patient.
        centre_mm: (3,) point of the daily patient, LPS millimetres.
    """
    left, _, right = np.linalg.svd(affine.matrix[:3, :3])
    rotation = left @ np.diag([1.0, 1.0, np.linalg.det(left @ right)]) @ right
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    matrix[:3, 3] = affine.to_moving(centre_mm[None])[0] - rotation @ centre_mm
    return AffineTransform(matrix)


def refined(case: HeldOutCase) -> Deformation:
    """What the service makes of a case without a network."""
    chosen = choose_deformation(
        daily=case.daily.volume,
        planning=case.planning.volume,
        affine=case.affine,
        network=None,
        masks=(packed_organs(case.planning, ORGANS),),
    )
    return chosen.deformation


def demons(case: HeldOutCase, settings: DemonsSettings) -> Deformation:
    """The affine, then diffeomorphic demons."""
    return demons_of([(pair_of(case, spacing_mm), n) for spacing_mm, n in settings.levels], settings)


def demons_of(levels: list[tuple[ScanPair, int]], settings: DemonsSettings) -> Deformation:
    """Demons on pairs of scans from coarse to fine, each with its number of iterations."""
    field: DisplacementField | None = None
    for pair, iterations in levels:
        field = _level(pair, iterations, settings, field)
    if field is None:
        raise ValueError("demons need at least one level")
    return deformation_of(levels[-1][0], field.vectors)


def _level(
    pair: ScanPair, iterations: int, settings: DemonsSettings, start: DisplacementField | None
) -> DisplacementField:
    grid = pair.fixed_grid
    method = sitk.DiffeomorphicDemonsRegistrationFilter()
    method.SetNumberOfIterations(iterations)
    method.SetSmoothDisplacementField(True)
    method.SetStandardDeviations(settings.field_sigma)
    method.SetSmoothUpdateField(True)
    method.SetUpdateFieldStandardDeviations(settings.update_sigma)
    # Sums over threads come in no fixed order; one thread gives the same field every time.
    method.SetNumberOfThreads(1)
    beyond = tuple((n - m) // 2 for n, m in zip(pair.moving.shape, pair.fixed.shape, strict=True))
    within = tuple(slice(b, b + n) for b, n in zip(beyond, pair.fixed.shape, strict=True))
    images = [_image(np.clip(hu, *settings.window_hu), grid) for hu in (pair.fixed, pair.moving[within])]
    begun = np.zeros((3, *grid.shape), np.float32) if start is None else vectors_on((start,), grid)
    first = sitk.GetImageFromArray(np.moveaxis(begun, 0, -1).astype(np.float64), isVector=True)
    first.CopyInformation(images[0])
    found = sitk.GetArrayFromImage(method.Execute(*images, first))
    vectors: DvfVoxels = np.ascontiguousarray(np.moveaxis(found, -1, 0), dtype=np.float32)
    return DisplacementField(vectors, grid)


def _image(hu: FloatVoxels, grid: VolumeGeometry) -> sitk.Image:
    image = sitk.GetImageFromArray(np.ascontiguousarray(hu, dtype=np.float32))
    image.SetOrigin(grid.origin_mm)
    image.SetSpacing(grid.spacing_mm)
    return image


def _organ_centre(case: HeldOutCase) -> Points:
    """Middle of the planned organs (3,), on the daily patient."""
    return case.affine.to_fixed(labelled_points(case.planning).mean(axis=0)[None])[0]
