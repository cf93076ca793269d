"""The affine by SimpleITK: the second opinion, asked for when the Gauss-Newton does not pass its success test."""

import numpy as np
import SimpleITK as sitk

from imaging.arrays import Matrix4
from imaging.transforms import AffineTransform
from imaging.volume import Volume

SAMPLED_PART = 0.05
SEED = 1
LOWER_HU, UPPER_HU = -400, 400
LEAST_VOXELS = 4
"""SimpleITK's gradients need this many voxels along every axis."""


def affine_by_simpleitk(*, fixed: tuple[Volume, Volume], moving: tuple[Volume, Volume], start: Matrix4) -> Matrix4:
    """Correlation of clipped HU at 5 % of the voxels, regular step gradient descent, coarse grid then fine grid.

    Args:
        fixed: The daily CT as block means, (coarse, fine).
        moving: The planning CT likewise.
        start: (4, 4) first guess, from the fixed to the moving patient.

    Returns:
        (4, 4) from the fixed to the moving patient; nothing is checked here. The start itself where no grid has
        enough voxels.

    Raises:
        RuntimeError: The scans do not meet, or too few samples remain.
    """
    transform = sitk.AffineTransform(3)
    transform.SetCenter(fixed[0].geometry.centre_mm)
    transform.SetMatrix(start[:3, :3].ravel().tolist())
    centre = np.asarray(fixed[0].geometry.centre_mm)
    transform.SetTranslation((start[:3, :3] @ centre + start[:3, 3] - centre).tolist())
    for fixed_level, moving_level in zip(fixed, moving, strict=True):
        if min(*fixed_level.geometry.shape, *moving_level.geometry.shape) < LEAST_VOXELS:
            continue
        method = sitk.ImageRegistrationMethod()
        method.SetMetricAsCorrelation()
        method.SetMetricSamplingStrategy(method.RANDOM)
        method.SetMetricSamplingPercentage(SAMPLED_PART, SEED)
        method.SetInterpolator(sitk.sitkLinear)
        method.SetOptimizerAsRegularStepGradientDescent(
            learningRate=2.0, minStep=0.01, numberOfIterations=100, relaxationFactor=0.6
        )
        method.SetOptimizerScalesFromPhysicalShift()
        method.SetInitialTransform(transform, inPlace=True)
        # Sums over threads come in no fixed order; one thread gives the same affine every time.
        method.SetNumberOfThreads(1)
        method.Execute(_image(fixed_level), _image(moving_level))
    linear = np.array(transform.GetMatrix()).reshape(3, 3)
    matrix = np.eye(4)
    matrix[:3, :3] = linear
    matrix[:3, 3] = np.array(transform.GetTranslation()) + centre - linear @ centre
    return AffineTransform(matrix).matrix


def _image(volume: Volume) -> sitk.Image:
    image = sitk.GetImageFromArray(np.clip(volume.hu, LOWER_HU, UPPER_HU).astype(np.float32))
    image.SetOrigin(volume.geometry.origin_mm)
    image.SetSpacing(volume.geometry.spacing_mm)
    return image
