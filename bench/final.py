"""The final table of a release: the service, elastix, Hybrid and trained networks on virtual patients whom nobody used.

    python -m bench.final models/prostate-ct/1.0.0 --seed SEED --out FOLDER [--networks NAME=RUN ...] [--workers 2]
        [--kept docs/prostate-ct-1.0.0/final.json]

FOLDER/CASE/SYSTEM.json holds the mean surface distances of one system on one case, and what is there is not done
again, if model and pixels are the same (whether the service or the phantom changed since is not noticed: name another
folder then); FOLDER/final.json and final.md are written from all of them. The final.json of an earlier run with the
same model, seed and days, named as --kept, fills the folder first: so a network that was trained later joins its table.
Patients of clinic A have the seeds SEED on, those of clinic B SEED + 1000 on. elastix and Hybrid run with the settings
that were best on validation patients, see docs/model-development.md; Hybrid's bladder is segmented by the model.
"""

import argparse
import json
import multiprocessing
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench.final_report import as_markdown
from bench.final_store import SERVICE, Store
from bench.markdown import tell, write_report
from bench.paths import recontoured, steps_of
from bench.phantom_truth import distances
from bench.unseen import told_of
from imaging.alignment import align
from imaging.masks import RoiPatch
from imaging.model import RecontouringModel, load_model
from imaging.propagation import propagate
from imaging.rasterize import rasterize
from imaging.transforms import Deformation
from phantom.case import CLINIC_A, CLINIC_B, PhantomCase, make_case
from phantom.contours import LABELS
from training.baselines.elastix import elastix_systems
from training.baselines.hybrid import hybrid_systems
from training.dataset import HeldOutCase
from training.evaluation.loading import bladder_of, network_system
from training.evaluation.system import PathName, System
from training.pairs import LabelledScan

ELASTIX, HYBRID = "elastix 10 mm, 4 resolutions", "Hybrid, light bladder"
NAMES: Mapping[PathName, str] = {"segmentation": "segmented", "registration": "propagated"}

Millimetres = Mapping[str, Mapping[str, float | None]]
"""Mean surface distance by row of the table and organ."""


@dataclass(frozen=True)
class Wanted:
    """One case: patient, clinic, day."""

    clinic: str
    seed: int
    day: int

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.clinic}{self.seed}-{self.day}"

    def drawn(self, in_plane: int) -> PhantomCase:
        """Both scans and the truth."""
        clinic = {"A": CLINIC_A, "B": CLINIC_B}[self.clinic]
        return make_case(self.seed, clinic=clinic, fraction=self.day, in_plane=in_plane)


def main() -> None:
    options = _parser().parse_args()
    wanted = [
        Wanted(clinic, first + patient, day)
        for clinic, first, patients, days in (
            ("A", options.seed, options.clinic_a, options.days_a),
            ("B", options.seed + 1000, options.clinic_b, options.days_b),
        )
        for patient in range(patients)
        for day in range(1, days + 1)
    ]
    store = _store(options)
    store.claim()
    if options.kept:
        store.take_over(json.loads(options.kept.read_text()), [one.name for one in wanted])
    # Neighbouring cases differ in work, so each process takes every n-th.
    shares = [wanted[first :: options.workers] for first in range(options.workers)]
    with ProcessPoolExecutor(options.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for task in as_completed([pool.submit(complete, options, share) for share in shares]):
            task.result()
    content = {
        "model": store.identity,
        "in_plane": options.in_plane,
        "cases": {one.name: store.read(one.name, _names(options)) for one in wanted},
    }
    print(write_report(options.out / "final", content, as_markdown))


def complete(options: argparse.Namespace, wanted: Sequence[Wanted]) -> None:
    """Measure what is missing of some cases."""
    store, measures = _store(options), _measures(options)
    for one in wanted:
        missing = {name: measure for name, measure in measures.items() if not store.has(one.name, name)}
        if not missing:
            continue
        case = one.drawn(options.in_plane)
        for name, measure in missing.items():
            store.write(one.name, name, measure(case))
        tell(one.name)


def _store(options: argparse.Namespace) -> Store:
    return Store(options.out, options.model, options.in_plane)


def _names(options: argparse.Namespace) -> list[str]:
    return [SERVICE, ELASTIX, HYBRID, *(word.partition("=")[0] for word in options.networks)]


def _measures(options: argparse.Namespace) -> dict[str, Callable[[PhantomCase], dict[str, Any]]]:
    """What each system is measured by; loading takes long, so a process does it once."""
    bladder = bladder_of(options.model, device="cpu", threads=1)
    model = load_model(options.model)
    peers: list[System] = [
        next(system for system in elastix_systems() if system.name == ELASTIX),
        next(system for system in hybrid_systems(bladder) if system.name == HYBRID),
    ]
    networks = [network_system(name, Path(run)) for name, _, run in (word.partition("=") for word in options.networks)]
    return {
        SERVICE: partial(_of_service, model),
        **{system.name: partial(_of_peer, system) for system in peers},
        **{system.name: partial(_of_network, system) for system in networks},
    }


def _of_service(model: RecontouringModel, case: PhantomCase) -> dict[str, Any]:
    answer = recontoured(case, model)
    numbers = {roi.name: roi.number for roi in case.planning_structures.rois}
    return {
        "mm": distances(case, steps_of(case, answer)),
        "told": {organ: told_of(answer.findings, numbers[organ]) for organ in LABELS},
    }


def _of_peer(system: System, case: PhantomCase) -> dict[str, Any]:
    """A registration, its contours carried as a label map, and by the service's own pull of the planned contours."""
    held_out = _held_out(case)
    found = system.contour(held_out)
    deformation = Deformation(held_out.affine, (found.dvf,) if found.dvf else ())
    masks = rasterize(case.planning_structures, case.planning.geometry, within=True)
    points = {patch.roi_number: patch for patch in propagate(masks, deformation, case.daily.geometry)}
    return {
        "mm": distances(
            case,
            {
                f"{system.name}, label map": _by_roi(case, found.paths["registration"]),
                f"{system.name}, our pull": points,
            },
        )
    }


def _of_network(system: System, case: PhantomCase) -> dict[str, Any]:
    paths = system.contour(_held_out(case)).paths
    rows = {f"{system.name}, {NAMES[path]}": _by_roi(case, paths[path]) for path in NAMES if path in paths}
    return {"mm": distances(case, rows)}


def _held_out(case: PhantomCase) -> HeldOutCase:
    return HeldOutCase(
        name="case",
        patient="patient",
        planning=LabelledScan(case.planning, case.planning_labels),
        daily=LabelledScan(case.daily, case.daily_labels),
        affine=align(fixed=case.daily, moving=case.planning),
    )


def _by_roi(case: PhantomCase, patches: Sequence[RoiPatch]) -> dict[int, RoiPatch]:
    """Patches whose numbers are labels, by the plan's numbers of the same organs."""
    name_of = {label: name for name, label in LABELS.items()}
    numbers = {roi.name: roi.number for roi in case.planning_structures.rois}
    return {numbers[name_of[patch.roi_number]]: patch for patch in patches}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="models/NAME/VERSION")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--seed", type=int, required=True, help="of the first patient, whom nobody used yet; of clinic B 1000 more"
    )
    parser.add_argument("--clinic-a", type=int, default=6, help="patients")
    parser.add_argument("--days-a", type=int, default=1, help="of each patient")
    parser.add_argument("--clinic-b", type=int, default=14, help="patients")
    parser.add_argument("--days-b", type=int, default=3, help="of each patient")
    parser.add_argument("--in-plane", type=int, default=320, help="rows and columns")
    parser.add_argument("--networks", nargs="*", default=[], metavar="NAME=RUN", help="trained for comparison")
    parser.add_argument("--kept", type=Path, help="final.json of an earlier run: what stands in it is not done again")
    parser.add_argument("--workers", type=int, default=2)
    return parser


if __name__ == "__main__":
    main()
