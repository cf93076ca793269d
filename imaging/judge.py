"""How alike both CTs are under a field, place by place, which decides what step carries which place.

Gas is no witness (docs/decisions/0013-gas-no-witness.md). Who judges the local fit looks nearly as closely as it did
(docs/decisions/0015-finer-judge.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from imaging.arrays import DvfVoxels, FloatVoxels
from imaging.displacement import reached
from imaging.gas import PAINT, beside_paint, without_gas
from imaging.geometry import VolumeGeometry
from imaging.refinement import described_at
from imaging.resampling import resample, resample_deformed
from imaging.similarity import NOISE_HU, REACH, describe, local_distance
from imaging.transforms import AffineTransform, DisplacementField
from imaging.volume import Volume

JUDGED_OVER_MM = 8.0
"""Standard deviation of the neighbourhood over which steps are compared."""

FINE_MM = 2.8
FINE_NOISE_HU = 12.0
"""Differences of this size are noise of CTs whose voxels were averaged to no more than `FINE_MM`."""
MOST_VOXELS = 1_000_000
"""A larger region is judged more coarsely, because the treatment machine waits."""

FINE_REACH = 1
"""Of 4 mm around paint: a descriptor of `FINE_MM` looks 5.6 mm far."""


@dataclass(frozen=True, eq=False)
class ComparedPair:
    """Both CTs' means, as they are and without gas.

    Attributes:
        daily: Means of the daily CT.
        planning: The same of the planning CT.
        fixed: `daily` with its gas painted over.
        moving: `planning` with its gas painted over.
    """

    daily: Volume
    planning: Volume
    fixed: Volume
    moving: Volume

    @classmethod
    def of(cls, daily: Volume, planning: Volume) -> "ComparedPair":
        """The pair of two CTs' means."""
        return cls(daily, planning, without_gas(daily), without_gas(planning))

    def paint(self, reach: int) -> tuple[Volume, Volume]:
        """Where there is paint at most `reach` voxels away, on the daily and on the planning CT; see `beside_paint`."""
        return beside_paint(self.daily, self.fixed, reach), beside_paint(self.planning, self.moving, reach)


class Judge:
    """Local distance of the fixed image and the moving image under fields on one grid, by what is not beside paint."""

    def __init__(  # noqa: PLR0917
        self,
        fixed: Volume,
        moving: Volume,
        paint: tuple[Volume, Volume],
        affine: AffineTransform,
        grid: VolumeGeometry,
        noise_hu: float = NOISE_HU,
    ) -> None:
        self.grid = grid
        self._moving, self._affine, self._noise_hu = moving, affine, noise_hu
        self._described = described_at(fixed, grid, noise_hu=noise_hu)
        self._clear = resample(paint[0], grid) < PAINT / 2
        self._paint = paint[1]

    def distance(self, vectors: DvfVoxels) -> FloatVoxels:
        """Mean share of unequal bits around each voxel of the grid."""
        field = DisplacementField(vectors, self.grid)
        hu, seen = resample_deformed(self._moving, field, affine=self._affine)
        clear = resample_deformed(self._paint, field, affine=self._affine)[0] < PAINT / 2
        described = describe(hu, noise_hu=self._noise_hu)
        sigma_voxels = JUDGED_OVER_MM / self.grid.spacing_mm[0]
        return local_distance(self._described, described, seen & clear & self._clear, sigma_voxels=sigma_voxels)


def judge_of(pair: ComparedPair, affine: AffineTransform, grid: VolumeGeometry) -> Judge:
    """Who looks at the means without gas."""
    return Judge(pair.fixed, pair.moving, pair.paint(REACH), affine, grid)


def fine_judge_of(
    daily: Volume,
    planning: Volume,
    pair: ComparedPair,
    affine: AffineTransform,
    fields: Sequence[DisplacementField],
) -> Judge:
    """Who looks at the CTs more closely, on a grid of his own over that of some fields.

    Args:
        daily: The daily CT.
        planning: The planning CT.
        pair: Their means, which say where gas is.
        affine: From the daily to the planning patient.
        fields: All that he will be asked for.
    """
    region = fields[0].geometry
    grid = region.covering((max(FINE_MM, region.edge_mm(MOST_VOXELS)),) * 3)
    fixed = daily.coarsened((FINE_MM,) * 3, grid.box)
    moving = planning.coarsened((FINE_MM,) * 3, reached(affine, fields, 2 * grid.spacing_mm[0]))
    return Judge(fixed, moving, pair.paint(FINE_REACH), affine, grid, FINE_NOISE_HU)
