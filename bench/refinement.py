"""Overlap and time of affine and refinement, without a network, on real CTs under known synthetic motion.

python -m bench.refinement [--repeats 3]
"""

import argparse
import time

import numpy as np

from bench.cases import BenchCase, cort_liver, dice
from imaging.alignment import align
from imaging.deformation import choose_deformation
from imaging.propagation import propagate
from imaging.transforms import AffineTransform, Deformation


def overlaps(case: BenchCase, deformation: Deformation) -> dict[str, float]:
    scores = {}
    for patch in propagate(case.masks, deformation, case.daily.geometry):
        mask = np.zeros(case.daily.geometry.shape, bool)
        box = tuple(slice(a, a + n) for a, n in zip(patch.lower, patch.inside.shape, strict=True))
        mask[box] = patch.inside >= 0.5
        scores[case.names[patch.roi_number]] = dice(mask, case.truth[case.names[patch.roi_number]])
    return scores


def report(title: str, case: BenchCase, repeats: int) -> None:
    for _ in range(repeats):
        clock = [time.perf_counter()]
        affine = align(fixed=case.daily, moving=case.planning)
        clock.append(time.perf_counter())
        chosen = choose_deformation(
            daily=case.daily, planning=case.planning, affine=affine, network=None, refine="auto", masks=case.masks
        )
        clock.append(time.perf_counter())
        propagate(case.masks, chosen.deformation, case.daily.geometry)
        clock.append(time.perf_counter())
        print(title, "seconds: affine {:.3f}, refinement {:.3f}, pull {:.3f}".format(*np.diff(clock)))
    steps = [Deformation(AffineTransform.identity()), Deformation(affine), chosen.deformation]
    table = [overlaps(case, step) for step in steps]
    for name in sorted(table[0]):
        print(f"{name:14s}" + "".join(f"{column[name]:8.3f}" for column in table))
    names = [name for name in table[0] if name != "BODY"]
    means = [float(np.mean([column[name] for name in names])) for column in table]
    print(f"{'mean w/o BODY':14s}" + "".join(f"{mean:8.3f}" for mean in means))
    print(f"worst against the affine {min(table[2][n] - table[1][n] for n in table[0]):+.3f}")
    for finding in chosen.findings:
        print("  ", finding.check, finding.verdict.value, finding.message)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    report("cort-liver", cort_liver(hard=False), repeats)
    report("cort-liver hard", cort_liver(hard=True), repeats)


if __name__ == "__main__":
    main()
