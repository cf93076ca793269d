"""elastix as in Qiao et al.: a B-spline that raises mutual information by adaptive stochastic gradient descent.

What is known of the settings comes from the group's published parameter files (SuperElastix/ElastixModelZoo, Par0035)
and from Qiao et al. 2019 (Front Oncol 9:1297): three resolutions, 10 mm final grid, 5,000 random samples drawn anew in
each of 500 iterations, 32 bins, and the fast estimate of the step size. The file for the prostate was never published;
the working grid, the window, the length of a step and the variations are ours. It starts from the affine that all
systems share.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from time import perf_counter
from typing import Any, ClassVar, Literal

import itk
import numpy as np
from numpy.typing import NDArray

from imaging.arrays import DvfVoxels, FloatVoxels, MaskVoxels
from imaging.geometry import VolumeGeometry
from training.baselines.region import BOX_MM, ScanPair, carried, deformation_of, pair_of
from training.evaluation.system import Contoured, HeldOutCase

Metric = Literal["mutual-information", "mean-squares"]
_METRICS = {"mutual-information": "AdvancedMattesMutualInformation", "mean-squares": "AdvancedMeanSquares"}


@dataclass(frozen=True)
class ElastixSettings:
    """One registration.

    Attributes:
        name: As it stands in tables.
        grid_mm: Distance of the control points at the finest resolution.
        resolutions: From coarse to fine; each halves the smoothing and the grid.
        iterations: Per resolution.
        samples: Random points per iteration and metric.
        bins: Of the joint histogram, along each axis.
        bending_weight: Of the bending energy penalty; 0 leaves it out.
        step_mm: How far the first step of a resolution may displace; elastix's own limit, one voxel, lets images that
            are almost aligned drift apart, because the estimated step grows as the gradient falls.
        spacing_mm: Of the working grid of both CTs.
        window_hu: Outside of this range Hounsfield units are clipped; None leaves them alone.
        seed: Of the random samples.
    """

    name: str
    grid_mm: float = 10.0
    resolutions: int = 3
    iterations: int = 500
    samples: int = 5000
    bins: int = 32
    bending_weight: float = 0.0
    step_mm: float = 1.0
    spacing_mm: float = 2.0
    window_hu: tuple[float, float] | None = None
    seed: int = 1


SOFT_TISSUE_HU = (-200.0, 300.0)
"""With it the bins of the histogram tell fat, muscle and bladder apart; ours."""

SETTINGS = (
    ElastixSettings("elastix Par0035"),
    ElastixSettings("elastix 10 mm", window_hu=SOFT_TISSUE_HU, iterations=250, samples=2000),
    ElastixSettings("elastix 6 mm", grid_mm=6.0, window_hu=SOFT_TISSUE_HU, iterations=250, samples=3000),
    ElastixSettings(
        "elastix 10 mm, 4 resolutions", resolutions=4, window_hu=SOFT_TISSUE_HU, iterations=250, samples=2000
    ),
)
"""What the comparison tries. The first has Par0035's numbers and the whole range of the CT; the others are ours."""


@dataclass(frozen=True)
class Effort:
    """How much of a method's settings is tried; all of them as they are, unless an experiment is to be quick.

    Attributes:
        settings: How many, first ones first; None for all.
        iterations: Per resolution, in the place of the settings' own; None leaves these.
    """

    settings: int | None = None
    iterations: int | None = None

    def of(self, settings: ElastixSettings) -> ElastixSettings:
        """The settings with the iterations that are wanted."""
        return settings if self.iterations is None else replace(settings, iterations=self.iterations)


WHOLE = Effort()


@dataclass(frozen=True, eq=False)
class Channel:
    """One pair of images that a registration makes alike.

    Attributes:
        fixed: (z, y, x) on the fixed grid.
        moving: (z, y, x) on the moving grid.
        metric: How alike is measured.
        weight: Of this metric in the sum.
    """

    fixed: FloatVoxels
    moving: FloatVoxels
    metric: Metric = "mutual-information"
    weight: float = 1.0


@dataclass(frozen=True)
class ElastixSystem:
    """The affine, then elastix on the two CTs.

    Attributes:
        settings: How.
        threads: How many elastix may use; the answer is the same for the same number.
    """

    settings: ElastixSettings
    threads: int = 1
    starts_slowly: ClassVar[bool] = False
    """What starts slowly is loaded before the time counts."""

    @property
    def name(self) -> str:
        """See `System.name`."""
        return self.settings.name

    @property
    def identity(self) -> str:
        """See `Identified.identity`."""
        return f"itk-elastix {version('itk-elastix')} {self!r} {BOX_MM}"

    def contour(self, case: HeldOutCase) -> Contoured:
        """See `System.contour`."""
        load_elastix()
        began = perf_counter()
        pair = pair_of(case, self.settings.spacing_mm)
        vectors = registered(pair, self.settings, threads=self.threads)
        return carried(case, deformation_of(pair, vectors), since=began)


def elastix_systems(threads: int = 1, *, effort: Effort = WHOLE) -> tuple[ElastixSystem, ...]:
    """One system for each of `SETTINGS`; the comparison keeps the one that is best on validation cases."""
    return tuple(ElastixSystem(effort.of(settings), threads) for settings in SETTINGS[: effort.settings])


def load_elastix() -> None:
    """Let ITK load its compiled modules: twelve seconds on the first call in a process, which are no case's time."""
    _ = itk.ElastixRegistrationMethod


def registered(pair: ScanPair, settings: ElastixSettings, *, threads: int) -> DvfVoxels:
    """The displacement (3, z, y, x) mm on `pair.fixed_grid` that makes the two CTs alike."""
    fixed, moving = pair.fixed, pair.moving
    if settings.window_hu is not None:
        fixed, moving = np.clip(fixed, *settings.window_hu), np.clip(moving, *settings.window_hu)
    return bspline([Channel(fixed, moving)], (pair.fixed_grid, pair.moving_grid), settings, threads=threads)[0]


def bspline(
    channels: Sequence[Channel],
    grids: tuple[VolumeGeometry, VolumeGeometry],
    settings: ElastixSettings,
    *,
    threads: int,
    mask: MaskVoxels | None = None,
    start: Any = None,
) -> tuple[DvfVoxels, Any]:
    """Run elastix.

    Args:
        channels: What to make alike; at least one.
        grids: Of the fixed and of the moving images.
        settings: How.
        threads: How many elastix may use; the result is the same for the same number.
        mask: (z, y, x) on the fixed grid; samples are drawn inside only.
        start: The second part of an earlier answer, whose transform comes first and stays as it is.

    Returns:
        (3, z, y, x) float32 millimetres on the fixed grid, pull-back, components (x, y, z), `start` included; and
        elastix's transform, to start another run from.

    Raises:
        RuntimeError: elastix gave up, for example because too few samples fall inside the moving image.
    """
    fixed_grid, moving_grid = grids
    count = len(channels) + (settings.bending_weight > 0)
    filled = [*channels, channels[0]][:count]
    images = [(_image(one.fixed, fixed_grid), _image(one.moving, moving_grid)) for one in filled]
    kind = type(images[0][0])
    method = itk.ElastixRegistrationMethod[kind, kind].New()
    for n, (fixed, moving) in enumerate(images):
        (method.SetFixedImage if n == 0 else method.AddFixedImage)(fixed)
        (method.SetMovingImage if n == 0 else method.AddMovingImage)(moving)
        if mask is not None:
            # Every metric draws its own samples, and would draw them everywhere without a mask of its own.
            where = _image(mask.astype(np.uint8), fixed_grid)
            (method.SetFixedMask if n == 0 else method.AddFixedMask)(where)
    if start is not None:
        method.SetInitialTransformParameterObject(start)
    parameters = itk.ParameterObject.New()
    parameters.AddParameterMap(parameter_map(channels, settings))
    method.SetParameterObject(parameters)
    method.SetNumberOfThreads(threads)
    method.SetLogToConsole(False)
    method.SetLogToFile(False)
    method.UpdateLargestPossibleRegion()
    return _field(method, images[0][0], threads), method.GetTransformParameterObject()


def parameter_map(channels: Sequence[Channel], settings: ElastixSettings) -> dict[str, list[str]]:
    """The settings in elastix's words."""
    metrics = [(_METRICS[one.metric], one.weight) for one in channels]
    if settings.bending_weight > 0:
        metrics.append(("TransformBendingEnergyPenalty", settings.bending_weight))
    factors = [str(2**n) for n in reversed(range(settings.resolutions))]
    several = len(metrics) > 1
    weights = {f"Metric{n}Weight": [str(weight)] for n, (_, weight) in enumerate(metrics)} if several else {}
    each = len(metrics)
    return {
        "Registration": ["MultiMetricMultiResolutionRegistration" if several else "MultiResolutionRegistration"],
        "FixedInternalImagePixelType": ["float"],
        "MovingInternalImagePixelType": ["float"],
        "FixedImagePyramid": ["FixedSmoothingImagePyramid"] * each,
        "MovingImagePyramid": ["MovingSmoothingImagePyramid"] * each,
        "ImagePyramidSchedule": [factor for factor in factors for _ in range(3)],
        "Interpolator": ["LinearInterpolator"] * each,
        "Metric": [name for name, _ in metrics],
        **weights,
        "NumberOfHistogramBins": [str(settings.bins)],
        "ImageSampler": ["RandomCoordinate"] * each,
        "NumberOfSpatialSamples": [str(settings.samples)],
        "NewSamplesEveryIteration": ["true"],
        # A sample that the displacement carries beyond the planning CT is left out, which is no reason to give up.
        "RequiredRatioOfValidSamples": ["0.05"],
        "Optimizer": ["AdaptiveStochasticGradientDescent"],
        "AutomaticParameterEstimation": ["true"],
        "ASGDParameterEstimationMethod": ["DisplacementDistribution"],
        "UseAdaptiveStepSizes": ["true"],
        "MaximumStepLength": [str(settings.step_mm)],
        "MaximumNumberOfIterations": [str(settings.iterations)],
        "Transform": ["BSplineTransform"],
        "FinalGridSpacingInPhysicalUnits": [str(settings.grid_mm)],
        "GridSpacingSchedule": factors,
        "HowToCombineTransforms": ["Compose"],
        "NumberOfResolutions": [str(settings.resolutions)],
        "RandomSeed": [str(settings.seed)],
        "Resampler": ["DefaultResampler"],
        "ResampleInterpolator": ["FinalLinearInterpolator"],
        "WriteResultImage": ["false"],
    }


def _image(voxels: FloatVoxels | NDArray[np.uint8], grid: VolumeGeometry) -> Any:
    """The array as an ITK image; ITK's axes are the grid's, LPS in the order x, y, z."""
    image = itk.image_from_array(np.ascontiguousarray(voxels))
    image.SetOrigin(grid.origin_mm)
    image.SetSpacing(grid.spacing_mm)
    return image


def _field(method: Any, reference: Any, threads: int) -> DvfVoxels:
    """The displacement of a finished registration at every voxel of an image."""
    vector_image = itk.Image[itk.Vector[itk.F, 3], 3]
    sampler = itk.TransformToDisplacementFieldFilter[vector_image, itk.D].New()
    # transformix would answer the same, but through a file in the working directory.
    sampler.SetTransform(method.ConvertToItkTransform(method.GetCombinationTransform()))
    sampler.SetReferenceImage(reference)
    sampler.UseReferenceImageOn()
    sampler.SetNumberOfWorkUnits(threads)
    sampler.Update()
    vectors = itk.array_from_image(sampler.GetOutput())
    return np.ascontiguousarray(np.moveaxis(vectors, -1, 0), dtype=np.float32)
