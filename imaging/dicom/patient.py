"""Whether planning CT, plan and daily CT are of one patient. PS3.3 C.7.1.1."""

from collections.abc import Iterator, Mapping
from typing import Final

from pydicom import Dataset

from imaging.dicom.objects import CtSeries, PlannedStructures
from imaging.errors import PatientMismatch
from imaging.findings import Finding, Verdict

IDENTIFYING: Final = (
    ("PatientID", "Patient ID"),
    ("IssuerOfPatientID", "Issuer of Patient ID"),
    ("PatientBirthDate", "Patient's Birth Date"),
    ("PatientSex", "Patient's Sex"),
)
"""Keyword and name of what must agree wherever it is stated."""

ROLES: Final = ("planning CT", "RTSTRUCT", "daily CT")


def check_same_patient(planning: CtSeries, plan: PlannedStructures, daily: CtSeries) -> tuple[Finding, ...]:
    """Compare the identity in the three inputs; returns what a person should look at.

    Attributes that one input leaves empty cannot be compared and give a finding, as do unequal names (they change by
    marriage and by spelling) and unequal patient positions (orientation and position of the slices decide). An input
    whose ID and birth date both have nothing to be compared with fails its check.

    Raises:
        PatientMismatch: If ID, issuer, birth date or sex differ, or the name of an input whose ID could not be
            compared. The message holds no value.
    """
    headers = (planning.header, plan.header, daily.header)
    findings = []
    for keyword, name in IDENTIFYING:
        values = [str(header.get(keyword) or "").strip() for header in headers]
        stated = [(role, value) for role, value in zip(ROLES, values, strict=True) if value]
        for role, value in stated[1:]:
            if value != stated[0][1]:
                raise PatientMismatch(
                    f"{name} differs between {stated[0][0]} and {role}; send objects of one patient", attribute=keyword
                )
        needed = keyword != "IssuerOfPatientID"
        if needed and len(stated) < len(ROLES):
            missing = ", ".join(role for role, value in zip(ROLES, values, strict=True) if not value)
            findings.append(_review("patient-unverified", f"{name} is empty in {missing} and could not be compared"))
    findings += _beyond_attributes(dict(zip(ROLES, headers, strict=True)))
    if planning.patient_position != daily.patient_position:
        message = (
            f"Patient Position is {planning.patient_position or 'unknown'} in the planning CT and "
            f"{daily.patient_position or 'unknown'} in the daily CT; check the set-up"
        )
        findings.append(_review("patient-position", message))
    return tuple(findings)


def _beyond_attributes(headers: Mapping[str, Dataset]) -> Iterator[Finding]:
    """What the names say, and whether anything that tells patients apart could be compared at all."""
    names = {role: _normalised(str(header.get("PatientName") or "")) for role, header in headers.items()}
    known = set(names.values()) - {""}
    without_id = [role for role in headers if not _compared("PatientID", role, headers)]
    doubtful = [role for role in without_id if names[role] and len(known) > 1]
    if doubtful:
        raise PatientMismatch(
            "Patient's Name differs between the inputs and Patient ID could not be compared for "
            f"{', '.join(doubtful)}; send objects of one patient that state their Patient ID",
            attribute="PatientName",
        )
    if len(known) > 1:
        yield _review("patient-name", "Patient's Name is not spelt the same in all inputs; compare them")
    unknown = [role for role in without_id if not _compared("PatientBirthDate", role, headers)]
    if unknown:
        message = (
            f"neither Patient ID nor Patient's Birth Date could be compared for {', '.join(unknown)}; "
            "make sure by other means that all inputs are of one patient"
        )
        yield Finding("patient-unidentified", Verdict.FAIL, message)


def _compared(keyword: str, role: str, headers: Mapping[str, Dataset]) -> bool:
    """Whether this input and at least one other state the attribute; of three inputs, all are linked if each is."""
    stated = {name for name, header in headers.items() if str(header.get(keyword) or "").strip()}
    return role in stated and len(stated) > 1


def _normalised(name: str) -> str:
    """Name components of the first (alphabetic) group, without regard to case, blanks and empty components."""
    components = name.split("=", maxsplit=1)[0].casefold().replace("^", " ").split()
    return " ".join(components)


def _review(check: str, message: str) -> Finding:
    return Finding(check, Verdict.REVIEW, message)
