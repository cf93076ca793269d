from dataclasses import dataclass

import pytest

from phantom.case import CLINIC_A, CLINIC_B, Clinic, Scan, VirtualPatient


@dataclass(frozen=True)
class Fractions:
    patient: VirtualPatient
    planning: Scan
    days: tuple[Scan, Scan]


def _fractions(seed: int, clinic: Clinic) -> Fractions:
    patient = VirtualPatient(seed, clinic)
    days = tuple(patient.daily(n, slices=44, in_plane=128, spacing_mm=(3.6, 3.6, 4.0)) for n in (1, 2))
    planning = patient.planning(slices=44, in_plane=128, spacing_mm=(3.6, 3.6, 4.0))
    return Fractions(patient, planning, (days[0], days[1]))


@pytest.fixture(scope="session")
def at_a() -> Fractions:
    return _fractions(11, CLINIC_A)


@pytest.fixture(scope="session")
def at_b() -> Fractions:
    return _fractions(12, CLINIC_B)
