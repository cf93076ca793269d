"""What the network eats of a phantom: the service's own preparation on the region of a manifest."""

from pathlib import Path

import numpy as np

from imaging.alignment import align
from imaging.model import load_manifest
from imaging.plan import contour_points, grid_around, sort_plan
from imaging.preprocessing import model_inputs, network_region
from imaging.rasterize import rasterize
from phantom.case import CLINIC_A, make_case

COARSE_MM = (1.8, 1.8, 2.0)


def write_inputs(file: Path, folder: Path, *, seed: int) -> None:
    """Arrays `fixed`, `moving`, `moving_labels` as .npz, for the model in `folder`."""
    manifest = load_manifest(folder)
    case = make_case(seed, clinic=CLINIC_A, in_plane=256, slices=100, spacing_mm=COARSE_MM)
    plan = sort_plan(case.planning_structures, manifest, None)
    affine = align(fixed=case.daily, moving=case.planning)
    corners = contour_points(plan.carried, set(plan.organs))
    masks = rasterize(plan.carried, grid_around(contour_points(plan.carried), case.planning.geometry))
    inputs = model_inputs(
        daily=case.daily,
        planning=case.planning,
        organs=masks[0],
        label_of={number: organ.label for number, organ in plan.organs.items()},
        affine=affine,
        region=network_region(affine.to_fixed(corners), manifest).geometry,
        manifest=manifest,
    )
    np.savez(file, fixed=inputs.fixed, moving=inputs.moving, moving_labels=inputs.moving_labels)
