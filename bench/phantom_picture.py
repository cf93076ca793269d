"""A virtual patient at both clinics, planning and daily CT, with the true contours: docs/phantom.png.

python -m bench.phantom_picture [--seed 303] [--out docs/phantom.png]
"""

import argparse

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

from phantom.case import CLINIC_A, CLINIC_B, PhantomCase, make_case

COLOURS = ("#ffd60a", "#ff7b00", "#00d4ff", "#ff2e93")
LEVEL_HU, WIDTH_HU = 40, 400


def planes(hu: np.ndarray, labels: np.ndarray) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Axial through prostate and seminal vesicles, sagittal and coronal through the prostate; head up."""
    prostate = np.round(np.argwhere(labels == 4).mean(axis=0)).astype(int)
    vesicles = np.round(np.argwhere(labels == 3).mean(axis=0)).astype(int)
    return [
        ("prostate", hu[prostate[0]], labels[prostate[0]]),
        ("seminal vesicles", hu[vesicles[0]], labels[vesicles[0]]),
        ("sagittal", hu[::-1, :, prostate[2]], labels[::-1, :, prostate[2]]),
        ("coronal", hu[::-1, prostate[1]], labels[::-1, prostate[1]]),
    ]


def draw(cases: list[PhantomCase], out: str) -> None:
    figure, axes = plt.subplots(2 * len(cases), 4, figsize=(16, 6.2 * len(cases)), facecolor="black")
    for row, case in enumerate(cases):
        for day, (volume, labels) in enumerate(
            [(case.planning, case.planning_labels), (case.daily, case.daily_labels)]
        ):
            x, y, z = volume.geometry.spacing_mm
            for axis, (title, hu, label), aspect in zip(
                axes[2 * row + day], planes(volume.hu, labels), (y / x, y / x, z / y, z / x), strict=True
            ):
                axis.imshow(hu, cmap="gray", vmin=LEVEL_HU - WIDTH_HU / 2, vmax=LEVEL_HU + WIDTH_HU / 2, aspect=aspect)
                for number, colour in enumerate(COLOURS, start=1):
                    if (label == number).any():
                        axis.contour(label == number, [0.5], colors=colour, linewidths=0.8)
                axis.set_title(
                    f"clinic {case.clinic.name}, {'daily' if day else 'planning'}: {title}", color="white", fontsize=9
                )
                axis.axis("off")
    figure.tight_layout()
    figure.savefig(out, dpi=80, facecolor="black")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=303)
    parser.add_argument("--out", default="docs/phantom.png")
    options = parser.parse_args()
    draw([make_case(options.seed + n, clinic=clinic) for n, clinic in enumerate((CLINIC_A, CLINIC_B))], options.out)


if __name__ == "__main__":
    main()
