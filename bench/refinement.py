"""Overlap and time of affine and refinement, without a network, on real CTs under known synthetic motion.

python -m bench.refinement [--repeats 3]
"""

import argparse
import time

import numpy as np

from bench.real_case import RealCase, cort_liver, mean_without_outline
from imaging.alignment import align
from imaging.deformation import choose_deformation
from imaging.plan import sort_plan
from imaging.planned import prepare_plan
from imaging.propagation import propagate
from imaging.transforms import AffineTransform, Deformation


def report(title: str, case: RealCase, repeats: int) -> None:
    daily, planning = case.daily.volume, case.planning.volume
    masks = prepare_plan(sort_plan(case.plan.structures, None, None), planning).masks
    for _ in range(repeats):
        clock = [time.perf_counter()]
        affine = align(fixed=daily, moving=planning)
        clock.append(time.perf_counter())
        chosen = choose_deformation(
            daily=daily, planning=planning, affine=affine, network=None, refine="auto", masks=masks
        )
        clock.append(time.perf_counter())
        propagate(masks, chosen.deformation, daily.geometry)
        clock.append(time.perf_counter())
        print(title, "seconds: affine {:.3f}, refinement {:.3f}, pull {:.3f}".format(*np.diff(clock)))
    steps = [Deformation(AffineTransform.identity()), Deformation(affine), chosen.deformation]
    table = [case.carried(step) for step in steps]
    for name in sorted(table[0]):
        print(f"{name:14s}" + "".join(f"{column[name]:8.3f}" for column in table))
    means = [mean_without_outline(column) for column in table]
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
