"""The shares of `bench.calibration`: who is named by the checks as they are, and by single checks at other limits."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from bench.markdown import table

FAR_MM = 3.0
NEAR_MM = 1.0
SENSITIVITY = 0.95
DISTANCE, TRIED_MM = "paths-surface-distance", (1.5, 2.0, 2.5, 3.0)
DELIVERED = "as delivered"
CHECKS = {DISTANCE: 1, "paths-hausdorff-95": 1, "paths-dice": -1}
"""Checks that a limit is looked for, and whether much (1) or little (-1) is suspicious."""

Contour = Mapping[str, Any]


def as_markdown(content: Mapping[str, Any]) -> str:
    """The whole report."""
    contours = content["contours"]
    far, between, near = groups(contours)
    delivered = [one for one in near if one["way"] == DELIVERED]
    ordinary = [one for one in delivered if one["kind"].startswith("clinic")]
    columns = (far, between, near, delivered, ordinary)
    limits = [(check, limit_of(check, sign, far)) for check, sign in CHECKS.items()]
    limits += [(DISTANCE, limit) for limit in TRIED_MM]
    rows = [["all checks as they are", "-", *(_share([bool(one["named"]) for one in group]) for group in columns)]]
    rows += [
        [
            f"{check} alone",
            f"{limit:.2f}",
            *(_share([beyond(one, check, CHECKS[check], limit) for one in group]) for group in columns),
        ]
        for check, limit in limits
        if limit is not None
    ]
    silent = [one for one in far if not one["named"]]
    parts = [
        f"{len(contours)} recommended contours of virtual patients, {content['patients']} of each clinic, model "
        f"{content['model']}: {len(far)} over {FAR_MM:g} mm, {len(near)} up to {NEAR_MM:g} mm.",
        f"{sum(one['way'] == DELIVERED for one in far)} of those far off are as delivered, the others were spoilt by "
        f"leaving stages out. {len(content.get('refused', ()))} cases were refused.",
        f"The first limit of each single check is the one that names {100 * SENSITIVITY:.0f} % of the contours over "
        f"{FAR_MM:g} mm that both paths found.",
        table(
            [
                "named by",
                "limit",
                f"over {FAR_MM:g} mm",
                f"{NEAR_MM:g} to {FAR_MM:g} mm",
                f"up to {NEAR_MM:g} mm",
                "of these as delivered",
                "of these on ordinary days",
            ],
            rows,
        ),
        "By what was done and seen:",
        table(["way", "kind", f"named over {FAR_MM:g} mm", f"named up to {NEAR_MM:g} mm"], _by_kind(contours)),
        "\n".join(f"- silent: {one['kind']}, {one['way']}, {one['organ']}, {_mm(one)}" for one in silent)
        or "No contour that is far off was silent.",
    ]
    return "\n\n".join(parts)


def groups(contours: Iterable[Contour]) -> tuple[list[Contour], list[Contour], list[Contour]]:
    """Contours over `FAR_MM` or not there at all, those between, and those up to `NEAR_MM`."""
    sorted_in: tuple[list[Contour], list[Contour], list[Contour]] = ([], [], [])
    for one in contours:
        place = 0 if one["mm"] is None or one["mm"] > FAR_MM else 1 if one["mm"] > NEAR_MM else 2
        sorted_in[place].append(one)
    return sorted_in


def limit_of(check: str, sign: int, far: Sequence[Contour]) -> float | None:
    """The limit beyond which `SENSITIVITY` of the contours far off lie, where the check has a value, or None."""
    values = sorted((sign * one["values"][check] for one in far if one["values"].get(check) is not None), reverse=True)
    return sign * values[int(np.ceil(SENSITIVITY * len(values))) - 1] if values else None


def beyond(one: Contour, check: str, sign: int, limit: float) -> bool:
    """Whether a contour's value is at a limit or beyond it."""
    value = one["values"].get(check)
    return value is not None and sign * value >= sign * limit


def _by_kind(contours: Sequence[Contour]) -> list[list[str]]:
    rows = []
    for way, kind in dict.fromkeys((one["way"], one["kind"]) for one in contours):
        far, _, near = groups(one for one in contours if (one["way"], one["kind"]) == (way, kind))
        rows.append([way, kind, *(_share([bool(one["named"]) for one in group]) for group in (far, near))])
    return rows


def _share(named: Sequence[bool]) -> str:
    return f"{sum(named)} of {len(named)}" + (f" ({100 * sum(named) / len(named):.0f} %)" if named else "")


def _mm(one: Contour) -> str:
    return "not found" if one["mm"] is None else f"{one['mm']:.2f} mm"
