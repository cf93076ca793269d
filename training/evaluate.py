"""How far the contours are from the truth: before, after the affine, by the network's field, propagated, and segmented.

'network' is the affine with the network's field as it is; 'propagated' is what the service delivers: that field
where it helps, and the refinement.

What is scored is the exported model through the functions of `imaging` that the service calls, on the daily CT's own
voxels. Distances are pooled over both directions, as in Beljaards et al., MIDL 2020.
"""

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from imaging.alignment import align
from imaging.arrays import LabelVoxels, MaskVoxels, Points
from imaging.deformation import choose_deformation
from imaging.displacement import fraction_folded
from imaging.geometry import VolumeGeometry
from imaging.manifest import ModelManifest
from imaging.manifest import Path as RecommendedPath
from imaging.masks import PackedMasks, RoiPatch
from imaging.metrics import dice, surface_distances
from imaging.model import Prediction, RecontouringModel
from imaging.organs import organ_patches
from imaging.preprocessing import model_inputs, network_region
from imaging.propagation import propagate
from imaging.transforms import AffineTransform, Deformation
from training.held_out import HeldOutCase, packed_organs

METHODS = ("before", "affine", "network", "propagated", "segmented")


@dataclass(frozen=True)
class Score:
    """One organ of one case by one method; distances are infinite where the method returned nothing."""

    case: str
    organ: str
    method: str
    msd_mm: float
    hd95_mm: float
    dice: float


@dataclass(frozen=True)
class Summary:
    """One organ by one method over all cases; infinite distances count in `missing` and are left out of the means."""

    organ: str
    method: str
    cases: int
    missing: int
    msd_mean_mm: float
    msd_sd_mm: float
    msd_median_mm: float
    hd95_mean_mm: float
    dice_mean: float


def evaluate_case(case: HeldOutCase, model: RecontouringModel) -> tuple[list[Score], float]:
    """Every organ by every method, and the part of the network's field that folds."""
    manifest = model.manifest
    organs = packed_organs(case.planning, len(manifest.organs))
    affine = align(fixed=case.daily.volume, moving=case.planning.volume)
    prediction = predict(case, organs, affine, model)
    daily = case.daily.volume.geometry
    chosen = choose_deformation(
        daily=case.daily.volume,
        planning=case.planning.volume,
        affine=affine,
        network=prediction.dvf,
        refine="auto",
        masks=(organs,),
    )
    patches = {
        "before": propagate((organs,), Deformation(AffineTransform.identity()), daily),
        "affine": propagate((organs,), Deformation(affine), daily),
        "network": propagate((organs,), Deformation(affine, (prediction.dvf,)), daily),
        "propagated": propagate((organs,), chosen.deformation, daily),
        "segmented": organ_patches(prediction, manifest, {o.label: o.label for o in manifest.organs}, daily),
    }
    scores = [
        _score(case, manifest, method, label, patches[method])
        for label in range(1, len(manifest.organs) + 1)
        for method in METHODS
    ]
    return scores, fraction_folded(prediction.dvf)


def predict(case: HeldOutCase, organs: PackedMasks, affine: AffineTransform, model: RecontouringModel) -> Prediction:
    """One pass of the network on the region that the service would take."""
    manifest = model.manifest
    region = network_region(affine.to_fixed(voxel_points(case.planning.labels, organs.geometry)), manifest).geometry
    inputs = model_inputs(
        daily=case.daily.volume,
        planning=case.planning.volume,
        organs=organs,
        label_of={number: number for number in organs.roi_numbers},
        affine=affine,
        region=region,
        manifest=manifest,
    )
    return model.run(inputs)


def voxel_points(labels: LabelVoxels, geometry: VolumeGeometry) -> Points:
    """Centres of all labelled voxels, (n, 3) LPS millimetres."""
    return geometry.to_lps(np.argwhere(labels)[:, ::-1].astype(np.float64))


def evaluate(cases: Iterable[HeldOutCase], model: RecontouringModel) -> Iterator[tuple[list[Score], float]]:
    """`evaluate_case` one after another."""
    for case in cases:
        yield evaluate_case(case, model)


def summarise(scores: Iterable[Score]) -> list[Summary]:
    """Means over cases, organ by organ in the order of first appearance."""
    groups: dict[tuple[str, str], list[Score]] = {}
    for score in scores:
        groups.setdefault((score.organ, score.method), []).append(score)
    return [_summary(organ, method, group) for (organ, method), group in groups.items()]


def recommended(manifest: ModelManifest, summaries: Iterable[Summary]) -> ModelManifest:
    """The manifest with the path of the smaller mean surface distance per organ; call it with validation cases only.

    A path that returned nothing in some case loses to one that always returned something.
    """
    rank = {(s.organ, s.method): (s.missing, s.msd_mean_mm) for s in summaries}
    organs = tuple(
        organ.model_copy(update={"recommended": _better_path(organ.name, rank)}) for organ in manifest.organs
    )
    return manifest.model_copy(update={"organs": organs})


def markdown_table(summaries: Iterable[Summary]) -> str:
    """Rows of organ and method for a model card."""
    head = "| organ | method | MSD mm, mean ± SD (median) | 95 % HD mm | Dice | empty |\n|---|---|---|---|---|---|"
    rows = [
        f"| {s.organ} | {s.method} | {s.msd_mean_mm:.2f} ± {s.msd_sd_mm:.2f} ({s.msd_median_mm:.2f}) "
        f"| {s.hd95_mean_mm:.1f} | {s.dice_mean:.3f} | {s.missing} of {s.cases} |"
        for s in summaries
    ]
    return "\n".join([head, *rows])


def write_report(file: Path, sections: dict[str, list[Score]], folded: dict[str, float]) -> None:
    """evaluation.json: every score, their summaries and the folded part of the fields, per section."""
    report = {
        name: {
            "summaries": [_finite(asdict(summary)) for summary in summarise(scores)],
            "scores": [_finite(asdict(score)) for score in scores],
            "fraction_folded": folded[name],
        }
        for name, scores in sections.items()
    }
    file.write_text(json.dumps(report, indent=1, allow_nan=False) + "\n")


def _score(case: HeldOutCase, manifest: ModelManifest, method: str, label: int, patches: Iterable[RoiPatch]) -> Score:
    geometry = case.daily.volume.geometry
    truth = case.daily.labels == label
    mask = np.zeros(geometry.shape, dtype=bool)
    for patch in patches:
        if patch.roi_number == label:
            box = tuple(slice(a, a + n) for a, n in zip(patch.lower, patch.inside.shape, strict=True))
            mask[box] = patch.inside >= 0.5
    box = _box_round(truth | mask)
    distances = surface_distances(mask[box], truth[box], spacing_mm=geometry.spacing_mm)
    organ = manifest.organs[label - 1].name
    return Score(case.name, organ, method, distances.mean_mm, distances.hd95_mm, dice(mask[box], truth[box]))


def _box_round(mask: MaskVoxels) -> tuple[slice, ...]:
    sides = []
    for axis in range(3):
        hit = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        sides.append(slice(max(int(hit[0]) - 1, 0), int(hit[-1]) + 2))
    return tuple(sides)


def _better_path(organ: str, rank: dict[tuple[str, str], tuple[int, float]]) -> RecommendedPath:
    return "segmented" if rank[organ, "segmented"] < rank[organ, "propagated"] else "propagated"


def _summary(organ: str, method: str, group: list[Score]) -> Summary:
    found = [score for score in group if math.isfinite(score.msd_mm)]
    msd = np.array([score.msd_mm for score in found])
    hd95 = np.array([score.hd95_mm for score in found])
    nothing = not found
    return Summary(
        organ,
        method,
        len(group),
        len(group) - len(found),
        math.inf if nothing else float(msd.mean()),
        math.nan if len(found) < 2 else float(msd.std(ddof=1)),
        math.inf if nothing else float(np.median(msd)),
        math.inf if nothing else float(hd95.mean()),
        float(np.mean([score.dice for score in group])),
    )


def _finite(row: dict[str, object]) -> dict[str, object]:
    """JSON has no infinity: a distance to nothing becomes null."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
