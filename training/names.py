"""PATIENT-DAY, the name of a pair and of a case: a pseudonym and the number of the daily CT."""


def pair_name(patient: str, day: int) -> str:
    """PATIENT-DAY."""
    return f"{patient}-{day:02d}"


def patient_of(name: str) -> str:
    """The pseudonym in PATIENT-DAY."""
    return name.rpartition("-")[0]
