"""Random motion of one side of a patch: smooth deformation, bladder filling, rigid residual.

Every motion says where a voxel of the new patch lies in the old one (pull-back), in voxels, components (x, y, z). They
are composed before anything is sampled, so that image and labels are interpolated once.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from training.augmentation_settings import Augmentation

Side = Literal["fixed", "moving"]

SMALLEST_BLADDER = 64
"""Voxels below which a bladder in the patch is too small a part to be filled."""


@dataclass(frozen=True)
class Deformation:
    """A cubic B-spline whose control displacements are uniform within +-`size_mm` per component, from `seed`."""

    side: Side
    size_mm: float
    grid_mm: float
    seed: int


@dataclass(frozen=True)
class Filling:
    """The bladder's volume times `volume`."""

    side: Side
    volume: float


@dataclass(frozen=True)
class Rigid:
    """Shift and rotation about the axes x, y, z through the centre of the patch, in this order."""

    side: Side
    shift_mm: tuple[float, float, float]
    angles_deg: tuple[float, float, float]


Motion = Deformation | Filling | Rigid


def draw_side(rng: np.random.Generator) -> Side:
    """Either side with the same chance."""
    return "fixed" if rng.random() < 0.5 else "moving"


def draw_motions(settings: Augmentation, rng: np.random.Generator) -> tuple[Motion, ...]:
    """The motions of one patch, none to all three."""
    motions: list[Motion] = []
    if rng.random() < settings.deformation_probability:
        size, grid = rng.uniform(0, settings.deformation_mm), rng.uniform(*settings.deformation_grid_mm)
        motions.append(Deformation(draw_side(rng), size, grid, int(rng.integers(2**31))))
    if rng.random() < settings.bladder_probability:
        low, high = settings.bladder_volume
        motions.append(Filling(draw_side(rng), math.exp(rng.uniform(math.log(low), math.log(high)))))
    if rng.random() < settings.rigid_probability:
        x, y, z = rng.uniform(-settings.rigid_mm, settings.rigid_mm, size=3).tolist()
        a, b, c = rng.uniform(-settings.rigid_deg, settings.rigid_deg, size=3).tolist()
        motions.append(Rigid(draw_side(rng), (x, y, z), (a, b, c)))
    return tuple(motions)


def move(
    image: Tensor, labels: Tensor, motions: tuple[Motion, ...], *, spacing_mm: float, bladder_label: int
) -> tuple[Tensor, Tensor]:
    """One side of one patch after its motions.

    The bladder is filled first, then the anatomy is moved rigidly, then deformed. Beyond the patch its edge repeats.

    Args:
        image: (1, 1, z, y, x) float32.
        labels: The same shape, uint8.
        motions: At most one of each kind; which side they name is not looked at.
        spacing_mm: Isotropic.
        bladder_label: In `labels`.

    Returns:
        The image, trilinear, and the labels, nearest.
    """
    shape = (image.shape[2], image.shape[3], image.shape[4])
    points = voxels = _voxel_points(shape, image.device)
    # A pull-back reads backwards: the motion that comes last moves the points first.
    for kind in (Deformation, Rigid, Filling):
        for motion in motions:
            if isinstance(motion, kind):
                points = _source(points, motion, labels, spacing_mm=spacing_mm, bladder_label=bladder_label)
    if points is voxels:  # there was no bladder to fill; sampling would round
        return image, labels
    size = torch.tensor(shape[::-1], device=points.device, dtype=points.dtype)
    grid = (2 * points / (size - 1) - 1)[None]
    moved = F.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=True)
    carried = F.grid_sample(labels.float(), grid, mode="nearest", padding_mode="border", align_corners=True)
    return moved, carried.to(labels.dtype)


def bspline_field(controls: Tensor, shape: tuple[int, int, int], *, step: float) -> Tensor:
    """A uniform cubic B-spline on every voxel of a grid.

    Args:
        controls: (3, kz, ky, kx) displacements; the second control of an axis lies on the first voxel. As many as
            `control_counts` says.
        shape: Voxels (z, y, x).
        step: Voxels from one control to the next.

    Returns:
        (z, y, x, 3) in the unit of the controls, nowhere larger than the largest of them.
    """
    bases = [_basis(n, k, step, controls.device) for n, k in zip(shape, controls.shape[1:], strict=True)]
    along_x = torch.einsum("czyx,ax->czya", controls, bases[2])
    along_y = torch.einsum("czya,by->czba", along_x, bases[1])
    return torch.einsum("czba,dz->dbac", along_y, bases[0])


def control_counts(shape: tuple[int, int, int], step: float) -> tuple[int, int, int]:
    """Controls per axis (z, y, x) that reach every voxel."""
    z, y, x = (int((n - 1) / step) + 4 for n in shape)
    return z, y, x


def filling_scale(radius: Tensor, volume: float) -> Tensor:
    """Source radius over radius when a ball of radius 1 grows to `volume` times its size.

    Inside, everything is scaled by volume^(1/3). Outside, tissue keeps its volume, r_source^3 = r^3 - (volume - 1), so
    its displacement falls with the square of the distance and no volume factor folds.
    """
    return (1 - (volume - 1) / radius.pow(3).clamp(min=volume)).pow(1 / 3)


def _source(points: Tensor, motion: Motion, labels: Tensor, *, spacing_mm: float, bladder_label: int) -> Tensor:
    if isinstance(motion, Deformation):
        return points + _random_field(motion, points, spacing_mm) / spacing_mm
    if isinstance(motion, Rigid):
        return _turned(points, motion, spacing_mm)
    return _filled(points, labels[0, 0] == bladder_label, motion.volume)


def _random_field(motion: Deformation, points: Tensor, spacing_mm: float) -> Tensor:
    shape = (points.shape[0], points.shape[1], points.shape[2])
    step = motion.grid_mm / spacing_mm
    # numpy draws on the CPU: the field is the same on every device, and the controls are few.
    drawn = np.random.default_rng(motion.seed).uniform(-1, 1, size=(3, *control_counts(shape, step)))
    controls = torch.from_numpy(motion.size_mm * drawn).to(points.device, torch.float32)
    return bspline_field(controls, shape, step=step)


def _turned(points: Tensor, motion: Rigid, spacing_mm: float) -> Tensor:
    matrix = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(motion.angles_deg)):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(3)
        turn[first, first] = turn[second, second] = np.cos(angle)
        turn[second, first], turn[first, second] = np.sin(angle), -np.sin(angle)
        matrix = turn @ matrix
    # Anatomy goes by matrix and shift, points come from the inverse.
    inverse = torch.from_numpy(matrix.T.copy()).to(points)
    shift = torch.tensor(motion.shift_mm, device=points.device) / spacing_mm
    centre = (torch.tensor(points.shape[2::-1], device=points.device) - 1) / 2
    return (points - centre - shift) @ inverse.T + centre


def _filled(points: Tensor, bladder: Tensor, volume: float) -> Tensor:
    """Radial about the centroid, in units of the ellipsoid that has the bladder's second moments."""
    inside = bladder.nonzero().flip(1).to(points.dtype)  # (n, 3), components (x, y, z)
    if len(inside) < SMALLEST_BLADDER:
        return points
    centre = inside.mean(0)
    away = inside - centre
    # A solid ellipsoid has a fifth of its squared semi-axes as variance; a voxel adds its own extent.
    squares = 5 * (away.T @ away / len(inside) + torch.eye(3, device=points.device) / 12)
    offset = points - centre
    radius = ((offset @ torch.linalg.inv(squares)) * offset).sum(-1, keepdim=True).clamp(min=0).sqrt()
    return centre + filling_scale(radius, volume) * offset


def _voxel_points(shape: tuple[int, int, int], device: torch.device) -> Tensor:
    """(z, y, x, 3), components (x, y, z)."""
    axes = [torch.arange(count, device=device, dtype=torch.float32) for count in shape]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    return torch.stack([x, y, z], dim=-1)


def _basis(voxels: int, controls: int, step: float, device: torch.device) -> Tensor:
    """(voxels, controls): the share of each control in each voxel; rows sum to 1."""
    position = torch.arange(voxels, dtype=torch.float64) / step + 1
    away = (position[:, None] - torch.arange(controls, dtype=torch.float64)).abs()
    near = 2 / 3 - away**2 + away**3 / 2
    far = (2 - away).clamp(min=0) ** 3 / 6
    return torch.where(away < 1, near, far).to(device, torch.float32)
