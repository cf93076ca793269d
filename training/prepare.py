"""From a folder of DICOM to a dataset on disk: sort by reference, align, resample, split, and say what was left out.

The same cohort, settings and key give the same bytes with any number of workers. A second run does what is missing; a
run with other settings into the same folder is refused. OUT holds pseudonyms only; the key that they are made with,
OUT.key, and OUT.key.csv, which maps them to the files of the hospital, lie beside it and stay there.

A folder with the cohort.json of `training.cohort` is a virtual cohort: its key is the seed, so that everybody gets the
same bytes, and dataset.json says `virtual`. Whoever else is found in such a folder is listed and left out.
"""

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from training.aliases import Aliases
from training.begun import key_of, same_settings
from training.cohort import DESCRIPTION, read_cohort
from training.dataset import FORMAT, SPLITS, Facts, Split, hash_of, write_dataset
from training.discover import Discovery, cohort_files, sort_cohort
from training.headers import Header, read_header
from training.keys import fingerprint, public_key
from training.names import patient_of
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
        seed: Of split and sampling centres; of a virtual cohort's pseudonyms too.
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


def prepare(
    cohort: Path,
    out: Path,
    *,
    settings: Settings,
    aliases: Aliases,
    planning: frozenset[str] = frozenset(),
    key: Path | None = None,
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
        key: File with the key of the pseudonyms; without it that beside `out` is used, and made on the first run.
        workers: Processes, each with one patient in memory.
        progress: Whether to show bars.

    Raises:
        Unusable: If the folder was made with other settings or another key, or holds no usable pair.
        ValueError: If the settings make no sense.
    """
    check(cohort, out, settings, workers)
    if not cohort.is_dir():
        raise Unusable("the cohort folder is not there", "give the folder that holds the DICOM files")
    described = read_cohort(cohort)
    phantoms = described.patient_ids() if described else None
    secret = key_of(out, key, seed=settings.seed, virtual=phantoms is not None)
    same_settings(out, _wanted(settings, aliases, planning, secret))
    with processes(workers) as pool:
        found = _discover(pool, cohort, aliases, planning, phantoms, progress=progress)
        names = pseudonyms((one for one in _patient_ids(found)), secret)
        split = split_patients(
            (patient.patient_id for patient in found.patients),
            validation=settings.validation,
            test=settings.test,
            seed=settings.seed,
        )
        tasks = _tasks(found, names, split, out=out, settings=settings, aliases=aliases, key=secret)
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
        virtual=phantoms is not None,
        sha256=hash_of(made),
        split={
            name: tuple(sorted(names[one] for one, where in split.items() if where == name and names[one] in present))
            for name in SPLITS
        },
        pairs=dict(sorted(made.items())),
    )
    write_dataset(facts, out)
    return Prepared(facts, rejections)


def check(cohort: Path, out: Path, settings: Settings, workers: int) -> None:
    """Refuse what can be refused before anything is read.

    Raises:
        Unusable: If the dataset would lie inside the cohort.
        ValueError: If the settings make no sense.
    """
    if not 0 < settings.spacing_mm < math.inf or settings.margin_voxels < 0 or workers < 1:
        raise ValueError("spacing and workers must be positive, the margin not negative")
    split_patients((), validation=settings.validation, test=settings.test, seed=settings.seed)
    if out.resolve().is_relative_to(cohort.resolve()):
        raise Unusable("the dataset would lie inside the cohort", "give a folder outside")


def _wanted(settings: Settings, aliases: Aliases, planning: frozenset[str], key: bytes) -> dict[str, object]:
    """What settings.json holds; no word of a key that is public anyway, which the seed stands for."""
    spellings = json.dumps([sorted(aliases.label_of.items()), sorted(planning)])
    wanted = {"format": FORMAT, **vars(settings), "names": hashlib.sha256(spellings.encode()).hexdigest()}
    return wanted if key == public_key(settings.seed) else {**wanted, "key": fingerprint(key)}


def _discover(
    pool: ProcessPoolExecutor,
    cohort: Path,
    aliases: Aliases,
    planning: frozenset[str],
    phantoms: frozenset[str] | None,
    *,
    progress: bool,
) -> Discovery:
    files, rejections = cohort_files(cohort)
    if phantoms is not None:
        files = [file for file in files if Path(file) != cohort / DESCRIPTION]
    read = pool.map(read_header, files, chunksize=HEADERS_PER_CHUNK)
    headers: list[Header] = list(tqdm(read, total=len(files), desc="headers", unit="file", disable=not progress))
    if phantoms is not None:
        strangers = [header for header in headers if header.patient and header.patient not in phantoms]
        headers = [header for header in headers if not header.patient or header.patient in phantoms]
        rejections += _strangers(strangers)
    found = sort_cohort(headers, aliases, planning)
    return Discovery(found.patients, (*rejections, *found.rejections))


def _strangers(headers: Sequence[Header]) -> list[Rejection]:
    """Files of whoever is no phantom of a virtual cohort: its public key would give them away, so they get no name."""
    files: dict[str, list[str]] = defaultdict(list)
    for header in headers:
        files[header.patient].append(header.file)
    reason, advice = "a patient is none of this virtual cohort", f"prepare those files elsewhere, without {DESCRIPTION}"
    return [Rejection("", f"{len(own)} files", reason, advice, tuple(own)) for own in files.values()]


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
    key: bytes,
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
            key=key,
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
    except (OSError, ValueError):
        return None
    complete = not task.held_out or (task.out / "cases" / name / "case.json").exists()
    return facts.get("sha256") if complete and facts.get("source") == task.source(day) else None


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
