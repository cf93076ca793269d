"""Virtual clinics on disk: a cohort of phantom patients as DICOM, as a hospital's archive would hold it.

The two clinics stand in the place of the two data sets of the MIDL 2020 paper (Beljaards et al., PMLR 121): A has 18
patients with 8 to 11 CTs each, B has 14 patients with a planning CT and 3 more. Every scan has its own study, frame of
reference and date, and an RTSTRUCT with the true contours. Below the cohort's folder:

    cohort.json              what was asked for; an interrupted cohort is only continued with the same
    PATIENT/planning/        CT_0001.dcm ..., RS.dcm
    PATIENT/daily-1/         the same, from 1 on
"""

import itertools
import multiprocessing
import os
import shutil
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from phantom.case import CLINIC_A, CLINIC_B, VirtualPatient
from phantom.dicom import identity_of, write_ct_series, write_structure_set

ClinicName = Literal["A", "B"]

MOST_PATIENTS = 1000
DESCRIPTION = "cohort.json"
_UNFINISHED = ".unfinished"


class CohortError(ValueError):
    """The folder holds another cohort, or something that is none."""


class CohortPatient(BaseModel):
    """One patient of the cohort.

    Attributes:
        seed: Of the phantom; no two patients of any two cohorts share one.
        scans: Number of CTs, the planning CT among them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int
    scans: int = Field(ge=2)


class Cohort(BaseModel):
    """What a cohort consists of; `cohort.json`.

    Attributes:
        clinic: How the patients are scanned and how much they change from day to day.
        seed: What everything is drawn from.
        in_plane: Rows and columns of the CTs.
        slices: Number of slices; None for as many as cover the pelvis.
        patients: The patients, in the order in which they are written.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    clinic: ClinicName
    seed: int = Field(ge=0)
    in_plane: int = Field(ge=32, le=1024)
    slices: int | None = Field(ge=4)
    patients: tuple[CohortPatient, ...] = Field(min_length=1, max_length=MOST_PATIENTS)

    def scans(self) -> tuple[tuple[int, int], ...]:
        """Every scan as phantom seed and fraction, 0 for the planning CT."""
        return tuple((patient.seed, fraction) for patient in self.patients for fraction in range(patient.scans))

    def patient_ids(self) -> frozenset[str]:
        """Patient IDs of all patients; they begin with PHANTOM."""
        return frozenset(identity_of(patient.seed, self.clinic, 0).patient for patient in self.patients)


def draw_cohort(
    clinic: ClinicName,
    *,
    patients: int | None = None,
    seed: int = 1,
    scans: int | None = None,
    in_plane: int = 512,
    slices: int | None = None,
) -> Cohort:
    """The patients of a virtual clinic.

    Args:
        clinic: 'A' or 'B'.
        patients: How many; by default the paper's 18 or 14.
        seed: Which cohort of that clinic.
        scans: CTs of each patient, planning included; by default 8 to 11 at random at A, and 4 at B.
        in_plane: Rows and columns.
        slices: Slices of every CT; by default as many as cover 200 mm.

    Raises:
        pydantic.ValidationError: If a number is out of its range.
    """
    count = patients if patients is not None else {"A": 18, "B": 14}[clinic]
    members = []
    for index in range(count):
        # counting in steps that neither clinic nor cohort share keeps every anatomy to one patient
        own = 1_000_000 + 2 * (seed * MOST_PATIENTS + index) + (clinic == "B")
        # a seed below 0 is refused together with everything else
        usual = int(np.random.default_rng([max(own, 0), 5]).integers(8, 12)) if clinic == "A" else 4
        members.append(CohortPatient(seed=own, scans=usual if scans is None else scans))
    return Cohort(clinic=clinic, seed=seed, in_plane=in_plane, slices=slices, patients=tuple(members))


def read_cohort(folder: Path) -> Cohort | None:
    """What `cohort.json` of a folder says; None where there is no such file, or it describes no virtual cohort."""
    try:
        return Cohort.model_validate_json((folder / DESCRIPTION).read_bytes())
    except (OSError, ValidationError):
        return None


def missing_scans(cohort: Cohort, out: Path) -> tuple[tuple[int, int], ...]:
    """The scans of the cohort that `out` does not hold yet."""
    return tuple(scan for scan in cohort.scans() if not (out / _name(cohort.clinic, *scan)).is_dir())


def complete_cohort(cohort: Cohort, out: Path, *, workers: int) -> Iterator[str]:
    """Write a virtual clinic as DICOM; the same cohort gives the same bytes.

    Scans that are there already are kept, so an interrupted cohort is completed by the same call. A scan appears
    complete or not at all.

    Args:
        cohort: As `draw_cohort` makes it.
        out: Folder of the cohort.
        workers: Number of processes that write scans.

    Yields:
        The name PATIENT/SCAN of each scan, once it is written.

    Raises:
        CohortError: If the folder holds another cohort, or anything else.
    """
    _claim(cohort, out)
    missing = missing_scans(cohort, out)
    if workers <= 1:
        for seed, fractions in _by_patient(missing):
            yield from _write_scans(cohort, out, seed, fractions)
    else:
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_leave_interrupts_to_the_parent)
        try:
            tasks = [pool.submit(_write_patient, cohort, out, *patient) for patient in _by_patient(missing)]
            for task in as_completed(tasks):
                yield from task.result()
        finally:
            # after an interrupt the scans under way are finished, and no others are begun
            _stop_sign(out).parent.mkdir(exist_ok=True)
            _stop_sign(out).touch()
            pool.shutdown(wait=True, cancel_futures=True)
    shutil.rmtree(out / _UNFINISHED, ignore_errors=True)


def _stop_sign(out: Path) -> Path:
    """A file that tells the other processes to begin no further scan."""
    return out / _UNFINISHED / "stop"


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _claim(cohort: Cohort, out: Path) -> None:
    """Make the folder this cohort's, or find that it is."""
    description, draft = out / DESCRIPTION, out / f"{DESCRIPTION}.part"
    if description.is_file():
        try:
            there = Cohort.model_validate_json(description.read_bytes())
        except ValidationError as error:
            raise CohortError(f"{description} does not describe a cohort") from error
        if there != cohort:
            raise CohortError(f"{out} holds another cohort ({_difference(there, cohort)}); choose another folder")
    elif out.is_dir() and any(file != draft for file in out.iterdir()):
        raise CohortError(f"{out} holds other files and no cohort.json; choose an empty folder")
    else:
        out.mkdir(parents=True, exist_ok=True)
        draft.write_text(cohort.model_dump_json(indent=1) + "\n")
        draft.replace(description)
    # what an interrupted writer left
    shutil.rmtree(out / _UNFINISHED, ignore_errors=True)


def _difference(there: Cohort, wanted: Cohort) -> str:
    """In which settings two cohorts differ, for a person."""
    found = []
    for name in ("clinic", "seed", "in_plane", "slices"):
        if getattr(there, name) != getattr(wanted, name):
            found.append(f"{name} {getattr(there, name)}, not {getattr(wanted, name)}")
    if len(there.patients) != len(wanted.patients):
        found.append(f"{len(there.patients)} patients, not {len(wanted.patients)}")
    return "; ".join(found) or "other numbers of scans"


def _name(clinic: ClinicName, seed: int, fraction: int) -> str:
    identity = identity_of(seed, clinic, fraction)
    return f"{identity.patient}/{identity.scan}"


def _by_patient(scans: tuple[tuple[int, int], ...]) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Seed and fractions of each patient; his anatomy takes as long to draw as half a scan, so it is drawn once."""
    for seed, group in itertools.groupby(scans, key=lambda scan: scan[0]):
        yield seed, tuple(fraction for _, fraction in group)


def _write_patient(cohort: Cohort, out: Path, seed: int, fractions: tuple[int, ...]) -> tuple[str, ...]:
    if _stop_sign(out).exists():
        return ()
    return tuple(_write_scans(cohort, out, seed, fractions))


def _write_scans(cohort: Cohort, out: Path, seed: int, fractions: tuple[int, ...]) -> Iterator[str]:
    clinic = {"A": CLINIC_A, "B": CLINIC_B}[cohort.clinic]
    patient = VirtualPatient(seed, clinic)
    for fraction in fractions:
        if _stop_sign(out).exists():
            return
        yield _write_scan(cohort, out, patient, fraction)


def _write_scan(cohort: Cohort, out: Path, patient: VirtualPatient, fraction: int) -> str:
    """Draw one scan and write it; its folder gets its name when everything is in it."""
    if fraction == 0:
        scan = patient.planning(slices=cohort.slices, in_plane=cohort.in_plane)
    else:
        scan = patient.daily(fraction, slices=cohort.slices, in_plane=cohort.in_plane)
    identity = identity_of(patient.seed, cohort.clinic, fraction)
    name = _name(cohort.clinic, patient.seed, fraction)
    part = out / _UNFINISHED / name.replace("/", "-")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for number, content in enumerate(write_ct_series(scan.volume, identity=identity), start=1):
        (part / f"CT_{number:04d}.dcm").write_bytes(content)
    truth = write_structure_set(scan.structures, identity=identity, geometry=scan.volume.geometry)
    (part / "RS.dcm").write_bytes(truth)
    (out / name).parent.mkdir(exist_ok=True)
    os.replace(part, out / name)
    return name
