"""The Hybrid method of Elmahdy et al. 2019a (Med Phys 46, PMC6852565): image and bladder registered together.

What is known are its steps, not its numbers: a network segments the bladder; gas is painted over and contrast is
clipped; elastix registers the CTs jointly with the bladder; a focused registration follows for seminal vesicles and
rectum. Every number in `HybridSettings` is ours, and so are: the planned bladder in place of a segmented one on the
planning CT, because a plan has it; the bladder as a signed distance; and the mask of the focused stage. The numbers
were set on validation cases of virtual patients, where wide steps of the focused stage, and painting the rim of gas
too, cost more than they gave.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from time import perf_counter
from typing import ClassVar

import numpy as np
from scipy import ndimage

from imaging.arrays import DvfVoxels, FloatVoxels, MaskVoxels
from imaging.geometry import VolumeGeometry
from imaging.masks import PackedMasks
from imaging.propagation import propagate
from imaging.transforms import Deformation, DisplacementField
from training.baselines.bladder import NetworkBladder
from training.baselines.elastix import WHOLE, Channel, Effort, ElastixSettings, bspline, load_elastix
from training.baselines.gas import GasSettings, body_on, mask_on, without_gas
from training.baselines.region import BOX_MM, ORGANS, ScanPair, carried, deformation_of, pair_of
from training.evaluation.system import Contoured, HeldOutCase
from training.pairs import packed_organs

BLADDER, RECTUM, SEMINAL_VESICLES = 1, 2, 3
JOINT = ElastixSettings("joint", iterations=250, samples=2000)
FOCUSED = ElastixSettings("focused", grid_mm=6.0, resolutions=1, iterations=200, samples=2000, step_mm=0.3)


@dataclass(frozen=True)
class HybridSettings:
    """All of the method's numbers; ours.

    Attributes:
        name: As it stands in tables.
        window_hu: Hounsfield units are clipped to it: contrast medium and gold are no brighter than bone, and bone
            is no brighter than contrast medium.
        gas: What is painted over.
        joint: The first registration, of CT and bladder.
        bladder_weight: Of the mean squares of the bladder's distance, beside a weight of 1 for mutual information.
        bladder_reach_mm: The signed distance ends here and counts 1; farther walls do not pull harder.
        focused: The second registration, which starts from the first.
        focus_mm: How far round the carried rectum and seminal vesicles the second one looks.
    """

    name: str = "Hybrid"
    window_hu: tuple[float, float] = (-160.0, 240.0)
    gas: GasSettings = field(default_factory=GasSettings)
    joint: ElastixSettings = JOINT
    bladder_weight: float = 1.0
    bladder_reach_mm: float = 20.0
    focused: ElastixSettings = FOCUSED
    focus_mm: float = 15.0


SETTINGS = (
    HybridSettings(),
    HybridSettings("Hybrid, heavy bladder", bladder_weight=4.0, focused=replace(FOCUSED, grid_mm=4.0)),
    HybridSettings("Hybrid, light bladder", bladder_weight=0.25),
    HybridSettings("Hybrid, long", joint=replace(JOINT, grid_mm=15.0, resolutions=4, iterations=500)),
)
"""What the comparison tries. The second also has a finer grid round rectum and seminal vesicles, the last a coarser one
in the joint registration, from smoother images on."""


@dataclass(frozen=True, eq=False)
class HybridSystem:
    """The affine, then CT and bladder together, then rectum and seminal vesicles.

    Attributes:
        bladder: The bladder on the daily CT's own grid, (z, y, x), as a network sees it; all False where it sees none.
        threads: How many elastix may use.
        settings: How.
        bladder_identity: Tells one bladder network from another.
    """

    bladder: Callable[[HeldOutCase], MaskVoxels]
    threads: int = 1
    settings: HybridSettings = field(default_factory=HybridSettings)
    bladder_identity: str = ""
    starts_slowly: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """See `System.name`."""
        return self.settings.name

    @property
    def identity(self) -> str:
        """See `Identified.identity`."""
        facts = (self.settings, BOX_MM, self.threads, self.bladder_identity)
        return f"itk-elastix {version('itk-elastix')} {facts!r}"

    def contour(self, case: HeldOutCase) -> Contoured:
        """See `System.contour`."""
        load_elastix()
        began = perf_counter()
        pair = pair_of(case, self.settings.joint.spacing_mm)
        channels = [
            Channel(*prepared(case, pair, self.settings)),
            *bladder_channel(self.bladder(case), case, pair, self.settings),
        ]
        grids = (pair.fixed_grid, pair.moving_grid)
        vectors, start = bspline(channels, grids, self.settings.joint, threads=self.threads)
        near = focus(packed_organs(case.planning, ORGANS), pair, vectors, self.settings.focus_mm)
        if near.any():
            focused = self.settings.focused
            vectors, _ = bspline(channels, grids, focused, threads=self.threads, mask=near, start=start)
        return carried(case, deformation_of(pair, vectors), since=began)


def hybrid_systems(bladder: NetworkBladder, threads: int = 1, *, effort: Effort = WHOLE) -> tuple[HybridSystem, ...]:
    """One system for each of `SETTINGS`; the comparison keeps the one that is best on validation cases."""
    tried = (
        replace(settings, joint=effort.of(settings.joint), focused=effort.of(settings.focused))
        for settings in SETTINGS[: effort.settings]
    )
    return tuple(HybridSystem(bladder, threads, settings, bladder.system.identity) for settings in tried)


def prepared(case: HeldOutCase, pair: ScanPair, settings: HybridSettings) -> tuple[FloatVoxels, FloatVoxels]:
    """The fixed and the moving CT without gas and with clipped contrast, on the grids of `pair`."""
    bodies = (
        body_on(case.daily.volume, pair.fixed_grid),
        body_on(case.planning.volume, pair.moving_grid, to_source=pair.affine),
    )
    fixed, moving = (
        np.clip(without_gas(hu, body, settings.gas), *settings.window_hu)
        for hu, body in zip((pair.fixed, pair.moving), bodies, strict=True)
    )
    return fixed, moving


def bladder_channel(
    daily: MaskVoxels, case: HeldOutCase, pair: ScanPair, settings: HybridSettings
) -> tuple[Channel, ...]:
    """Both bladders as distances; none where one of the days has no bladder, and the CTs have to do."""
    fixed = mask_on(daily, case.daily.volume.geometry, pair.fixed_grid)
    planned = case.planning.labels == BLADDER
    moving = mask_on(planned, case.planning.volume.geometry, pair.moving_grid, to_source=pair.affine)
    if not fixed.any() or not moving.any():
        return ()
    reach_mm = settings.bladder_reach_mm
    here = signed_distance(fixed, pair.fixed_grid, reach_mm=reach_mm)
    there = signed_distance(moving, pair.moving_grid, reach_mm=reach_mm)
    return (Channel(here, there, "mean-squares", settings.bladder_weight),)


def signed_distance(mask: MaskVoxels, grid: VolumeGeometry, *, reach_mm: float) -> FloatVoxels:
    """Distance from the boundary over `reach_mm`, (z, y, x) float32 from -1 inside to 1 outside.

    The boundary is half-way between voxel centres of which one lies inside.
    """
    spacing = grid.spacing_mm[::-1]
    half = min(spacing) / 2
    outside = ndimage.distance_transform_edt(~mask, sampling=spacing) - half
    inside = ndimage.distance_transform_edt(mask, sampling=spacing) - half
    return (np.clip(np.where(mask, -inside, outside), -reach_mm, reach_mm) / reach_mm).astype(np.float32)


def focus(planned: PackedMasks, pair: ScanPair, vectors: DvfVoxels, margin_mm: float) -> MaskVoxels:
    """Where rectum and seminal vesicles lie after a displacement, and `margin_mm` around them, on the fixed grid."""
    deformation = Deformation(pair.affine, (DisplacementField(vectors, pair.fixed_grid),))
    near = np.zeros(pair.fixed_grid.shape, dtype=np.bool_)
    for patch in propagate((planned,), deformation, pair.fixed_grid):
        if patch.roi_number in (RECTUM, SEMINAL_VESICLES) and patch.inside.size:
            box = tuple(slice(a, a + n) for a, n in zip(patch.lower, patch.inside.shape, strict=True))
            near[box] |= patch.inside >= 0.5
    if not near.any():
        return near
    around: MaskVoxels = ndimage.distance_transform_edt(~near, sampling=pair.fixed_grid.spacing_mm[::-1]) <= margin_mm
    return around
