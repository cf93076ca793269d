"""The few lines that a person reads after a case: every ROI with its verdict, the files, the times."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recontour.table import stage_table, text_table

SEVERE = ("fail", "review")


def print_summary(report: Mapping[str, Any], *, files: Sequence[Path], stages_s: Mapping[str, float]) -> None:
    """Print what a report says, where the files are and how long each stage took."""
    if report:
        print(roi_table(report))
        print()
        for line in remarks(report):
            print(line)
        print(f"verdict: {report['verdict']}    {report['notice']}")
    if stages_s:
        print()
        print(stage_table(stages_s))
    print()
    for file in files:
        print(file)


def roi_table(report: Mapping[str, Any]) -> str:
    """One line per ROI of the plan."""
    rows = [
        (
            roi["name"],
            roi["verdict"],
            roi["recommended_path"],
            roi["carried_by"],
            roi["planned_cc"],
            roi["propagated_cc"],
            roi["segmented_cc"],
            roi["shift_mm"],
        )
        for roi in report["rois"]
    ]
    headers = ("ROI", "verdict", "recommended", "carried by", "plan cc", "propagated cc", "segmented cc", "shift mm")
    return text_table(headers, rows, decimals=(0, 0, 0, 0, 1, 1, 1, 1))


def remarks(report: Mapping[str, Any]) -> list[str]:
    """One line per check that did not pass, the gravest first."""
    found = [("case", finding) for finding in report["findings"]]
    found += [(roi["name"], finding) for roi in report["rois"] for finding in roi["findings"]]
    severe = [(name, finding) for name, finding in found if finding["verdict"] in SEVERE]
    severe.sort(key=lambda entry: SEVERE.index(entry[1]["verdict"]))
    return [f"{finding['verdict']:6}  {name}: {finding['check']}: {finding['message']}" for name, finding in severe]
