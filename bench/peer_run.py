"""One method on the case, in a process of its own: `python -m bench.peer_run NAME CASE THREADS MODELS_DIR MODEL`.

Prints one line of JSON: times of the registration and of carrying the contours, scores per organ. CASE is a folder that
`bench.peers` has written. Registration means: from two CTs in memory to a deformation.
"""

import argparse
import json
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.peer_methods import ORGANS, PEERS, NotHere, scans_of, spent_s
from imaging.alignment import align
from imaging.case import Case, RecontourOptions
from imaging.deformation import choose_deformation
from imaging.masks import PackedMasks, RoiPatch
from imaging.measures import on_common_box
from imaging.metrics import dice, surface_distances
from imaging.model import RecontouringModel, load_model
from imaging.plan import contour_points, grid_around, sort_plan
from imaging.plausibility import PlausibilityLimits
from imaging.propagation import propagate
from imaging.rasterize import rasterize
from imaging.recontour import recontour
from imaging.structures import StructureSet
from imaging.timing import Stopwatch
from imaging.transforms import Deformation
from imaging.volume import Volume
from phantom.case import PhantomCase
from recontour.scoring import patches_of
from recontour.virtual_patient import CaseFolders
from service.pipeline import ClinicalCore, model_folder
from service.settings import NO_MODEL, Settings
from service.uploads import Upload

REGISTRATION, WITH_NETWORK, WHOLE, WHOLE_WITHOUT = "registration", "with-network", "whole", "whole-without-network"


def main() -> None:
    options = _parser().parse_args()
    case: PhantomCase = pickle.loads((options.case / "case.pickle").read_bytes())
    masks = _masks(case)
    # Kernels are compiled at the installation; loading them is no part of a registration.
    propagate(masks, Deformation(align(fixed=_fresh(case.daily), moving=_fresh(case.planning))), case.daily.geometry)
    if options.name in (WHOLE, WHOLE_WITHOUT):
        found = _whole(CaseFolders(options.case), options, with_network=options.name == WHOLE)
    elif options.name == WITH_NETWORK:
        model = load_model(model_folder(options.models_dir, options.model))
        model.warm_up()
        found = _with_network(case, model)
    else:
        find = {REGISTRATION: lambda *_: _registered(case, masks)} | {peer.name: peer.find for peer in PEERS}
        try:
            found = _carried(case, masks, lambda: find[options.name](scans_of(case), options.threads))
        except NotHere as error:
            found = {"skipped": str(error)}
    print(json.dumps(found))


def _carried(case: PhantomCase, masks: tuple[PackedMasks, ...], act: Callable[[], Deformation]) -> dict[str, Any]:
    """Register, then carry all planned ROIs by the deformation."""
    deformation, wall_s, cpu_s = timed(act)
    patches, carry_s, _ = timed(lambda: propagate(masks, deformation, case.daily.geometry))
    return {"wall_s": wall_s, "cpu_s": cpu_s, "carry_s": carry_s, "scores": scores(case, patches)}


def _registered(case: PhantomCase, masks: tuple[PackedMasks, ...]) -> Deformation:
    daily, planning = _fresh(case.daily), _fresh(case.planning)
    affine = align(fixed=daily, moving=planning)
    return choose_deformation(daily=daily, planning=planning, affine=affine, network=None, masks=masks).deformation


def _with_network(case: PhantomCase, model: RecontouringModel) -> dict[str, Any]:
    """From voxels and lines to lines: the network, both kinds of contours and all checks."""
    limits, options = PlausibilityLimits(), RecontourOptions()

    def act() -> Any:
        fresh = Case(_fresh(case.planning), case.planning_structures, _fresh(case.daily))
        return recontour(fresh, model, limits=limits, options=options, stopwatch=Stopwatch())

    act()
    outcome, wall_s, cpu_s = timed(act)
    segmented = {patch.roi_number: patch for patch in outcome.segmented_patches}
    chosen = {patch.roi_number: patch for patch in outcome.propagated_patches}
    for line in outcome.rois:
        if line.recommended_path == "segmented":
            chosen[line.number] = segmented[line.number]
    return {"wall_s": wall_s, "cpu_s": cpu_s, "scores": scores(case, tuple(chosen.values()))}


def _whole(folders: CaseFolders, options: argparse.Namespace, *, with_network: bool) -> dict[str, Any]:
    """From the bytes of DICOM to the bytes of DICOM, as the service does it behind HTTP."""
    chosen = options.model if with_network else NO_MODEL
    core = ClinicalCore(Settings(models_dir=options.models_dir, model=chosen), warm=True)
    core.bring_up(lambda *_: None)
    images = {
        "planning_ct": [file.read_bytes() for file in sorted(folders.planning.glob("CT_*.dcm"))],
        "planning_structures": [folders.structures.read_bytes()],
        "daily_ct": [file.read_bytes() for file in sorted(folders.daily.glob("CT_*.dcm"))],
    }

    def act() -> Any:
        upload = Upload({role: list(contents) for role, contents in images.items()})  # type: ignore[misc]
        return core.recontour(upload, None, Stopwatch())

    act()
    _, wall_s, cpu_s = timed(act)
    return {"wall_s": wall_s, "cpu_s": cpu_s}


def timed(act: Callable[[], Any]) -> tuple[Any, float, float]:
    """What it returns, wall clock and processor time."""
    begun, spent = time.perf_counter(), spent_s()
    found = act()
    return found, time.perf_counter() - begun, spent_s() - spent


def scores(case: PhantomCase, patches: tuple[RoiPatch, ...]) -> dict[str, dict[str, float]]:
    """Dice, mean and 95 % surface distance of each organ against the phantom's true contours."""
    grid = case.daily.geometry
    wanted = tuple(roi for roi in case.daily_structures.rois if roi.name in ORGANS)
    truth = patches_of(StructureSet(wanted), grid, daily=grid)
    number_of = {roi.name: roi.number for roi in case.planning_structures.rois}
    found = {patch.roi_number: patch for patch in patches}
    result = {}
    for roi in wanted:
        a, b = on_common_box(truth[roi.number], found[number_of[roi.name]])
        distance = surface_distances(a, b, spacing_mm=grid.spacing_mm)
        result[roi.name] = {"dice": dice(a, b), "mean_mm": distance.mean_mm, "hd95_mm": distance.hd95_mm}
    return result


def _masks(case: PhantomCase) -> tuple[PackedMasks, ...]:
    carried = sort_plan(case.planning_structures, None, None).carried
    return rasterize(carried, grid_around(contour_points(carried), case.planning.geometry), within=True)


def _fresh(volume: Volume) -> Volume:
    """The same CT as if it had just been read: a volume remembers its block means."""
    return Volume(volume.hu, volume.geometry)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("case", type=Path)
    parser.add_argument("threads", type=int)
    parser.add_argument("models_dir", type=Path)
    parser.add_argument("model")
    return parser


if __name__ == "__main__":
    main()
