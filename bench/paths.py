"""Which path of a model to recommend: surface distances of what the service delivers, on virtual patients.

    python -m bench.paths models/prostate-ct/1.0.0 [--patients 5] [--seed 5000] [--in-plane 320]
        [--write]

Patients of clinic A have the seeds SEED on, those of clinic B SEED + 1000 on. They must be nobody's training patients,
and once a path was chosen by them, nobody's test patients either.
"""

import argparse
from collections import defaultdict
from pathlib import Path
from statistics import mean

from bench.markdown import table, tell
from bench.phantom_truth import by_the_affine, distances
from imaging.case import Case, Recontouring, RecontourOptions, RoiPath
from imaging.masks import RoiPatch
from imaging.model import RecontouringModel, load_model
from imaging.plausibility_limits import PlausibilityLimits
from imaging.recontour import recontour
from imaging.timing import Stopwatch
from phantom.case import CLINIC_A, CLINIC_B, PhantomCase, make_case

STEPS = ("affine", "propagated", "segmented", "recommended")


def main() -> None:
    options = _parser().parse_args()
    model = load_model(options.model)
    found: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for clinic, first in ((CLINIC_A, options.seed), (CLINIC_B, options.seed + 1000)):
        for seed in range(first, first + options.patients):
            case = make_case(seed, clinic=clinic, in_plane=options.in_plane)
            for step, organs in distances(case, steps_of(case, recontoured(case, model))).items():
                for organ, distance in organs.items():
                    if distance is not None:
                        found[clinic.name, organ, step].append(distance)
            tell(f"clinic {clinic.name}, patient {seed}")
    means = {place: mean(values) for place, values in found.items()}
    known = [organ.name for organ in model.manifest.organs]
    rows = [[clinic, organ, *(means[clinic, organ, step] for step in STEPS)] for clinic in "AB" for organ in known]
    print(f"mean surface distance in mm, {options.patients} virtual patients of each clinic\n")
    print(table(["clinic", "organ", *STEPS], rows, digits=2))
    print()
    chosen: dict[str, RoiPath] = {}
    for organ in model.manifest.organs:
        both = {step: mean(means[clinic, organ.name, step] for clinic in "AB") for step in STEPS[1:3]}
        better = min(both, key=lambda step: both[step])
        print(f"{organ.name}: {better}; the manifest says {organ.recommended}")
        chosen[organ.name] = "propagated" if better == "propagated" else "segmented"
    if options.write:
        organs_now = tuple(o.model_copy(update={"recommended": chosen[o.name]}) for o in model.manifest.organs)
        manifest = model.manifest.model_copy(update={"organs": organs_now})
        (options.model / "manifest.json").write_text(manifest.model_dump_json(indent=2) + "\n")


def steps_of(case: PhantomCase, answer: Recontouring) -> dict[str, dict[int, RoiPatch]]:
    """By step and ROI number: the affine, both paths, and what is recommended of them."""
    paths, recommended = delivered(answer)
    return {"affine": by_the_affine(case), **paths, "recommended": recommended}


def recontoured(case: PhantomCase, model: RecontouringModel, options: RecontourOptions | None = None) -> Recontouring:
    """What the service makes of a case, with its defaults where no options are given."""
    return recontour(
        Case(case.planning, case.planning_structures, case.daily),
        model,
        limits=PlausibilityLimits(),
        options=options or RecontourOptions(),
        stopwatch=Stopwatch(),
    )


def delivered(answer: Recontouring) -> tuple[dict[str, dict[int, RoiPatch]], dict[int, RoiPatch]]:
    """The patches of both paths, and the recommended ones, by ROI number."""
    paths = {
        "propagated": {patch.roi_number: patch for patch in answer.propagated_patches},
        "segmented": {patch.roi_number: patch for patch in answer.segmented_patches},
    }
    recommended = {
        line.number: paths[line.recommended_path][line.number] for line in answer.rois if line.recommended_path
    }
    return paths, recommended


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="models/NAME/VERSION")
    parser.add_argument("--patients", type=int, default=5, help="of each clinic")
    parser.add_argument("--seed", type=int, default=5000)
    parser.add_argument("--in-plane", type=int, default=320, help="rows and columns")
    parser.add_argument("--write", action="store_true", help="write the better path of each organ into the manifest")
    return parser


if __name__ == "__main__":
    main()
