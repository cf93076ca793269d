"""The printed numbers of Beljaards, Elmahdy et al., MIDL 2020: patients of two hospitals.

Other people, other scanners, drawn by physicians: they stand beside ours for the order of the systems, and their values
cannot be compared. Validation is the Haga Medical Center (HMC), test the Erasmus Medical Center (EMC).
"""

from dataclasses import dataclass
from typing import Literal

from training.evaluation.system import PathName

PAPER_ORGANS = ("Prostate", "SeminalVes", "Rectum", "Bladder")
Cohort = Literal["HMC", "EMC"]
PrintedMetric = Literal["msd_mm", "hd95_mm", "dice"]


@dataclass(frozen=True)
class Printed:
    """One value of a table; None for what was not taken down. `text` has the digits that were printed."""

    text: str
    mean: float
    sd: float | None
    median: float | None


@dataclass(frozen=True)
class PrintedRow:
    """One row: a system, a path, and its values for prostate, seminal vesicles, rectum and bladder."""

    system: str
    path: PathName
    values: tuple[Printed, Printed, Printed, Printed]


def printed_rows(metric: PrintedMetric, cohort: Cohort) -> tuple[PrintedRow, ...]:
    """The rows of one table of the paper for one hospital.

    Args:
        metric: 'msd_mm' mean surface distance, 'hd95_mm' 95 % Hausdorff distance, 'dice' overlap.
        cohort: 'HMC' is its validation, 'EMC' its independent test.
    """
    lines = {
        ("msd_mm", "HMC"): _MSD_HMC,
        ("msd_mm", "EMC"): _MSD_EMC,
        ("hd95_mm", "HMC"): _HD95_HMC,
        ("hd95_mm", "EMC"): _HD95_EMC,
        ("dice", "HMC"): _DICE_HMC,
        ("dice", "EMC"): _DICE_EMC,
    }[metric, cohort]
    return tuple(_row(line) for line in lines.strip().splitlines())


def _row(line: str) -> PrintedRow:
    system, path, *cells = (part.strip() for part in line.split("|"))
    prostate, vesicles, rectum, bladder = (_printed(cell) for cell in cells)
    names: dict[str, PathName] = {"seg": "segmentation", "reg": "registration"}
    return PrintedRow(system, names[path], (prostate, vesicles, rectum, bladder))


def _printed(cell: str) -> Printed:
    """'mean', 'mean (median)' or 'mean +- sd (median)'."""
    rest, _, median = cell.rstrip(")").partition("(")
    mean, _, sd = rest.partition("+-")
    mean, sd, median = (f"0{part.strip()}" if part.startswith(".") else part.strip() for part in (mean, sd, median))
    shown = mean + (f" ± {sd}" if sd else "") + (f" ({median})" if median else "")
    return Printed(shown, float(mean), float(sd) if sd else None, float(median) if median else None)


_MSD_HMC = """
elastix             | reg | 1.73 (1.59)       | 2.71 (2.45)       | 3.69 (3.50)       | 5.26 (4.72)
Hybrid              | reg | 1.27 (1.25)       | 1.47 (1.32)       | 2.03 (1.85)       | 1.75 (1.26)
JRS-GAN             | reg | 1.14 (1.04)       | 1.75 (1.44)       | 2.17 (1.89)       | 2.25 (1.54)
Segmentation        | seg | 1.49+-.3 (1.49)   | 2.50+-2.6 (2.09)  | 3.39+-2.2 (2.73)  | 1.60+-1.1 (1.13)
Registration        | reg | 1.43+-.8 (1.29)   | 1.71+-1.4 (1.37)  | 2.44+-1.1 (2.17)  | 3.40+-2.3 (2.71)
JRS-registration    | reg | 1.20+-.4 (1.13)   | 1.35+-.7 (1.16)   | 2.08+-1.0 (1.82)  | 2.63+-2.3 (1.90)
Hard sharing        | seg | 1.14+-.4 (1.06)   | 1.73+-2.1 (1.12)  | 1.91+-.9 (1.64)   | 1.04+-.7 (.87)
Hard sharing        | reg | 1.20 (1.11)       | 1.33 (1.10)       | 2.16 (1.85)       | 2.56 (1.90)
Cross-stitch        | seg | 1.06+-.3 (.99)    | 1.27+-.4 (1.15)   | 1.76+-.8 (1.47)   | .91+-.4 (.82)
Cross-stitch        | reg | 1.10 (1.06)       | 1.30 (1.13)       | 2.00 (1.75)       | 2.45 (1.81)
"""

_MSD_EMC = """
elastix             | reg | 1.42+-.7 (1.17)   | 2.07 (1.24)       | 3.20 (3.07)       | 5.30 (3.27)
Hybrid              | reg | 1.55+-.6 (1.36)   | 1.65+-1.3 (1.22)  | 2.65+-1.6 (2.36)  | 3.81+-3.6 (2.26)
Segmentation        | seg | 3.18 (2.57)       | 9.33+-10.1 (5.82) | 5.79 (5.18)       | 1.88+-1.5 (1.50)
Registration        | reg | 2.01 (1.18)       | 2.86 (1.18)       | 2.89 (2.23)       | 5.98 (4.44)
JRS-registration    | reg | 1.96 (1.16)       | 2.60 (1.07)       | 2.64 (2.14)       | 5.15 (3.14)
Hard sharing        | seg | 2.02 (1.34)       | 6.34 (1.98)       | 3.27 (2.10)       | 2.66 (1.38)
Hard sharing        | reg | 2.00 (1.20)       | 2.66 (1.12)       | 2.66 (2.24)       | 5.09 (2.84)
Cross-stitch        | seg | 1.88+-2.2 (1.21)  | 4.73+-8.0 (1.42)  | 3.61+-5.0 (2.18)  | 2.45+-2.4 (1.24)
Cross-stitch        | reg | 1.82+-2.4 (1.09)  | 2.45+-5.0 (1.02)  | 2.57+-2.3 (2.10)  | 4.93+-4.1 (2.69)
"""

_DICE_HMC = """
elastix             | reg | .84 | .50 | .74 | .75
Hybrid              | reg | .88 | .70 | .85 | .91
JRS-GAN             | reg | .86 | .61 | .82 | .88
Segmentation        | seg | .84 | .60 | .75 | .90
Registration        | reg | .85 | .62 | .79 | .82
JRS-registration    | reg | .87 | .67 | .83 | .87
Hard sharing        | seg | .87 | .70 | .84 | .94
Hard sharing        | reg | .86 | .68 | .82 | .87
Cross-stitch        | seg | .88 | .70 | .86 | .94
Cross-stitch        | reg | .87 | .68 | .84 | .88
"""

_DICE_EMC = """
elastix             | reg | .89 | .72 | .75 | .79
Hybrid              | reg | .88 | .77 | .80 | .85
Segmentation        | seg | .73 | .37 | .67 | .91
Registration        | reg | .83 | .64 | .72 | .75
JRS-registration    | reg | .84 | .67 | .76 | .79
Hard sharing        | seg | .83 | .55 | .78 | .88
Hard sharing        | reg | .83 | .66 | .76 | .79
Cross-stitch        | seg | .84 | .61 | .78 | .88
Cross-stitch        | reg | .84 | .68 | .77 | .80
"""

_HD95_HMC = """
elastix             | reg | 4.0 | 6.0 | 10.9 | 15.3
Hybrid              | reg | 2.9 | 3.8 | 7.7  | 5.7
JRS-GAN             | reg | 3.4 | 5.3 | 10.1 | 11.0
Segmentation        | seg | 4.4 | 8.6 | 16.5 | 6.9
Registration        | reg | 5.5 | 5.6 | 11.0 | 15.7
JRS-registration    | reg | 3.6 | 4.4 | 9.8  | 13.4
Hard sharing        | seg | 3.4 | 6.3 | 10.1 | 3.9
Hard sharing        | reg | 3.7 | 4.5 | 10.4 | 12.7
Cross-stitch        | seg | 3.0 | 4.3 | 9.5  | 3.3
Cross-stitch        | reg | 3.2 | 4.5 | 9.8  | 12.2
"""

_HD95_EMC = """
elastix             | reg | 3.6  | 4.6  | 11.3 | 16.1
Hybrid              | reg | 3.9  | 4.8  | 10.3 | 11.1
Segmentation        | seg | 10.7 | 21.4 | 30.5 | 11.2
Registration        | reg | 6.7  | 7.5  | 13.1 | 22.7
JRS-registration    | reg | 5.2  | 6.5  | 12.6 | 20.3
Hard sharing        | seg | 5.7  | 14.4 | 16.8 | 10.9
Hard sharing        | reg | 5.6  | 6.6  | 13.1 | 19.6
Cross-stitch        | seg | 5.8  | 12.2 | 17.0 | 10.8
Cross-stitch        | reg | 5.1  | 6.2  | 12.6 | 19.1
"""
