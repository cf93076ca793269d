"""The tables of `bench.peers`, read off its JSON."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bench.goals import Goal, goal_table
from bench.markdown import Cell, facts, table

OWN, RIVAL = "registration", "elastix"
TIMES_FASTER = 20.0
OWN_WAYS = {OWN: "registration alone", "with-network": "with network, contours and checks"}
NOTES = """What the clocks hold. Registration: from two CTs in memory to a deformation; recontour's is affine and
refinement, elastix's affine and B-spline, the others' SimpleITK's affine (one thread) and what is named. plastimatch
reads and writes its images as files inside its clock, ConvexAdam starts its process and imports PyTorch inside it. The
contours are carried by each method's own deformation, with the same pull for all, outside of that clock. The rows of
recontour below the first hold more: contours, checks, and, for a whole request, reading and writing DICOM; they are
warm, as the service is after its start. Processor time sums over threads. MSD, HD95 and Dice are against the phantom's
true contours, by `imaging.metrics`; a phantom says nothing about patients, and the network has learned from phantoms of
the same family."""

Content = Mapping[str, Any]


def as_markdown(content: Content) -> str:
    """The whole report."""
    parts = [
        f"## Beside other registrations: {content['case']}",
        facts(content["machine"]),
        f"{content['threads']} threads each.",
        goal_table(goals_of(content)),
        time_table(content),
        score_table(content),
        NOTES.replace("\n", " "),
    ]
    parts += [f"Skipped: {what}: {why}." for what, why in content["skipped"].items()]
    return "\n\n".join(parts)


def goals_of(content: Content) -> list[Goal]:
    """Against each elastix, without and with the network: how many times faster, and whether it is as accurate."""
    goals = []
    for name, what in OWN_WAYS.items():
        own = _method(content, name)
        for method in content["methods"]:
            if method["name"].startswith(RIVAL) and own is not None:
                ratio = _median(method, "wall_s") / _median(own, "wall_s")
                goals.append(Goal(f"{what}, faster than {method['what']}", ratio, TIMES_FASTER, "times", at_least=True))
                title = f"{what}, MSD (mean of organs) beside {method['what']}"
                goals.append(Goal(title, mean_score(own, "mean_mm"), mean_score(method, "mean_mm"), "mm"))
    nothing = Goal("faster than elastix", None, TIMES_FASTER, "times", at_least=True, why_open="no elastix here")
    return goals or [nothing]


def time_table(content: Content) -> str:
    """Times, and their ratio to recontour's registration."""
    own = _method(content, OWN)
    rows: list[Sequence[Cell]] = []
    for method in content["methods"]:
        ratio = _median(method, "wall_s") / _median(own, "wall_s") if own is not None else float("nan")
        scored = "scores" in method["runs"][0]
        rows.append(
            (
                method["what"],
                f"{_median(method, 'wall_s'):.2f}",
                f"{_median(method, 'cpu_s'):.2f}",
                f"{ratio:.1f}",
                f"{mean_score(method, 'mean_mm'):.3f}" if scored else "-",
                str(len(method["runs"])),
            )
        )
    heads = ("method", "wall s", "processor s", "times recontour's registration", "MSD mm, mean of organs", "runs")
    return table(heads, rows)


def score_table(content: Content) -> str:
    """Every organ: MSD / HD95 in mm, Dice."""
    scored = [method for method in content["methods"] if "scores" in method["runs"][0]]
    organs = list(scored[0]["runs"][0]["scores"]) if scored else []
    rows = []
    for method in scored:
        cells = []
        for organ in organs:
            found = method["runs"][-1]["scores"][organ]
            cells.append(f"{found['mean_mm']:.2f} / {found['hd95_mm']:.1f} / {found['dice']:.3f}")
        rows.append((method["what"], *cells))
    return table(("MSD mm / HD95 mm / Dice", *organs), rows)


def ratio_bars(content: Content) -> dict[str, dict[str, float]]:
    """Seconds per method for the picture."""
    return {"wall clock": {method["what"]: _median(method, "wall_s") for method in content["methods"]}}


def mean_score(method: Content, what: str) -> float:
    """Mean over the organs, of the last run: the methods give the same answer every time, or nearly so."""
    return float(np.mean([organ[what] for organ in method["runs"][-1]["scores"].values()]))


def _method(content: Content, name: str) -> Content | None:
    return next((method for method in content["methods"] if method["name"] == name), None)


def _median(method: Content, what: str) -> float:
    return float(np.median([run[what] for run in method["runs"]]))
