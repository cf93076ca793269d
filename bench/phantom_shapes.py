"""The phantom's organs beside those of one real man: the CORT prostate case (post-operative, shapes without a CT).

python -m bench.phantom_shapes [--patients 12]

Volumes and extents come from masks on 3 mm voxels. Places are centroids relative to the middle between the femoral
heads. Of the real case the prostate bed stands where the phantom has a prostate.
"""

import argparse

import numpy as np

from bench.real_case import SHARED
from imaging.geometry import VolumeGeometry
from imaging.rasterize import mask_of, rasterize
from phantom.case import CLINIC_A, CLINIC_B, VirtualPatient

NAMES = {
    "Bladder": "Bladder",
    "Rectum": "Rectum",
    "Prostate": "prostate_bed",
    "PenileBulb": "Penile_bulb",
    "Femur_Head_L": "Lt_femoral_head",
    "Femur_Head_R": "Rt_femoral_head",
    "BODY": "BODY",
}
HEADS = ("Femur_Head_L", "Femur_Head_R")
COLUMNS = ("cc", "LR", "AP", "SI", "x", "y", "z")


def numbers(masks: dict[str, np.ndarray], grid: VolumeGeometry) -> dict[str, list[float]]:
    """Per organ: volume in cc, extents in mm, centroid relative to the middle of the heads in mm."""
    found = {}
    centroids = {}
    for name, mask in masks.items():
        index = np.argwhere(mask)[:, ::-1]
        size = (index.max(axis=0) - index.min(axis=0) + 1) * grid.spacing_mm
        centroids[name] = grid.to_lps(index.mean(axis=0)[None])[0]
        found[name] = [mask.sum() * grid.voxel_cc, *size]
    middle = (centroids[HEADS[0]] + centroids[HEADS[1]]) / 2
    return {name: [*values, *(centroids[name] - middle)] for name, values in found.items()}


def real() -> dict[str, list[float]] | None:
    file = SHARED / "data" / "cort-prostate-shapes.npz"
    if not file.is_file():
        return None
    with np.load(file) as stored:
        masks = {name: stored[theirs] for name, theirs in NAMES.items()}
        z, y, x = (float(v) for v in stored["spacing_zyx"])
    return numbers(masks, VolumeGeometry(masks["BODY"].shape, (0.0, 0.0, 0.0), (x, y, z)))


def virtual(seed: int) -> dict[str, list[float]]:
    patient = VirtualPatient(seed, (CLINIC_A, CLINIC_B)[seed % 2])
    scan = patient.planning(in_plane=154, spacing_mm=(3.0, 3.0, 3.0))
    masks = rasterize(scan.structures, scan.volume.geometry)
    number = {roi.name: roi.number for roi in scan.structures.rois}
    return numbers({name: mask_of(masks, number[name]) for name in NAMES}, scan.volume.geometry)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=12)
    patients = [virtual(400 + seed) for seed in range(parser.parse_args().patients)]
    one_real = real()
    print("| organ | whose | " + " | ".join(COLUMNS) + " |\n|---|---|" + "---|" * len(COLUMNS))
    for name in NAMES:
        columns = np.array([patient[name] for patient in patients])
        lower, upper = columns.min(axis=0), columns.max(axis=0)
        print(
            f"| {name} | virtual, {len(patients)} | " + " | ".join(map("{:.0f} to {:.0f}".format, lower, upper)) + " |"
        )
        if one_real:
            print("| | real | " + " | ".join(f"{value:.0f}" for value in one_real[name]) + " |")


if __name__ == "__main__":
    main()
