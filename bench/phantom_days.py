"""How hard the days of both clinics are: what the service's affine alone leaves of each organ, and how volumes change.

python -m bench.phantom_days [--seed 100] [--days 2] [--workers 2]

Mean surface distance in mm; then, as true volumes, the day's over the plan's. Nothing here is of a patient.
"""

import argparse
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np

from bench.markdown import table
from bench.phantom_truth import by_the_affine, distances
from imaging.geometry import VolumeGeometry
from phantom.case import CLINIC_A, CLINIC_B, Clinic, make_case
from phantom.contours import LABELS

PATIENTS = ((CLINIC_A, 10), (CLINIC_B, 14))


@dataclass(frozen=True)
class Day:
    """One daily scan of a patient."""

    clinic: Clinic
    seed: int
    fraction: int

    def measured(self) -> "Measured":
        """Draw the scans and measure."""
        case = make_case(self.seed, clinic=self.clinic, fraction=self.fraction, in_plane=256)
        found = distances(case, {"affine": by_the_affine(case)})["affine"]
        return Measured(
            [np.nan if (mm := found.get(organ)) is None else mm for organ in LABELS],
            _volumes_cc(case.planning_labels, case.planning.geometry),
            _volumes_cc(case.daily_labels, case.daily.geometry),
        )


@dataclass(frozen=True)
class Measured:
    """Per organ in the order of `LABELS`; a distance is NaN where the daily scan does not reach the organ."""

    affine_mm: Sequence[float]
    planned_cc: Sequence[float]
    daily_cc: Sequence[float]


def _volumes_cc(labels: np.ndarray, geometry: VolumeGeometry) -> list[float]:
    return [float((labels == label).sum()) * geometry.voxel_cc for label in LABELS.values()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=100, help="of the first patient of each clinic")
    parser.add_argument("--days", type=int, default=2, help="of each patient")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    left, changed = [], []
    with ProcessPoolExecutor(options.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for clinic, patients in PATIENTS:
            days = [
                Day(clinic, options.seed + patient, fraction)
                for patient in range(patients)
                for fraction in range(1, options.days + 1)
            ]
            found = list(pool.map(Day.measured, days))
            who = f"{clinic.name}, {patients} patients"
            mm = np.array([one.affine_mm for one in found])
            pairs = zip(np.nanmean(mm, axis=0), np.nanstd(mm, axis=0), strict=True)
            left.append([who, *(f"{mean:.2f} +- {sd:.2f}" for mean, sd in pairs)])
            ratio = np.array([np.divide(one.daily_cc, one.planned_cc) for one in found])
            changed.append([who, *(f"{one.min():.2f} to {one.max():.2f}, SD {one.std():.2f}" for one in ratio.T)])
    print(table(["after the affine, mm", *LABELS], left))
    print()
    print(table(["volume over the plan's", *LABELS], changed))


if __name__ == "__main__":
    main()
