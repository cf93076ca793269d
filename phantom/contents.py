"""Gas and stool: drawn anew each day, in the frame of the day, without any correspondence between days."""

from dataclasses import dataclass

import numpy as np

from imaging.arrays import FloatVoxels
from imaging.geometry import VolumeGeometry
from imaging.transforms import Deformation
from phantom import shapes
from phantom.anatomy import CLOSE, Anatomy
from phantom.motion import to_planning
from phantom.organs import RECTAL_WALL_MM

_GRID = VolumeGeometry((84, 72, 68), (-100.0, -120.0, -95.0), (3.0, 3.0, 3.0))


@dataclass(frozen=True, eq=False)
class Contents:
    """Where the lumen holds gas on one day.

    Attributes:
        field: (z, y, x, 2) for rectum and bowel, positive where there is gas.
        geometry: Its grid, in the daily frame.
        froth: 0 to 1, how much small gas the stool holds.
        gas_fraction: Share of the rectal lumen that is gas.
    """

    field: FloatVoxels
    geometry: VolumeGeometry
    froth: float
    gas_fraction: float


def draw_contents(rng: np.random.Generator, anatomy: Anatomy, deformation: Deformation) -> Contents:
    """Contents of rectum and bowel on one day. Gas rises to the anterior side of a patient who lies on his back."""
    fraction = float(rng.beta(0.9, 2.0))
    _, y, _ = shapes.axes(_GRID)
    grid = np.meshgrid(*(_GRID.axis_mm(a) for a in "zyx"), indexing="ij")
    points = to_planning(deformation, np.stack(grid[::-1], axis=-1).reshape(-1, 3)).reshape(*_GRID.shape, 3)
    _, centre_y = anatomy.organs.axis.centre(points[..., 2])
    clumps = shapes.smooth_noise(rng, _GRID, length_mm=42)
    rectal = clumps + (centre_y - points[..., 1]) / 9.0
    lumen = shapes.sample(anatomy.organs.bowel_tube, CLOSE, points) < -RECTAL_WALL_MM
    rectal = rectal - np.quantile(rectal[lumen], 1.0 - fraction) if lumen.any() else rectal - 9.0
    bowel = shapes.smooth_noise(rng, _GRID, length_mm=30) - 1.3 - 0.01 * (y + 40)
    field = np.stack([rectal, np.broadcast_to(bowel, _GRID.shape)], axis=-1).astype(np.float32)
    return Contents(np.ascontiguousarray(field), _GRID, float(rng.uniform(0.1, 1.0)), fraction)
