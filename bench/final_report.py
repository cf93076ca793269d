"""The tables of `bench.final`: means per clinic, whether the goals hold, and who is worse than the affine."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import mean
from typing import Any

from bench.markdown import table
from phantom.contours import LABELS

ORGANS = tuple(LABELS)
LIMITS_MM = {
    "A": {"Prostate": 0.9, "SeminalVes": 1.0, "Rectum": 1.3, "Bladder": 0.8},
    "B": {"Prostate": 1.1, "SeminalVes": 1.3, "Rectum": 1.8, "Bladder": 1.2},
}
"""What the recommended contour may be off on average."""

BELOW = 0.75
"""Of the best distance of elastix and Hybrid as their users carry contours."""

HARD_MM = {"B": {"Prostate": 2.5, "Bladder": 6.0}}
"""What the affine alone must be off at least, or the cases are too easy to mean anything."""

PAPER_MM = {
    "A": {"Prostate": 1.06, "SeminalVes": 1.27, "Rectum": 1.76, "Bladder": 0.91},
    "B": {"Prostate": 1.82, "SeminalVes": 2.45, "Rectum": 2.57, "Bladder": 2.45},
}
"""Best mean of each organ in Elmahdy et al., IEEE Access 2021, at its first and second hospital."""

WORSE_MM = 0.5
RECOMMENDED, AFFINE = "recommended", "affine"
LABEL_MAP, OUR_PULL = ", label map", ", our pull"

Means = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Mean distance by clinic, row and organ; none where an organ was not found on every case."""


def as_markdown(content: Mapping[str, Any]) -> str:
    """The whole report."""
    cases = content["cases"]
    found = means(cases)
    counts = {clinic: sum(name.startswith(clinic) for name in cases) for clinic in found}
    parts = [
        f"Mean surface distance in mm, virtual patients of {content['in_plane']} x {content['in_plane']} pixels, "
        f"{content['model']}; nothing here is of a patient.",
    ]
    for clinic, rows in found.items():
        beside = {**rows, "*best in the paper: patients, not comparable*": PAPER_MM[clinic]}
        parts += [
            f"### Clinic {clinic}, {counts[clinic]} cases",
            table(
                ["", *ORGANS],
                [[row, *(values.get(organ) for organ in ORGANS)] for row, values in beside.items()],
                digits=3,
            ),
        ]
    parts += [
        "### Goals",
        table(["goal", *ORGANS], _goals(found)),
        "### Recommended, as a share of the best of elastix and Hybrid",
        table(["", *ORGANS], _shares(found), digits=2),
        f"### Worse than the affine\n{_worse(cases)}",
    ]
    if lost := missing(cases):
        parts.append("### Not found, and left out of the means\n" + "\n".join(lost))
    return "\n\n".join(parts)


def means(cases: Mapping[str, Any]) -> Means:
    """An organ that a system lost on one case has no mean: it would stand for other cases than the others' means."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for clinic in sorted({name[0] for name in cases}):
        here = [case["mm"] for name, case in cases.items() if name[0] == clinic]
        rows = dict.fromkeys(row for mm in here for row in mm)
        of = {row: {organ: [mm.get(row, {}).get(organ) for mm in here] for organ in ORGANS} for row in rows}
        found[clinic] = {
            row: {organ: mean(values) for organ, values in organs.items() if None not in values}
            for row, organs in of.items()
        }
    return found


def missing(cases: Mapping[str, Any]) -> list[str]:
    """One line per organ that a system did not find on a case."""
    return [
        f"- {row} found no {organ} on {name}"
        for name, case in cases.items()
        for row, values in case["mm"].items()
        for organ, value in values.items()
        if value is None
    ]


def worse_than_affine(cases: Mapping[str, Any]) -> Iterable[tuple[str, str, float, float, tuple[str, ...]]]:
    """Case, organ, affine and recommended distance, and what was said, of all that are over `WORSE_MM` worse."""
    for name, case in cases.items():
        for organ in ORGANS:
            before, after = (case["mm"][row].get(organ) for row in (AFFINE, RECOMMENDED))
            if before is not None and (after is None or after > before + WORSE_MM):
                yield name, organ, before, after, tuple(case["told"].get(organ, ()))


def _goals(found: Means) -> list[list[str]]:
    rows = []
    for clinic, of in found.items():
        ours, hard = of[RECOMMENDED], HARD_MM.get(clinic, {})
        rows.append([f"clinic {clinic}, limit", *(_at_most(ours.get(o), LIMITS_MM[clinic][o]) for o in ORGANS)])
        rows.append([f"clinic {clinic}, affine at least", *(_at_least(of[AFFINE].get(o), hard.get(o)) for o in ORGANS)])
        networks = [values for row, values in of.items() if "," in row and not row.endswith((LABEL_MAP, OUR_PULL))]
        for name, best, share in (
            ("elastix and Hybrid with label maps", _best(_ending(of, LABEL_MAP)), BELOW),
            ("the trained networks", _best(networks), 1.0),
        ):
            limits = {organ: None if value is None else share * value for organ, value in best.items()}
            rows.append(
                [
                    f"clinic {clinic}, {share:g} of the best of {name}",
                    *(_at_most(ours.get(organ), limits[organ]) for organ in ORGANS),
                ]
            )
    return rows


def _shares(found: Means) -> list[list[str | float | None]]:
    rows: list[list[str | float | None]] = []
    for clinic, of in found.items():
        for ending, what in ((LABEL_MAP, "label maps, as their users carry contours"), (OUR_PULL, "our own pull")):
            best, ours = _best(_ending(of, ending)), of[RECOMMENDED]
            shares = [ours[o] / least if (least := best[o]) and o in ours else None for o in ORGANS]
            rows.append([f"clinic {clinic}, they with {what}", *shares])
    return rows


def _ending(rows: Mapping[str, Mapping[str, float]], ending: str) -> list[Mapping[str, float]]:
    return [values for row, values in rows.items() if row.endswith(ending)]


def _best(others: Sequence[Mapping[str, float]]) -> dict[str, float | None]:
    return {organ: min((one[organ] for one in others if organ in one), default=None) for organ in ORGANS}


def _at_least(value: float | None, least: float | None) -> str:
    if least is None:
        return "-"
    return _judged(value, least, value is not None and value >= least)


def _at_most(value: float | None, limit: float | None) -> str:
    if limit is None:
        return "not measured"
    return _judged(value, limit, value is not None and value <= limit)


def _judged(value: float | None, limit: float, met: bool) -> str:
    found = "not found everywhere" if value is None else f"{value:.3f}"
    return f"{found} of {limit:.3f}: {'met' if met else 'MISSED'}"


def _worse(cases: Mapping[str, Any]) -> str:
    lines = [
        f"- {name} {organ}: affine {before:.2f}, recommended {'none' if after is None else format(after, '.2f')}; "
        f"{', '.join(told) or 'SILENT'}"
        for name, organ, before, after, told in worse_than_affine(cases)
    ]
    return "\n".join(lines) or f"No organ of any case is over {WORSE_MM} mm worse than after the affine."
