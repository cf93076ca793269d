"""The affine of our own beside SimpleITK's, in one run: error on virtual patients, overlap on a real CT, time of both.

python -m bench.alignment [--patients 3] [--setups 4]

Each daily CT is moved further by known set-up errors of up to 40 mm and 6 degrees. Both methods get the same block
means; SimpleITK starts from the shift that lays body centre on body centre.
"""

import argparse
import time
from statistics import median

import numpy as np

from bench.real_case import RealCase, cort_liver, mean_without_outline
from imaging.alignment import COARSE_MM, align_with_report
from imaging.alignment_simpleitk import affine_by_simpleitk
from imaging.errors import RegistrationRejected
from imaging.geometry import VolumeGeometry
from imaging.resampling import resample
from imaging.transforms import AffineTransform, Deformation
from imaging.volume import Volume
from phantom.case import CLINIC_A, CLINIC_B, make_case

REACH_MM, REACH_DEG = 40.0, 6.0


def random_setup(rng: np.random.Generator, centre: tuple[float, float, float]) -> AffineTransform:
    """A rotation about the centre of the scan and a shift."""
    x, y, z = np.radians(rng.uniform(-REACH_DEG, REACH_DEG, 3))
    about_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_z = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3] = about_z @ about_y @ about_x
    matrix[:3, 3] = np.asarray(centre) - matrix[:3, :3] @ centre + rng.uniform(-REACH_MM, REACH_MM, 3)
    return AffineTransform(matrix)


def moved(daily: Volume, setup: AffineTransform) -> Volume:
    return Volume(np.round(resample(daily, daily.geometry, to_source=setup)).astype(np.int16), daily.geometry)


def ours(fixed: Volume, moving: Volume) -> AffineTransform:
    return align_with_report(fixed=fixed, moving=moving)[0]


def simpleitk(fixed: Volume, moving: Volume) -> AffineTransform:
    levels = []
    for volume in (fixed, moving):
        fine = volume.compared
        levels.append((fine.coarsened((COARSE_MM,) * 3), fine))
    start = np.eye(4)
    start[:3, 3] = _body_centre(levels[1][0]) - _body_centre(levels[0][0])
    return AffineTransform(affine_by_simpleitk(fixed=levels[0], moving=levels[1], start=start))


def _body_centre(volume: Volume) -> np.ndarray:
    return volume.geometry.to_lps(np.array([np.mean(np.nonzero(volume.hu > -350), axis=1)[::-1]]))[0]


METHODS = {"Gauss-Newton": ours, "SimpleITK": simpleitk}


def error_mm(found: AffineTransform, true: AffineTransform, geometry: VolumeGeometry) -> float:
    """Mean distance over a box of 200 mm about the scan's centre."""
    corners = np.array(np.meshgrid(*[[-100.0, 0.0, 100.0]] * 3)).reshape(3, -1).T + geometry.centre_mm
    return float(np.linalg.norm(found.to_moving(corners) - true.to_moving(corners), axis=1).mean())


def mean_dice(case: RealCase, affine: AffineTransform, setup: AffineTransform) -> float:
    """Without BODY; the affine of the moved scan, brought back to the grid of the truth."""
    back = AffineTransform(affine.matrix @ np.linalg.inv(setup.matrix))
    return mean_without_outline(case.carried(Deformation(back)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=3)
    parser.add_argument("--setups", type=int, default=4)
    options = parser.parse_args()
    rng = np.random.default_rng(7)
    seconds: dict[str, list[float]] = {name: [] for name in METHODS}
    scores: dict[tuple[str, str], list[float]] = {}

    def run(kind: str, fixed: Volume, moving: Volume, score) -> None:
        for name, method in METHODS.items():
            start = time.perf_counter()
            try:
                value = score(method(fixed, moving))
            except RegistrationRejected as error:
                print(kind, name, "rejected:", error)
                value = float("nan")
            seconds[name].append(time.perf_counter() - start)
            scores.setdefault((kind, name), []).append(value)

    for seed in range(options.patients):
        case = make_case(70 + seed, clinic=(CLINIC_A, CLINIC_B)[seed % 2], in_plane=256)
        true = case.deformation.affine
        for number in range(options.setups):
            setup = AffineTransform.identity() if number == 0 else random_setup(rng, case.daily.geometry.centre_mm)
            fixed = moved(case.daily, setup)
            there = AffineTransform(true.matrix @ setup.matrix)
            run("phantom, error mm", fixed, case.planning, lambda a, t=there, g=fixed.geometry: error_mm(a, t, g))
    for hard in (False, True):
        real = cort_liver(hard=hard)
        for number in range(options.setups):
            setup = (
                AffineTransform.identity() if number == 0 else random_setup(rng, real.daily.volume.geometry.centre_mm)
            )
            kind = "cort-liver hard, Dice" if hard else "cort-liver, Dice"
            fixed = moved(real.daily.volume, setup)
            run(kind, fixed, real.planning.volume, lambda a, c=real, s=setup: mean_dice(c, a, s))
    print("| material | method | median | worst | rejected |\n|---|---|---|---|---|")
    for (kind, name), values in scores.items():
        worst = np.nanmax(values) if "error" in kind else np.nanmin(values)
        print(f"| {kind} | {name} | {np.nanmedian(values):.3f} | {worst:.3f} | {int(np.isnan(values).sum())} |")
    ratio = median(b / a for a, b in zip(seconds["Gauss-Newton"], seconds["SimpleITK"], strict=True))
    print(f"SimpleITK takes {ratio:.1f} times as long (median of {len(seconds['SimpleITK'])} pairs)")


if __name__ == "__main__":
    main()
