"""What a plan asks for: which ROIs are carried, which are the body outline, which are organs that the model knows."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from imaging.arrays import Points
from imaging.errors import RoiAmbiguous, RoiUnmapped
from imaging.geometry import VolumeGeometry, bounds
from imaging.manifest import ModelManifest, Organ
from imaging.structures import Roi, StructureSet


@dataclass(frozen=True, eq=False)
class Plan:
    """The ROIs of a structure set, sorted by what will happen to them.

    Attributes:
        wanted: Every ROI that comes back, in the order of the plan.
        carried: ROIs with contours that the deformation carries: the network's organs, then what else is wanted.
        external: Body outlines, which are drawn anew.
        organs: The organ that each ROI number means to the model.
        free_number: The first ROI number beyond those of the plan.
    """

    wanted: tuple[Roi, ...]
    carried: StructureSet
    external: StructureSet
    organs: dict[int, Organ]
    free_number: int

    def number_of_label(self, manifest: ModelManifest) -> dict[int, int]:
        """The ROI number of every label; organs that the plan lacks get numbers after the plan's last."""
        known = {organ.label: number for number, organ in self.organs.items()}
        missing = [organ.label for organ in manifest.organs if organ.label not in known]
        return known | {label: self.free_number + i for i, label in enumerate(missing)}


def sort_plan(structures: StructureSet, manifest: ModelManifest | None, wanted: tuple[int, ...] | None) -> Plan:
    """Sort the ROIs of a plan.

    Args:
        structures: The planning structure set.
        manifest: The model's organs, or None without a model.
        wanted: Numbers of the ROIs that shall come back, or None for all.

    Raises:
        RoiAmbiguous: If two ROIs with contours mean the same organ.
        RoiUnmapped: If a wanted number is not in the plan, or has no contours.
    """
    drawn = {roi.number: roi for roi in structures.rois if roi.contours}
    for position, number in enumerate(wanted or ()):
        if number not in drawn:
            raise RoiUnmapped(
                f"wanted ROI {position + 1} of the options is not in the plan or has no contours; ask for another",
                position=position + 1,
            )
    organs = _organs(drawn.values(), manifest)
    chosen = [roi for roi in structures.rois if wanted is None or roi.number in wanted]
    # The organs come first, so that all of them lie in the first group of packed masks.
    carried = [roi for roi in drawn.values() if roi.number in organs] + [
        roi for roi in chosen if roi.contours and not roi.is_external and roi.number not in organs
    ]
    external = [roi for roi in chosen if roi.contours and roi.is_external]
    free_number = 1 + max((roi.number for roi in structures.rois), default=0)
    return Plan(tuple(chosen), StructureSet(tuple(carried)), StructureSet(tuple(external)), organs, free_number)


def contour_points(structures: StructureSet, numbers: set[int] | None = None) -> Points:
    """All corners (n, 3) of the chosen ROIs, LPS millimetres."""
    loops = [c for roi in structures.rois if numbers is None or roi.number in numbers for c in roi.contours]
    if not loops:
        return np.empty((0, 3))
    xy = np.concatenate([loop.xy_mm for loop in loops])
    z = np.repeat([loop.z_mm for loop in loops], [len(loop.xy_mm) for loop in loops])
    return np.column_stack([xy, z])


def grid_around(points_mm: Points, grid: VolumeGeometry) -> VolumeGeometry:
    """The part of a grid that holds the points, one voxel wider on every side, within the grid."""
    first, last = grid.to_index(np.stack(bounds(points_mm)))[:, ::-1]
    lower = np.clip(np.floor(first).astype(int) - 1, 0, np.asarray(grid.shape) - 1)
    upper = np.clip(np.ceil(last).astype(int) + 2, lower + 1, grid.shape)
    (z0, y0, x0), (z1, y1, x1) = lower.tolist(), upper.tolist()
    return grid.cropped((z0, y0, x0), (z1, y1, x1))


def _organs(rois: Iterable[Roi], manifest: ModelManifest | None) -> dict[int, Organ]:
    if manifest is None:
        return {}
    organs: dict[int, Organ] = {}
    for roi in rois:
        organ = manifest.organ_of(roi.name)
        if organ is None or roi.is_external:
            continue
        if organ in organs.values():
            raise RoiAmbiguous(
                f"two ROIs of the plan mean the organ {organ.name}; rename one of them or ask for the ROIs by name",
                organ=organ.name,
            )
        organs[roi.number] = organ
    return organs
