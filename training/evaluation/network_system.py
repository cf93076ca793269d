"""A trained network as a system: the functions of `imaging` that the service calls, round one pass of the network.

The region round the planned organs, resampling, the pass, and organs on the daily CT are the service's own code. Who
executes the network is behind `imaging.backends.protocol`: a runtime with an exported model, or torch with a run.
"""

import time
from dataclasses import dataclass

import numpy as np

from imaging.arrays import Points
from imaging.deformation import choose_deformation
from imaging.manifest import ModelManifest
from imaging.masks import PackedMasks, RoiPatch
from imaging.model import Prediction, RecontouringModel
from imaging.organs import organ_patches
from imaging.preprocessing import ORGAN_MARGIN_MM, model_inputs, network_region
from imaging.propagation import propagate
from imaging.transforms import Deformation
from training.evaluation.system import Contoured, HeldOutCase, LabelledVolume, PathName
from training.evaluation.unseen import Cohort
from training.pairs import label_box, packed_organs


@dataclass(frozen=True, eq=False)
class NetworkSystem:
    """A network that contours cases.

    Attributes:
        name: What it is called in tables.
        identity: Hash of its weights.
        model: The network with its contract.
        paths: The paths that it has.
        exported: Whether it is an exported model, which has a list of region sizes to choose from and delivers a third
            path; a run's network looks at a region fitted to every case.
        learned_from: See `Learned.learned_from`.
        unfinished: How far its training came where it did not come to its end; empty otherwise.
    """

    name: str
    identity: str
    model: RecontouringModel
    paths: tuple[PathName, ...]
    exported: bool
    learned_from: tuple[Cohort, ...] | None = ()
    unfinished: str = ""

    @property
    def organs(self) -> tuple[str, ...]:
        """Names of the labels 1, 2, ..."""
        return tuple(organ.name for organ in self.model.manifest.organs)

    def contour(self, case: HeldOutCase) -> Contoured:
        """See `System.contour`."""
        begin = time.perf_counter()
        organs = packed_organs(case.planning, len(self.model.manifest.organs))
        prediction = self._predict(case, organs)
        paths: dict[PathName, tuple[RoiPatch, ...]] = {}
        islands: tuple[RoiPatch, ...] = ()
        daily = case.daily.volume.geometry
        if "segmentation" in self.paths:
            paths["segmentation"] = _organs(prediction, self.model.manifest, case)
        if "registration" in self.paths:
            paths["registration"] = propagate((organs,), Deformation(case.affine, (prediction.dvf,)), daily)
        seconds = time.perf_counter() - begin
        if "segmentation" in self.paths:
            islands = _organs(prediction, _with_all_islands(self.model.manifest), case)
        if "service" in self.paths:
            chosen = choose_deformation(
                daily=case.daily.volume,
                planning=case.planning.volume,
                affine=case.affine,
                network=prediction.dvf,
                refine="auto",
                masks=(organs,),
            )
            paths["service"] = propagate((organs,), chosen.deformation, daily)
        dvf = prediction.dvf if "registration" in self.paths else None
        return Contoured(paths, dvf, seconds, islands)

    def _predict(self, case: HeldOutCase, organs: PackedMasks) -> Prediction:
        """One pass over the region that the service would take."""
        manifest = self.model.manifest
        points = case.affine.to_fixed(labelled_points(case.planning))
        if not self.exported:
            manifest = manifest.model_copy(update={"region_sizes": (covering_size(points, manifest),)})
        inputs = model_inputs(
            daily=case.daily.volume,
            planning=case.planning.volume,
            organs=organs,
            label_of={number: number for number in organs.roi_numbers},
            affine=case.affine,
            region=network_region(points, manifest).geometry,
            manifest=manifest,
        )
        return self.model.run(inputs)


def exported_system(
    name: str, model: RecontouringModel, *, learned_from: tuple[Cohort, ...] | None = None
) -> NetworkSystem:
    """An exported model, on the regions of its manifest, with what the service makes of its field.

    Args:
        name: What it is called in tables.
        model: As the service loads it.
        learned_from: Where its run is at hand.
    """
    identity = f"{model.manifest.sha256} {model.provider}"
    paths: tuple[PathName, ...] = ("segmentation", "registration", "service")
    return NetworkSystem(name, identity, model, paths, exported=True, learned_from=learned_from)


def covering_size(points_mm: Points, manifest: ModelManifest) -> tuple[int, int, int]:
    """The smallest input size (z, y, x) whose output covers points of the daily patient and 15 mm around them.

    Args:
        points_mm: (n, 3) LPS millimetres.
        manifest: Spacing, margin and multiple of the network.
    """
    extent = np.ptp(points_mm, axis=0)[::-1] + 2 * ORGAN_MARGIN_MM
    voxels = np.ceil(extent / manifest.spacing_mm - 1e-9) + 1 + 2 * manifest.margin_voxels
    z, y, x = (int(n) for n in np.ceil(voxels / manifest.size_multiple) * manifest.size_multiple)
    return z, y, x


def labelled_points(scan: LabelledVolume) -> Points:
    """Centres of all labelled voxels, (n, 3) LPS millimetres.

    Raises:
        ValueError: If the scan has no labelled voxel.
    """
    lower, upper = label_box(scan.labels)
    zyx = np.argwhere(scan.labels[tuple(map(slice, lower, upper))]) + lower
    return scan.volume.geometry.to_lps(zyx[:, ::-1].astype(np.float64))


def _organs(prediction: Prediction, manifest: ModelManifest, case: HeldOutCase) -> tuple[RoiPatch, ...]:
    numbers = {organ.label: organ.label for organ in manifest.organs}
    return organ_patches(prediction, manifest, numbers, case.daily.volume.geometry)


def _with_all_islands(manifest: ModelManifest) -> ModelManifest:
    """The same contract, but no island is dropped."""
    everything = tuple(organ.model_copy(update={"components": 1 << 30}) for organ in manifest.organs)
    return manifest.model_copy(update={"organs": everything})
