"""Which scans of a cohort folder belong together: by what the DICOM objects say, never by names of folders.

Patients are told apart by Patient ID. An RTSTRUCT belongs to the CT series that it references. The planning CT is

1. the one that the user named by its Series Instance UID, else
2. the one whose RTSTRUCT an RTPLAN references, else
3. the earliest CT with an RTSTRUCT, by the date and time of acquisition (of series or study where that is missing).

Where several fit, the earliest is taken and the choice is reported. Every other CT of the patient with an RTSTRUCT is a
daily CT. Of several RTSTRUCTs on one CT, those that name all organs come first, and of these the newest is taken. What
is not used is reported with its reason.
"""

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from training.aliases import Aliases
from training.headers import NEVER, Header
from training.unusable import Rejection, Unusable


@dataclass(frozen=True)
class ScanFiles:
    """One CT series and the RTSTRUCT that was drawn on it.

    Attributes:
        name: What the scan is called in reports, for example 'CT 3'; counted per patient from 0 by date and time.
        images: Files of the images, each once.
        structures: File of the RTSTRUCT.
        digests: SHA-256 of all these files.
    """

    name: str
    images: tuple[str, ...] = field(repr=False)
    structures: str = field(repr=False)
    digests: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True)
class PatientFiles:
    """The scans of one patient that look usable; pixels and contours were not looked at yet.

    Attributes:
        patient_id: Patient ID.
        planning: The planning CT.
        dailies: Number and scan of each day; the number is that of the scan's name.
    """

    patient_id: str = field(repr=False)
    planning: ScanFiles
    dailies: tuple[tuple[int, ScanFiles], ...]


@dataclass(frozen=True)
class Discovery:
    """What a cohort folder holds: every CT series and RTSTRUCT is in one of the two."""

    patients: tuple[PatientFiles, ...]
    rejections: tuple[Rejection, ...]


def cohort_files(folder: Path) -> tuple[list[str], list[Rejection]]:
    """Every file below a folder, sorted, and the folders that were not entered or could not be.

    Raises:
        Unusable: If there is no such folder.
    """
    if not folder.is_dir():
        raise Unusable("the cohort folder is not there", "give the folder that holds the DICOM files")
    files, rejections = [], []
    closed: list[str] = []
    for root, folders, names in os.walk(folder, onerror=lambda error: closed.append(str(error.filename))):
        files += [os.path.join(root, name) for name in names]
        links = [os.path.join(root, name) for name in folders if os.path.islink(os.path.join(root, name))]
        if links:
            what, advice = f"{len(links)} linked folders", "give the folder itself, or copy it"
            rejections.append(Rejection("", what, "links to folders are not followed", advice, tuple(sorted(links))))
    if closed:
        what, advice = f"{len(closed)} folders", "check their permissions"
        rejections.append(Rejection("", what, "folders cannot be opened", advice, tuple(sorted(closed))))
    return sorted(files), rejections


def sort_cohort(headers: Iterable[Header], aliases: Aliases, planning: frozenset[str] = frozenset()) -> Discovery:
    """Sort headers into patients.

    Args:
        headers: Of every file of the cohort.
        aliases: Names of the organs, to choose between several RTSTRUCTs of one CT.
        planning: Series Instance UIDs of planning CTs that the user named.
    """
    headers = sorted(headers, key=lambda header: header.file)
    rejections = [*_useless_files(headers), *_idle_names(headers, planning)]
    by_patient: dict[str, list[Header]] = defaultdict(list)
    for header in headers:
        if header.kind != "other" and header.patient:
            by_patient[header.patient].append(header)
    rejections += _foreign_structures(by_patient)
    patients: list[PatientFiles] = []
    for patient_id in sorted(by_patient):
        found = _Patient(patient_id, by_patient[patient_id], aliases, planning).sort()
        rejections += found.rejections
        patients += found.patients
    return Discovery(tuple(patients), tuple(rejections))


def _useless_files(headers: Sequence[Header]) -> list[Rejection]:
    """Files that are nothing to train on, one line for each reason."""
    groups: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for header in headers:
        if header.kind == "other" and header.trouble:
            groups[(header.patient, *header.trouble)].append(header.file)
        elif header.kind != "other" and not header.patient:
            advice = "state the Patient ID; without it nobody can tell whose it is"
            groups[("", f"Patient ID is empty in a {_NAMES[header.kind]}", advice)].append(header.file)
    return [
        Rejection(patient, f"{len(files)} {'file' if len(files) == 1 else 'files'}", reason, advice, tuple(files))
        for (patient, reason, advice), files in groups.items()
    ]


def _idle_names(headers: Sequence[Header], planning: frozenset[str]) -> list[Rejection]:
    """UIDs of planning CTs that are no CT of the cohort; the key file says which."""
    present = {header.series for header in headers if header.kind == "ct"}
    advice = "correct it; the planning CT was chosen as if it were not there"
    return [
        Rejection("", "a UID of --planning", "no CT series of the cohort has it", advice, (uid,))
        for uid in sorted(planning - present)
    ]


def _foreign_structures(by_patient: dict[str, list[Header]]) -> list[Rejection]:
    """Take out RTSTRUCTs that were drawn on the CT of another patient."""
    owner = {header.series: patient for patient, own in by_patient.items() for header in own if header.kind == "ct"}
    rejections = []
    for patient, own in by_patient.items():
        owned = {header.series for header in own if header.kind == "ct"}
        for header in [one for one in own if one.kind == "structures"]:
            others = {owner[series] for series in header.drawn_on - owned if series in owner}
            if others and not header.drawn_on & owned:
                own.remove(header)
                reason = "it references the CT of another patient: the Patient IDs differ"
                rejections.append(Rejection(patient, "RTSTRUCT", reason, "correct the Patient ID", (header.file,)))
    return rejections


_NAMES = {"ct": "CT image", "structures": "RTSTRUCT", "plan": "RTPLAN"}


class _Patient:
    """The objects of one Patient ID while they are sorted."""

    def __init__(self, patient_id: str, headers: list[Header], aliases: Aliases, planning: frozenset[str]) -> None:
        self.patient_id, self.aliases, self.named = patient_id, aliases, planning
        self.plans = [one for one in headers if one.kind == "plan"]
        self.structures = [one for one in headers if one.kind == "structures"]
        series: dict[str, list[Header]] = defaultdict(list)
        for one in headers:
            if one.kind == "ct":
                series[one.series].append(one)
        # Scouts do not count as scans, so that a scan keeps its number whether or not they were exported.
        ordered = sorted(series, key=lambda uid: (_is_scout(series[uid]), _moment(series[uid]), uid))
        self.series = {uid: series[uid] for uid in ordered}
        self.names = {uid: f"CT {number}" for number, uid in enumerate(ordered)}
        self.rejections: list[Rejection] = []

    def sort(self) -> Discovery:
        drawn = self._structures_of_series()
        scans = {uid: self._scan(uid, drawn) for uid in self.series}
        planning = self._planning([uid for uid in scans if uid in drawn])
        patients: tuple[PatientFiles, ...] = ()
        usable = {uid: scan for uid, scan in scans.items() if scan is not None}
        if planning in usable and len(usable) > 1:
            days = tuple((number, usable[uid]) for number, uid in enumerate(scans) if uid in usable and uid != planning)
            patients = (PatientFiles(self.patient_id, usable[planning], days),)
        else:
            for uid in usable:
                if uid == planning:
                    reason = "the patient has no daily CT that can be used"
                    advice = "add daily CTs with RTSTRUCTs; or correct the Patient ID if this is another patient's scan"
                else:
                    reason = "the planning CT of the patient cannot be used"
                    advice = "see the line of the planning CT" if planning else "name the planning CT"
                self._reject(uid, f"{reason}", advice)
        return Discovery(patients, tuple(self.rejections))

    def _structures_of_series(self) -> dict[str, Header]:
        """The RTSTRUCT that counts for each series; the others are rejected."""
        candidates: dict[str, list[Header]] = defaultdict(list)
        for one in self._once(self.structures, "RTSTRUCT"):
            targets = one.drawn_on & self.series.keys() or {
                uid for uid, images in self.series.items() if one.images & {image.instance for image in images}
            }
            if one.trouble:
                self._reject_file(one, *one.trouble)
            elif len(targets) == 1:
                candidates[next(iter(targets))].append(one)
            elif targets:
                reason = f"it references {len(targets)} of the patient's CT series"
                self._reject_file(one, reason, "export one RTSTRUCT for each CT")
            else:
                self._reject_file(one, "the CT that it was drawn on is not in the folder", "add that CT series")
        chosen = {}
        for uid, several in candidates.items():
            ranked = sorted(several, key=lambda one: (self._names_all(one), _age(one), one.instance), reverse=True)
            chosen[uid] = ranked[0]
            for one in ranked[1:]:
                better = self._names_all(ranked[0]) and not self._names_all(one)
                tie = _age(one) == _age(ranked[0]) and not better
                why = "names all organs" if better else "is of the same time; one was taken" if tie else "is newer"
                reason = f"another RTSTRUCT of {self.names[uid]} {why}"
                advice = "delete the one that is not meant" if tie else "none, if the newer one is meant"
                self._reject_file(one, reason, "none, if that one is meant" if better else advice)
        return chosen

    def _scan(self, uid: str, drawn: dict[str, Header]) -> ScanFiles | None:
        """The files of a series, or None, with a rejection, where its headers show that it cannot be used."""
        images = self._once(self.series[uid], self.names[uid])
        troubles = [one.trouble for one in images if one.trouble]
        if troubles:
            reason, advice = troubles[0]
            self._reject(uid, f"{len(troubles)} of {len(images)} images cannot be read: {reason}", advice)
        elif _is_scout(images):
            self._reject(uid, "the series is a scout", "none; it is not needed")
        elif uid not in drawn:
            self._reject(uid, "no RTSTRUCT is drawn on it", "add the RTSTRUCT that references this series")
        else:
            digests = (*(one.sha256 for one in images), drawn[uid].sha256)
            return ScanFiles(self.names[uid], tuple(one.file for one in images), drawn[uid].file, digests)
        if uid in drawn:
            self._reject_file(drawn[uid], f"{self.names[uid]}, on which it was drawn, cannot be used", "see its line")
        return None

    def _planning(self, candidates: list[str]) -> str | None:
        """The series of the planning CT among those with an RTSTRUCT, earliest first."""
        named = [uid for uid in self.series if uid in self.named]
        structures = {uid for plan in self.plans for uid in plan.plans}
        drawn_on = {uid for one in self.structures if one.instance in structures for uid in one.drawn_on}
        planned = [uid for uid in candidates if uid in drawn_on]
        fitting = named or planned or candidates
        if not fitting:
            return None
        first = fitting[0]
        tied = [uid for uid in fitting if _moment(self.series[uid]) == _moment(self.series[first])]
        if len(fitting) > 1 and (named or planned):
            reason = f"{len(fitting)} CTs are {'named' if named else 'referenced by RTPLANs'} as planning CT"
            self._note(f"{reason}; the earliest, {self.names[first]}, was taken", fitting)
        elif len(tied) > 1:
            self._note(f"{len(tied)} CTs are the earliest by date and time; {self.names[first]} was taken", tied)
        elif not (named or planned) and list(self.series).index(first) > 0:
            self._note(f"{self.names[first]} was taken; earlier ones have no RTSTRUCT", [first])
        return first

    def _names_all(self, structures: Header) -> bool:
        labels = {self.aliases.label(name) for name in structures.roi_names} - {None}
        return len(labels) == len(self.aliases.organs)

    def _once(self, headers: list[Header], what: str) -> list[Header]:
        """Each file once; a copy is told apart from a conflict by its bytes."""
        seen: dict[tuple[str, str], Header] = {}
        copies = [one for one in headers if one.sha256 and seen.setdefault((one.instance, one.sha256), one) is not one]
        if copies:
            reason = f"{len(copies)} files are copies of others"
            files = tuple(one.file for one in copies)
            self.rejections.append(Rejection(self.patient_id, what, reason, "none; one of each was used", files))
        return [one for one in headers if one not in copies]

    def _reject(self, uid: str, reason: str, advice: str) -> None:
        files = tuple(one.file for one in self.series[uid])
        self.rejections.append(Rejection(self.patient_id, self.names[uid], reason, advice, files))

    def _reject_file(self, header: Header, reason: str, advice: str) -> None:
        self.rejections.append(Rejection(self.patient_id, _NAMES[header.kind], reason, advice, (header.file,)))

    def _note(self, reason: str, series: list[str]) -> None:
        files = tuple(self.series[uid][0].file for uid in series)
        advice = "name the right one in the file of --planning"
        self.rejections.append(Rejection(self.patient_id, "choice of the planning CT", reason, advice, files))


def _is_scout(images: Sequence[Header]) -> bool:
    return all(one.localizer for one in images)


def _moment(images: Sequence[Header]) -> tuple[str, str]:
    return min(one.moment for one in images)


def _age(structures: Header) -> tuple[str, str]:
    """The moment of a structure set; one without a date is the oldest."""
    return ("", "") if structures.moment == NEVER else structures.moment
