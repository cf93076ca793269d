"""Write a virtual clinic as DICOM, and its dataset where one is asked for; an interrupted one is completed."""

import argparse
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from pydantic import ValidationError
from tqdm import tqdm

from training.aliases import read_aliases
from training.cohort import MOST_PATIENTS, ClinicName, Cohort, complete_cohort, draw_cohort, missing_scans
from training.prepare import Settings, check, prepare
from training.prepare_command import one_line, summary
from training.unusable import Unusable

PARTS: dict[ClinicName, tuple[float, float]] = {"A": (1 / 3, 0.0), "B": (0.0, 1.0)}
"""Of the patients for validation and test: in the papers A trains and validates, and B is the test alone."""

RANGES = {
    "patients": f"--patients from 1 to {MOST_PATIENTS}",
    "seed": "--seed from 0 on",
    "scans": "--scans from 2 on",
    "in_plane": "--in-plane from 32 to 1024",
    "slices": "--slices from 4 on",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `cohort`."""
    default = Settings()
    parser.add_argument("clinic", choices=("A", "B"))
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of the cohort; an interrupted one is completed")
    parser.add_argument("--patients", type=int, help="default: 18 at A, 14 at B")
    parser.add_argument("--seed", type=int, default=1, help="of the patients, and of the dataset (default: 1)")
    parser.add_argument("--scans", type=int, help="CTs of each patient; default: 8 to 11 at A, 4 at B")
    parser.add_argument("--in-plane", type=int, default=512, help="rows and columns (default: 512)")
    parser.add_argument("--slices", type=int, help="of each CT; default: as many as cover 200 mm")
    parser.add_argument("--workers", type=int, default=1, help="processes (default: 1)")
    parser.add_argument("--prepared", type=Path, metavar="DATA", help="make the dataset in this folder too")
    dataset = parser.add_argument_group("with --prepared")
    dataset.add_argument("--spacing", type=float, default=default.spacing_mm, help="of the model grid in mm")
    dataset.add_argument("--margin", type=int, default=default.margin_voxels, help="voxels kept round the organs")
    dataset.add_argument("--validation", type=float, help="part of the patients; default: 1/3 at A, 0 at B")
    dataset.add_argument("--test", type=float, help="part of the patients; default: 0 at A, 1 at B")


def run(arguments: argparse.Namespace) -> None:
    """Write the cohort that the command line names, then its dataset, with progress bars.

    Raises:
        SystemExit: With what to do, if an argument or a folder does not fit.
    """
    try:
        cohort = draw_cohort(
            arguments.clinic,
            patients=arguments.patients,
            seed=arguments.seed,
            scans=arguments.scans,
            in_plane=arguments.in_plane,
            slices=arguments.slices,
        )
        if arguments.prepared is not None:
            check(arguments.out, arguments.prepared, _settings(arguments), arguments.workers)
        write(cohort, arguments.out, workers=arguments.workers)
        if arguments.prepared is not None:
            _prepare(arguments)
    except ValidationError as error:
        raise SystemExit(_advice(error)) from None
    except (Unusable, OSError, ValueError, BrokenProcessPool) as error:
        raise SystemExit(one_line(error)) from None


def write(cohort: Cohort, out: Path, *, workers: int) -> None:
    """As `complete_cohort`, with a progress bar."""
    total, left = len(cohort.scans()), len(missing_scans(cohort, out))
    with tqdm(total=total, initial=total - left, desc=f"clinic {cohort.clinic}", unit="scan") as bar:
        for _ in complete_cohort(cohort, out, workers=workers):
            bar.update()


def _prepare(arguments: argparse.Namespace) -> None:
    settings, workers = _settings(arguments), arguments.workers
    prepared = prepare(arguments.out, arguments.prepared, settings=settings, aliases=read_aliases(), workers=workers)
    for line in summary(prepared):
        print(line)


def _settings(arguments: argparse.Namespace) -> Settings:
    """One seed for both; parts that were not given are those of the clinic unless they no longer fit."""
    validation, test = arguments.validation, arguments.test
    usual_validation, usual_test = PARTS[arguments.clinic]
    return Settings(
        spacing_mm=arguments.spacing,
        margin_voxels=arguments.margin,
        validation=validation if validation is not None else min(usual_validation, 1 - (test or 0.0)),
        test=test if test is not None else min(usual_test, 1 - (validation or 0.0)),
        seed=arguments.seed,
    )


def _advice(error: ValidationError) -> str:
    fields = dict.fromkeys(str(part) for one in error.errors() for part in one["loc"])
    if "scans" in fields:
        fields.pop("patients", None)  # where the scans of a patient are
    return f"the cohort cannot be made like this: give {' and '.join(RANGES[one] for one in fields if one in RANGES)}"
