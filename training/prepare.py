"""From a folder of DICOM to a dataset on disk: sort by reference, align, resample, split, and say what was left out.

`python -m training prepare COHORT_DIR OUT`. The same cohort and settings give the same bytes with any number of
workers. A second run does what is missing; a run with other settings into the same folder is refused. OUT holds
pseudonyms only; OUT.key.csv beside it maps them to the files of the hospital and stays there.
"""

import argparse
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from training.aliases import Aliases, read_aliases
from training.dataset import FORMAT, SPLITS, Facts, Split, hash_of, patient_of, write_dataset
from training.discover import Discovery, cohort_files, sort_cohort
from training.headers import Header, read_header
from training.patient import PatientTask, prepare_patient
from training.processes import processes
from training.rejected import folders, write_key, write_rejected
from training.splitting import pseudonyms, split_patients
from training.unusable import Rejection, Unusable

HEADERS_PER_CHUNK = 64


@dataclass(frozen=True)
class Settings:
    """What decides the bytes of a dataset.

    Attributes:
        spacing_mm: Of the model grid, isotropic.
        margin_voxels: Of the model grid, kept round the organs of both days.
        validation: Part of the patients.
        test: Part of the patients.
        seed: Of pseudonyms, split and sampling centres.
    """

    spacing_mm: float = 1.0
    margin_voxels: int = 48
    validation: float = 0.33
    test: float = 0.0
    seed: int = 42


@dataclass(frozen=True)
class Prepared:
    """What became of a cohort: dataset.json, and the lines of rejected.csv."""

    facts: Facts
    rejections: tuple[Rejection, ...]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `prepare`."""
    default = Settings()
    parser.add_argument("cohort", type=Path, metavar="COHORT_DIR", help="folder of DICOM files, sorted in any way")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of the dataset")
    parser.add_argument("--spacing", type=float, default=default.spacing_mm, help="of the model grid in mm")
    parser.add_argument("--validation", type=float, default=default.validation, help="part of the patients")
    parser.add_argument("--test", type=float, default=default.test, help="part of the patients")
    parser.add_argument("--seed", type=int, default=default.seed, help="of pseudonyms and split; keep it secret")
    parser.add_argument("--aliases", type=Path, help='TOML file of lines such as Rectum = ["Endeldarm"]')
    parser.add_argument("--planning", type=Path, help="file of Series Instance UIDs of planning CTs, one a line")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--margin", type=int, default=default.margin_voxels, help="voxels kept round the organs")


def run(arguments: argparse.Namespace) -> None:
    """Prepare a dataset and say in a few lines what is in it."""
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
            workers=arguments.workers,
        )
    except (Unusable, ValueError) as error:
        raise SystemExit(str(error)) from None
    for line in summary(prepared):
        print(line)


def prepare(
    cohort: Path,
    out: Path,
    *,
    settings: Settings,
    aliases: Aliases,
    planning: frozenset[str] = frozenset(),
    workers: int = 1,
    progress: bool = True,
) -> Prepared:
    """Make a dataset of every usable pair in a folder of DICOM files.

    Args:
        cohort: Folder of any depth, with any other files in it.
        out: Folder of the dataset, made if it is not there.
        settings: What decides the bytes.
        aliases: Names of the organs.
        planning: Series Instance UIDs of planning CTs, where the rule of `training.discover` would choose others.
        workers: Processes, each with one patient in memory.
        progress: Whether to show bars.

    Raises:
        Unusable: If the folder was made with other settings, or holds no usable pair.
        ValueError: If the settings make no sense.
    """
    _check(cohort, out, settings, workers)
    _same_settings(out, settings, aliases, planning)
    with processes(workers) as pool:
        found = _discover(pool, cohort, aliases, planning, progress=progress)
        names = pseudonyms((one for one in _patient_ids(found)), settings.seed)
        split = split_patients(
            (patient.patient_id for patient in found.patients),
            validation=settings.validation,
            test=settings.test,
            seed=settings.seed,
        )
        tasks = _tasks(found, names, split, out=out, settings=settings, aliases=aliases)
        rejections = (*found.rejections, *_prepare_patients(pool, tasks, progress=progress))
    made = {
        task.name(day): digest
        for task in tasks
        for day, _ in task.files.dailies
        if (digest := _stored(task, day)) is not None
    }
    write_rejected(out, rejections, names)
    write_key(out, rejections, names, _places(tasks, made))
    if not made:
        raise Unusable("the cohort has no usable pair", f"see {out.name}/rejected.csv for the reasons")
    present = {patient_of(name) for name in made}
    facts = Facts(
        spacing_mm=settings.spacing_mm,
        organs=aliases.organs,
        seed=settings.seed,
        sha256=hash_of(made),
        split={
            name: tuple(sorted(names[one] for one, where in split.items() if where == name and names[one] in present))
            for name in SPLITS
        },
        pairs=dict(sorted(made.items())),
    )
    write_dataset(facts, out)
    return Prepared(facts, rejections)


def summary(prepared: Prepared) -> Iterator[str]:
    """Counts of patients and pairs per split, and of what was left out."""
    for split in SPLITS:
        patients = set(prepared.facts.split[split])
        pairs = sum(patient_of(name) in patients for name in prepared.facts.pairs)
        yield f"{split}: {len(patients)} patients, {pairs} pairs"
    yield f"rejected.csv: {len(prepared.rejections)} lines; cohort {prepared.facts.sha256[:12]}"


def _check(cohort: Path, out: Path, settings: Settings, workers: int) -> None:
    if settings.spacing_mm <= 0 or settings.margin_voxels < 0 or workers < 1:
        raise ValueError("spacing and workers must be positive, the margin not negative")
    split_patients((), validation=settings.validation, test=settings.test, seed=settings.seed)
    if out.resolve().is_relative_to(cohort.resolve()):
        raise Unusable("the dataset would lie inside the cohort", "give a folder outside")


def _same_settings(out: Path, settings: Settings, aliases: Aliases, planning: frozenset[str]) -> None:
    """Note the settings in a new folder; refuse a folder of other ones."""
    spellings = json.dumps([sorted(aliases.label_of.items()), sorted(planning)])
    wanted = {"format": FORMAT, **vars(settings), "names": hashlib.sha256(spellings.encode()).hexdigest()}
    file = out / "settings.json"
    if not file.exists():
        if out.exists() and any(out.iterdir()):
            raise Unusable("the folder for the dataset holds something else", "give an empty or a new folder")
        out.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(wanted, indent=1) + "\n")
        return
    known = json.loads(file.read_text())
    different = sorted(key for key in wanted if known.get(key) != wanted[key])
    if different:
        what = ", ".join(f"{key} {known.get(key)} instead of {wanted[key]}" for key in different if key != "names")
        raise Unusable(
            f"the dataset was begun with {what or 'other aliases or planning CTs'}",
            "give the same settings, or another folder",
        )


def _discover(
    pool: ProcessPoolExecutor, cohort: Path, aliases: Aliases, planning: frozenset[str], *, progress: bool
) -> Discovery:
    files, rejections = cohort_files(cohort)
    read = pool.map(read_header, files, chunksize=HEADERS_PER_CHUNK)
    headers: list[Header] = list(tqdm(read, total=len(files), desc="headers", unit="file", disable=not progress))
    found = sort_cohort(headers, aliases, planning)
    return Discovery(found.patients, (*rejections, *found.rejections))


def _patient_ids(found: Discovery) -> set[str]:
    named = {rejection.patient_id for rejection in found.rejections} - {""}
    return named | {patient.patient_id for patient in found.patients}


def _tasks(
    found: Discovery,
    names: dict[str, str],
    split: dict[str, Split],
    *,
    out: Path,
    settings: Settings,
    aliases: Aliases,
) -> list[PatientTask]:
    tasks = []
    for patient in found.patients:
        task = PatientTask(
            files=patient,
            pseudonym=names[patient.patient_id],
            aliases=aliases,
            out=out,
            spacing_mm=settings.spacing_mm,
            margin_voxels=settings.margin_voxels,
            seed=settings.seed,
            held_out=split[patient.patient_id] != "training",
        )
        done = frozenset(day for day, _ in patient.dailies if _stored(task, day) is not None)
        tasks.append(PatientTask(**{**vars(task), "done": done}))
    return tasks


def _stored(task: PatientTask, day: int) -> str | None:
    """SHA-256 of a stored pair that was made of the very files that are there now, with its case where one belongs."""
    name = task.name(day)
    try:
        facts = json.loads((task.out / "pairs" / name / "pair.json").read_text())
    except FileNotFoundError:
        return None
    complete = not task.held_out or (task.out / "cases" / name / "case.json").exists()
    return facts["sha256"] if complete and facts.get("source") == task.source(day) else None


def _prepare_patients(
    pool: ProcessPoolExecutor, tasks: Sequence[PatientTask], *, progress: bool
) -> tuple[Rejection, ...]:
    """Every patient, one process each; the order of the answer is that of the tasks."""
    running = {pool.submit(prepare_patient, task): number for number, task in enumerate(tasks)}
    rejections: dict[int, tuple[Rejection, ...]] = {}
    total = sum(len(task.files.dailies) for task in tasks)
    with tqdm(total=total, desc="pairs", unit="pair", smoothing=0, disable=not progress) as bar:
        try:
            for finished in as_completed(running):
                number = running[finished]
                rejections[number] = finished.result()
                bar.update(len(tasks[number].files.dailies))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return tuple(rejection for number in sorted(rejections) for rejection in rejections[number])


def _places(tasks: Sequence[PatientTask], made: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Name and source folder of every scan that is in the dataset."""
    for task in tasks:
        for folder in folders(task.files.planning.images):
            yield f"{task.pseudonym} planning", folder
        for day, files in task.files.dailies:
            if task.name(day) in made:
                for folder in folders((*files.images, files.structures)):
                    yield task.name(day), folder


def _listed(file: Path | None) -> frozenset[str]:
    """The UIDs in a file, one a line."""
    if file is None:
        return frozenset()
    try:
        return frozenset(line.strip() for line in file.read_text().splitlines() if line.strip())
    except (OSError, ValueError):
        raise Unusable("the file of planning CTs cannot be read", "give a text file of Series Instance UIDs") from None
