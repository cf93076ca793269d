"""From class probabilities on the network's grid to organs on the daily CT."""

from collections.abc import Container
from dataclasses import dataclass
from typing import cast

import numba
import numpy as np
from scipy import ndimage

from imaging.arrays import FloatVoxels, MaskVoxels
from imaging.findings import Finding, Verdict
from imaging.geometry import VolumeGeometry
from imaging.manifest import ModelManifest
from imaging.masks import RoiPatch
from imaging.model import Prediction

Box = tuple[slice, slice, slice]


@dataclass(frozen=True, eq=False)
class SegmentedOrgan:
    """One organ that the network found.

    Attributes:
        name: The manifest's name of it.
        patch: The organ on the daily grid.
        cut: Voxels of the network's grid in which it runs out of that grid into a part of the daily scan that the
            network was not shown.
    """

    name: str
    patch: RoiPatch
    cut: int


def organ_patches(
    prediction: Prediction, manifest: ModelManifest, number_of: dict[int, int], daily: VolumeGeometry
) -> tuple[RoiPatch, ...]:
    """The patches of `segmented_organs`, of cut organs too."""
    return tuple(organ.patch for organ in segmented_organs(prediction, manifest, number_of, daily))


def truncations(organs: tuple[SegmentedOrgan, ...]) -> tuple[Finding, ...]:
    """A failed check for each organ that the end of the network's region cuts off."""
    return tuple(
        Finding(
            "segmented-truncated",
            Verdict.FAIL,
            f"the network's region ends inside {organ.name} although the scan goes on: its contours are cut off there",
            organ.cut,
            0,
            roi_number=organ.patch.roi_number,
        )
        for organ in organs
        if organ.cut
    )


def unplanned(organs: tuple[SegmentedOrgan, ...], planned: Container[int]) -> tuple[Finding, ...]:
    """A review for each organ that the plan lacks: all checks but that of `truncations` compare with the plan."""
    return tuple(
        Finding(
            "segmented-not-planned",
            Verdict.REVIEW,
            f"the plan lacks {organ.name}: no check can compare its segmented contours with planned ones",
            roi_number=organ.patch.roi_number,
        )
        for organ in organs
        if organ.patch.roi_number not in planned
    )


def segmented_organs(
    prediction: Prediction, manifest: ModelManifest, number_of: dict[int, int], daily: VolumeGeometry
) -> tuple[SegmentedOrgan, ...]:
    """Every organ that the network found, on the daily CT's own voxels.

    A voxel belongs to the organ of the highest probability. The boundary is placed below voxel size, where the
    organ's probability equals that of its strongest rival. Only the largest components are kept, as many as the
    manifest says.

    Args:
        prediction: What the network returned.
        manifest: Labels and components per organ.
        number_of: The ROI number to give to each label.
        daily: The grid of the daily CT.

    Returns:
        One per organ found; an organ that the network did not see has none.
    """
    probabilities = prediction.probabilities
    shape = prediction.geometry.shape
    winner = np.empty(shape, dtype=np.uint8)
    _winners(probabilities, winner)
    boxes = cast("list[Box | None]", ndimage.find_objects(winner, max_label=len(probabilities) - 1))
    found = []
    for organ in manifest.organs:
        box = boxes[organ.label - 1]
        if box is None:
            continue
        kept = largest_components(winner[box] == organ.label, organ.components)
        inner = ndimage.find_objects(kept.view(np.uint8))[0]
        part = tuple(
            slice(max(outer.start + i.start - 1, 0), min(outer.start + i.stop + 1, size))
            for outer, i, size in zip(box, inner, shape, strict=True)
        )
        kept_part = np.zeros(shape, dtype=bool)
        kept_part[box] = kept
        inside = _lead(probabilities[(slice(None), *part)], organ.label)
        # Other islands of the organ are pushed below the boundary; the rim of the kept ones stays as it is.
        inside[(winner[part] == organ.label) & ~kept_part[part]] = 0.0
        lower = (part[0].start, part[1].start, part[2].start)
        upper = (part[0].stop, part[1].stop, part[2].stop)
        patch = _on_grid(number_of[organ.label], inside, prediction.geometry.cropped(lower, upper), daily)
        if patch is not None:
            found.append(SegmentedOrgan(organ.name, patch, _cut(kept, box, prediction.geometry, daily)))
    return tuple(found)


@numba.njit(cache=True, nogil=True)
def _winners(probabilities, winner):  # type: ignore[no-untyped-def]
    """The channel of the highest probability per voxel, the first among equals."""
    for k in range(winner.shape[0]):
        for j in range(winner.shape[1]):
            best = probabilities[0, k, j].copy()
            labels = winner[k, j]
            labels[:] = 0
            for c in range(1, probabilities.shape[0]):
                row = probabilities[c, k, j]
                for i in range(labels.size):
                    if row[i] > best[i]:
                        best[i] = row[i]
                        labels[i] = c


def _cut(kept: MaskVoxels, box: Box, source: VolumeGeometry, daily: VolumeGeometry) -> int:
    """Voxels of a mask, which fills `box` of a grid, on those faces of the grid beyond which the daily scan goes on."""
    count = 0
    for axis, component in ((0, 2), (1, 1), (2, 0)):
        before = source.origin_mm[component] - daily.origin_mm[component]
        behind = daily.last_mm[component] - source.last_mm[component]
        step = daily.spacing_mm[component]
        if box[axis].start == 0 and before >= step:
            count += int(np.count_nonzero(kept.take(0, axis=axis)))
        if box[axis].stop == source.shape[axis] and behind >= step:
            count += int(np.count_nonzero(kept.take(-1, axis=axis)))
    return count


def largest_components(mask: MaskVoxels, count: int) -> MaskVoxels:
    """The `count` largest face-connected components of a mask."""
    labelled, found = cast("tuple[np.ndarray, int]", ndimage.label(mask))
    if found <= count:
        return mask
    sizes = np.bincount(labelled.ravel())[1:]
    return np.isin(labelled, 1 + np.argsort(sizes)[::-1][:count])


def _lead(probabilities: FloatVoxels, label: int) -> FloatVoxels:
    """0.5 + half of the organ's probability minus that of its strongest rival, from 0 to 1."""
    rivals = np.delete(probabilities, label, axis=0).max(axis=0)
    return (0.5 + 0.5 * (probabilities[label] - rivals)).astype(np.float32)


def _on_grid(number: int, inside: FloatVoxels, source: VolumeGeometry, daily: VolumeGeometry) -> RoiPatch | None:
    """Trilinear on the daily voxels; both grids run along the patient's axes, so one axis at a time."""
    values = inside
    lower = []
    for array_axis, component in ((0, 2), (1, 1), (2, 0)):
        first_mm, step_mm = daily.origin_mm[component], daily.spacing_mm[component]
        start_mm, end_mm = source.origin_mm[component], source.last_mm[component]
        begin = max(int(np.ceil((start_mm - first_mm) / step_mm)), 0)
        end = min(int(np.floor((end_mm - first_mm) / step_mm)), daily.shape[array_axis] - 1)
        if end < begin:
            return None
        position = (first_mm + step_mm * np.arange(begin, end + 1) - start_mm) / source.spacing_mm[component]
        below = np.clip(position.astype(np.int64), 0, max(inside.shape[array_axis] - 2, 0))
        above = np.minimum(below + 1, inside.shape[array_axis] - 1)
        shape = [1, 1, 1]
        shape[array_axis] = -1
        weight = (position - below).astype(np.float32).reshape(shape)
        values = values.take(below, axis=array_axis) * (1 - weight) + values.take(above, axis=array_axis) * weight
        lower.append(begin)
    if not (values >= 0.5).any():
        return None
    return RoiPatch(number, (lower[0], lower[1], lower[2]), values.astype(np.float32), daily)
