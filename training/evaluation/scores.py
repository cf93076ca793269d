"""What is kept of one system on one case, and how it is measured against the drawn organs of the day."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import find_objects

from imaging.arrays import LabelVoxels, MaskVoxels
from imaging.masks import RoiPatch
from imaging.metrics import dice, surface_distances
from imaging.preprocessing import ORGAN_MARGIN_MM
from training.evaluation.measures import FieldMeasures, added_path_length, cut_to_box, field_measures
from training.evaluation.network_system import labelled_points
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
        seconds: How long the system took; not a number where it failed.
        threads: CPU threads it was given; 0 where nobody counted them.
        error: Class of the exception with which the system failed, and all its organs are missing; empty otherwise.
    """

    system: str
    identity: str
    case: str
    patient: str
    organs: tuple[OrganScore, ...]
    field: FieldMeasures | None
    seconds: float
    threads: int = 0
    error: str = ""


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
    spacing_mm = case.daily.volume.geometry.spacing_mm
    drawn = find_objects(case.daily.labels, max_label=len(organs))
    rows: list[OrganScore] = []
    for label, organ in enumerate(organs, start=1):
        if drawn[label - 1] is None:
            continue
        for path, patches in contoured.paths.items():
            mask, truth = _side_by_side(patches, label, drawn[label - 1], case.daily.labels)
            distances = surface_distances(mask, truth, spacing_mm=spacing_mm)
            added = added_path_length(mask, truth, spacing_mm=spacing_mm, tolerance_mm=tolerance_mm)
            row = OrganScore(
                organ, path, distances.mean_mm, distances.hd95_mm, dice(mask, truth), added.mm, added.pixels
            )
            if path == "segmentation" and contoured.islands:
                islands, truth = _side_by_side(contoured.islands, label, drawn[label - 1], case.daily.labels)
                kept = best_islands(islands, truth, components.get(organ, 1))
                best = surface_distances(kept, truth, spacing_mm=spacing_mm)
                row = replace(row, oracle_msd_mm=best.mean_mm, oracle_dice=dice(kept, truth))
            rows.append(row)
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
    there = case.affine.to_fixed(labelled_points(case.planning))
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
        if content["seconds"] is None:
            content["seconds"] = math.nan
        return CaseScore(**content, organs=rows, field=None if field is None else FieldMeasures(**_known(field)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _side_by_side(
    patches: tuple[RoiPatch, ...], label: int, drawn: tuple[slice, ...], labels: LabelVoxels
) -> tuple[MaskVoxels, MaskVoxels]:
    """Answer and truth (z, y, x) of one organ on the smallest box that holds both, with a rim of one voxel."""
    own = [patch for patch in patches if patch.roi_number == label and patch.inside.size]
    lower = np.min([[part.start for part in drawn], *(patch.lower for patch in own)], axis=0)
    ends = (np.add(patch.lower, patch.inside.shape) for patch in own)
    upper = np.max([[part.stop for part in drawn], *ends], axis=0)
    lower, upper = np.maximum(lower - 1, 0), np.minimum(upper + 1, labels.shape)
    mask = np.zeros(upper - lower, dtype=np.bool_)
    for patch in own:
        begin = np.subtract(patch.lower, lower)
        mask[tuple(slice(a, a + n) for a, n in zip(begin, patch.inside.shape, strict=True))] |= patch.inside >= 0.5
    return mask, labels[tuple(slice(a, b) for a, b in zip(lower, upper, strict=True))] == label


def _field(case: HeldOutCase, contoured: Contoured) -> FieldMeasures | None:
    if contoured.dvf is None:
        return None
    # All systems are looked at in one box: a field over the whole scan would be diluted by tissue at rest.
    part = cut_to_box(contoured.dvf, *planned_box_mm(case))
    return None if part is None else field_measures(part)


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
