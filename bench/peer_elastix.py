"""elastix's own affine with the settings that it ships as default, on block means of both scans."""

import itk
import numpy as np
import SimpleITK as sitk

from bench.peer_methods import Scans
from imaging.transforms import AffineTransform
from imaging.volume import Volume

SPACING_MM = 2.0


def affine_by_elastix(scans: Scans, threads: int) -> AffineTransform:
    """From the daily to the planning patient."""
    fixed, moving = (_image(volume) for volume in (scans.daily, scans.planning))
    method = itk.ElastixRegistrationMethod[type(fixed), type(moving)].New()
    method.SetFixedImage(fixed)
    method.SetMovingImage(moving)
    parameters = itk.ParameterObject.New()
    parameters.AddParameterMap(parameters.GetDefaultParameterMap("affine"))
    method.SetParameterObject(parameters)
    method.SetNumberOfThreads(threads)
    method.SetLogToConsole(False)
    method.SetLogToFile(False)
    method.UpdateLargestPossibleRegion()
    found = method.GetTransformParameterObject().GetParameterMap(0)
    numbers = np.array([float(number) for number in found["TransformParameters"]])
    centre = np.array([float(number) for number in found["CenterOfRotationPoint"]])
    matrix = np.eye(4)
    matrix[:3, :3] = numbers[:9].reshape(3, 3)
    matrix[:3, 3] = numbers[9:] + centre - matrix[:3, :3] @ centre
    return AffineTransform(matrix)


def _image(volume: Volume) -> itk.Image:
    image = sitk.GetImageFromArray(volume.hu.astype(np.float32))
    image.SetOrigin(volume.geometry.origin_mm)
    image.SetSpacing(volume.geometry.spacing_mm)
    factors = [max(1, round(SPACING_MM / step)) for step in volume.geometry.spacing_mm]
    image = sitk.BinShrink(image, factors)
    found = itk.image_from_array(sitk.GetArrayFromImage(image))
    found.SetOrigin(image.GetOrigin())
    found.SetSpacing(image.GetSpacing())
    return found
