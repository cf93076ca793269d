"""What is kept of one system on one case, and how it is measured against the drawn organs of the day."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imaging.arrays import MaskVoxels
from imaging.geometry import VolumeGeometry
from imaging.masks import RoiPatch
from imaging.metrics import bounding_box, dice, surface_distances
from imaging.preprocessing import ORGAN_MARGIN_MM
from training.evaluation.measures import FieldMeasures, added_path_length, cut_to_box, field_measures
from training.evaluation.oracle import best_islands
from training.evaluation.system import Contoured, HeldOutCase, PathName

FORMAT = 1
"""Of the files; it grows when a measure changes, so that stored scores are measured anew."""


@dataclass(frozen=True)
class OrganScore:
    """One organ by one path.

    Attributes:
        organ: Its name.
        path: The path that gave it.
        msd_mm: Mean surface distance, both directions pooled; infinite where the path returned nothing.
        hd95_mm: The larger of the two directed 95th percentiles; infinite likewise.
        dice: Overlap, 0 to 1.
        added_mm: Added path length in millimetres.
        added_pixels: The same in contour pixels.
        oracle_msd_mm: Distance if the best islands had been chosen by the truth; None where there is no such number.
        oracle_dice: Overlap likewise.
    """

    organ: str
    path: PathName
    msd_mm: float
    hd95_mm: float
    dice: float
    added_mm: float
    added_pixels: int
    oracle_msd_mm: float | None = None
    oracle_dice: float | None = None

    @property
    def missing(self) -> bool:
        """Whether the path returned nothing for this organ."""
        return not math.isfinite(self.msd_mm)


@dataclass(frozen=True)
class CaseScore:
    """One system on one case.

    Attributes:
        system: Name of the system.
        identity: Its identity when it was measured.
        case: Name of the case.
        patient: Whose it is.
        organs: Every organ by every path.
        field: The displacement field within the planned organs and 15 mm around them; None without a field.
        seconds: How long the system took.
    """

    system: str
    identity: str
    case: str
    patient: str
    organs: tuple[OrganScore, ...]
    field: FieldMeasures | None
    seconds: float


def score_case(
    case: HeldOutCase,
    contoured: Contoured,
    *,
    system: str,
    identity: str,
    organs: tuple[str, ...],
    components: Mapping[str, int],
    tolerance_mm: float = 0.0,
) -> CaseScore:
    """Measure an answer on the daily CT's own voxels.

    An organ that the case has not drawn is left out. Where a path returned nothing, distances are infinite, the
    overlap is 0 and the whole outline counts as added.

    Args:
        case: With the truth.
        contoured: The answer.
        system: Name of the system.
        identity: Its identity.
        organs: Names of the labels 1, 2, ...
        components: How many islands an organ may have, for the oracle; 1 where it is not named.
        tolerance_mm: Of the added path length.
    """
    geometry = case.daily.volume.geometry
    rows: list[OrganScore] = []
    for label, organ in enumerate(organs, start=1):
        truth = case.daily.labels == label
        if not truth.any():
            continue
        for path, patches in contoured.paths.items():
            mask = filled(patches, label, truth.shape)
            rows.append(_measured(mask, truth, organ=organ, path=path, geometry=geometry, tolerance_mm=tolerance_mm))
            if path == "segmentation" and contoured.islands:
                islands = filled(contoured.islands, label, truth.shape)
                kept = best_islands(islands, truth, components.get(organ, 1))
                rows[-1] = _with_oracle(rows[-1], kept, truth, geometry)
    return CaseScore(system, identity, case.name, case.patient, tuple(rows), _field(case, contoured), contoured.seconds)


def filled(patches: tuple[RoiPatch, ...], label: int, shape: tuple[int, ...]) -> MaskVoxels:
    """The mask (z, y, x) of one organ on the whole daily grid."""
    mask = np.zeros(shape, dtype=np.bool_)
    for patch in patches:
        if patch.roi_number == label and patch.inside.size:
            box = tuple(slice(a, a + n) for a, n in zip(patch.lower, patch.inside.shape, strict=True))
            mask[box] |= patch.inside >= 0.5
    return mask


def planned_box_mm(case: HeldOutCase) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """The corners of the box round the planned organs after the affine, with the margin of the service's region."""
    zyx = np.argwhere(case.planning.labels)
    there = case.affine.to_fixed(case.planning.volume.geometry.to_lps(zyx[:, ::-1].astype(np.float64)))
    lower, upper = there.min(axis=0) - ORGAN_MARGIN_MM, there.max(axis=0) + ORGAN_MARGIN_MM
    return (lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2])


def write_score(score: CaseScore, file: Path) -> None:
    """One JSON file; an infinite distance becomes null, because JSON has no infinity."""
    content = {"format": FORMAT, **_finite(asdict(score))}
    part = file.with_suffix(".part")
    part.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
    part.replace(file)


def read_score(file: Path) -> CaseScore | None:
    """A stored score; None where the file is missing, damaged or of another format, so that it is measured anew."""
    try:
        content = json.loads(file.read_text())
        if content.pop("format") != FORMAT:
            return None
        field = content.pop("field")
        rows = tuple(OrganScore(**{**row, **_infinite(row)}) for row in content.pop("organs"))
        return CaseScore(**content, organs=rows, field=None if field is None else FieldMeasures(**_known(field)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _measured(
    mask: MaskVoxels, truth: MaskVoxels, *, organ: str, path: PathName, geometry: VolumeGeometry, tolerance_mm: float
) -> OrganScore:
    box = _around(truth | mask)
    distances = surface_distances(mask[box], truth[box], spacing_mm=geometry.spacing_mm)
    added = added_path_length(mask[box], truth[box], spacing_mm=geometry.spacing_mm, tolerance_mm=tolerance_mm)
    overlap = dice(mask[box], truth[box])
    return OrganScore(organ, path, distances.mean_mm, distances.hd95_mm, overlap, added.mm, added.pixels)


def _with_oracle(row: OrganScore, kept: MaskVoxels, truth: MaskVoxels, geometry: VolumeGeometry) -> OrganScore:
    box = _around(truth | kept)
    distances = surface_distances(kept[box], truth[box], spacing_mm=geometry.spacing_mm)
    best = {"oracle_msd_mm": distances.mean_mm, "oracle_dice": dice(kept[box], truth[box])}
    return OrganScore(**{**asdict(row), **best})


def _field(case: HeldOutCase, contoured: Contoured) -> FieldMeasures | None:
    if contoured.dvf is None:
        return None
    # All systems are looked at in one box: a field over the whole scan would be diluted by tissue at rest.
    part = cut_to_box(contoured.dvf, *planned_box_mm(case))
    return None if part is None else field_measures(part)


def _around(mask: MaskVoxels) -> tuple[slice, slice, slice]:
    """The box of a mask that is not empty, with a rim of one voxel."""
    box = bounding_box(mask)
    if box is None:
        raise ValueError("the mask is empty")
    z, y, x = (slice(max(part.start - 1, 0), part.stop + 1) for part in box)
    return z, y, x


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, tuple | list):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _infinite(row: dict[str, Any]) -> dict[str, float]:
    return {name: math.inf for name in ("msd_mm", "hd95_mm") if row[name] is None}


def _known(field: dict[str, Any]) -> dict[str, Any]:
    return {name: math.nan if value is None else value for name, value in field.items()}
