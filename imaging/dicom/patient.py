"""Whether planning CT, plan and daily CT are of one patient. PS3.3 C.7.1.1."""

from typing import Final

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
    marriage and by spelling) and unequal patient positions (orientation and position of the slices decide).

    Raises:
        PatientMismatch: If ID, issuer, birth date or sex differ. The message holds no value.
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
    names = {_normalised(str(header.get("PatientName") or "")) for header in headers} - {""}
    if len(names) > 1:
        findings.append(_review("patient-name", "Patient's Name is not spelt the same in all inputs; compare them"))
    if planning.patient_position != daily.patient_position:
        message = (
            f"Patient Position is {planning.patient_position or 'unknown'} in the planning CT and "
            f"{daily.patient_position or 'unknown'} in the daily CT; check the set-up"
        )
        findings.append(_review("patient-position", message))
    return tuple(findings)


def _normalised(name: str) -> str:
    """Name components of the first (alphabetic) group, without regard to case, blanks and empty components."""
    components = name.split("=", maxsplit=1)[0].casefold().replace("^", " ").split()
    return " ".join(components)


def _review(check: str, message: str) -> Finding:
    return Finding(check, Verdict.REVIEW, message)
