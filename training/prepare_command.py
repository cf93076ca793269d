"""Prepare a dataset from the command line, and say in a few lines what is in it."""

import argparse
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from training.aliases import read_aliases
from training.dataset import SPLITS
from training.names import patient_of
from training.prepare import Prepared, Settings, prepare
from training.unusable import Unusable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `prepare`."""
    default = Settings()
    parser.add_argument("cohort", type=Path, metavar="COHORT_DIR", help="folder of DICOM files, sorted in any way")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of the dataset")
    parser.add_argument("--spacing", type=float, default=default.spacing_mm, help="of the model grid in mm")
    parser.add_argument("--validation", type=float, default=default.validation, help="part of the patients")
    parser.add_argument("--test", type=float, default=default.test, help="part of the patients")
    parser.add_argument("--seed", type=int, default=default.seed, help="of the split")
    parser.add_argument(
        "--key",
        type=Path,
        help="file with the key of the pseudonyms; datasets of one hospital should share it, so that a patient in two "
        "of them is noticed; default: OUT.key, made on the first run; it stays in the hospital",
    )
    parser.add_argument("--aliases", type=Path, help='TOML file of lines such as Rectum = ["Endeldarm"]')
    parser.add_argument("--planning", type=Path, help="file of Series Instance UIDs of planning CTs, one a line")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--margin", type=int, default=default.margin_voxels, help="voxels kept round the organs")


def run(arguments: argparse.Namespace) -> None:
    """Prepare a dataset and print its summary.

    Raises:
        SystemExit: With what to do, in one line.
    """
    settings = Settings(
        spacing_mm=arguments.spacing,
        margin_voxels=arguments.margin,
        validation=arguments.validation,
        test=arguments.test,
        seed=arguments.seed,
    )
    try:
        prepared = prepare(
            arguments.cohort,
            arguments.out,
            settings=settings,
            aliases=read_aliases(arguments.aliases),
            planning=_listed(arguments.planning),
            key=arguments.key,
            workers=arguments.workers,
        )
    except (Unusable, OSError, ValueError, BrokenProcessPool) as error:
        raise SystemExit(one_line(error)) from None
    for line in summary(prepared):
        print(line)


def summary(prepared: Prepared) -> Iterator[str]:
    """Counts of patients and pairs per split, and of what was left out."""
    for split in SPLITS:
        patients = set(prepared.facts.split[split])
        pairs = sum(patient_of(name) in patients for name in prepared.facts.pairs)
        yield f"{split}: {len(patients)} patients, {pairs} pairs"
    yield f"rejected.csv: {len(prepared.rejections)} lines; cohort {prepared.facts.sha256[:12]}"


def one_line(error: Exception) -> str:
    """An error as one line that tells no path: a folder may bear the name of a patient."""
    if isinstance(error, BrokenProcessPool):
        return "a process was ended from outside, perhaps for want of memory; run again with fewer --workers"
    if isinstance(error, OSError):
        return f"a file or folder cannot be used ({error.strerror}); check space and permissions, and run again"
    return " ".join(str(error).split())


def _listed(file: Path | None) -> frozenset[str]:
    """The UIDs in a file, one a line."""
    if file is None:
        return frozenset()
    try:
        return frozenset(line.strip() for line in file.read_text().splitlines() if line.strip())
    except (OSError, ValueError):
        raise Unusable("the file of planning CTs cannot be read", "give a text file of Series Instance UIDs") from None
