"""Overlap and time of affine and refinement, without a network, on real CTs under known synthetic motion.

    python -m bench.refinement [--repeats 3] [--peers] [--threads 2]

With --peers every installed method of `bench.peer_methods` runs once on the same scans, round the same ROIs, and its
deformation carries them by the same pull. Times hold affine and refinement, or what the method does instead.
"""

import argparse
import time
from collections.abc import Mapping

import numpy as np

from bench.markdown import Cell, table, tell
from bench.peer_methods import PEERS, NotHere, Scans
from bench.real_case import SYNTHETIC, RealCase, cort_liver, mean_without_outline
from imaging.alignment import align
from imaging.deformation import choose_deformation
from imaging.plan import contour_points, sort_plan
from imaging.planned import prepare_plan
from imaging.propagation import propagate
from imaging.transforms import AffineTransform, Deformation
from imaging.volume import Volume

OURS = "affine + refinement"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peers", action="store_true", help="other registrations beside it, minutes each")
    parser.add_argument("--threads", type=int, default=2, help="of the other registrations")
    options = parser.parse_args()
    for hard in (False, True):
        print(report(cort_liver(hard=hard), options))


def report(case: RealCase, options: argparse.Namespace) -> str:
    """Dice per ROI and step, the findings, then one line per method."""
    plan = sort_plan(case.plan.structures, None, None)
    masks = prepare_plan(plan, case.planning.volume).masks
    seconds = []
    for _ in range(options.repeats):
        # Fresh volumes, because a volume remembers its block means.
        daily, planning = (Volume(ct.volume.hu, ct.volume.geometry) for ct in (case.daily, case.planning))
        clock = [time.perf_counter()]
        affine = align(fixed=daily, moving=planning)
        clock.append(time.perf_counter())
        chosen = choose_deformation(daily=daily, planning=planning, affine=affine, network=None, masks=masks)
        clock.append(time.perf_counter())
        propagate(masks, chosen.deformation, daily.geometry)
        clock.append(time.perf_counter())
        seconds.append(np.diff(clock))
    align_s, refine_s, pull_s = np.median(seconds, axis=0)
    steps = {
        "before": case.carried(Deformation(AffineTransform.identity())),
        "affine": case.carried(Deformation(affine)),
        OURS: case.carried(chosen.deformation),
    }
    lines = [_line(OURS, steps[OURS], steps["affine"], align_s + refine_s)]
    if options.peers:
        scans = Scans(case.daily.volume, case.planning.volume, contour_points(plan.carried))
        lines += _peers(case, scans, steps["affine"], options.threads)
    parts = [
        f"## {case.title}: {SYNTHETIC}",
        table(("Dice", *steps), [[roi, *(step[roi] for step in steps.values())] for roi in case.truth], digits=3),
        "\n".join(f"{finding.check}, {finding.verdict.value}: {finding.message}" for finding in chosen.findings),
        f"seconds: affine {align_s:.3f}, refinement {refine_s:.3f}, pull {pull_s:.3f}",
        table(("method", "mean Dice without BODY", "worst ROI against our affine", "seconds"), lines),
    ]
    return "\n\n".join(parts) + "\n"


def _peers(case: RealCase, scans: Scans, affine: Mapping[str, float], threads: int) -> list[list[Cell]]:
    lines: list[list[Cell]] = []
    for peer in PEERS:
        begun = time.perf_counter()
        try:
            deformation = peer.find(scans, threads)
        except NotHere as error:
            lines.append([peer.what, f"skipped: {error}", None, None])
            continue
        spent = time.perf_counter() - begun
        tell(f"{peer.what}: {spent:.1f} s")
        lines.append(_line(peer.what, case.carried(deformation), affine, spent))
    return lines


def _line(what: str, dice: dict[str, float], affine: Mapping[str, float], seconds: float) -> list[Cell]:
    worst = min(dice[roi] - affine[roi] for roi in dice)
    return [what, f"{mean_without_outline(dice):.3f}", f"{worst:+.3f}", f"{seconds:.2f}"]


if __name__ == "__main__":
    main()
