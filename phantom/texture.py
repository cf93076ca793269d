"""Fine structure of tissue: two periodic cubes of correlated noise that every patient samples in his own frame."""

from dataclasses import dataclass

import numpy as np

from imaging.arrays import FloatVoxels


@dataclass(frozen=True, eq=False)
class Textures:
    """Periodic noise of mean 0 and standard deviation 1; one cell is about a millimetre.

    Attributes:
        fine: Grain of about two cells.
        coarse: Grain of about six cells.
    """

    fine: FloatVoxels
    coarse: FloatVoxels


def draw_textures(rng: np.random.Generator) -> Textures:
    """Textures of one patient."""
    return Textures(_cube(rng, 0.35), _cube(rng, 0.11))


def _cube(rng: np.random.Generator, cut: float, size: int = 64) -> FloatVoxels:
    f = np.fft.fftfreq(size)[:, None, None] ** 2 + np.fft.fftfreq(size)[None, :, None] ** 2
    f = np.sqrt(f + np.fft.rfftfreq(size)[None, None, :] ** 2)
    shape = np.exp(-((f / cut) ** 2)) * (f / cut) ** 0.5
    spectrum = np.fft.rfftn(rng.standard_normal((size,) * 3, dtype=np.float32)) * shape
    cube = np.fft.irfftn(spectrum, s=(size,) * 3)
    return (cube / cube.std()).astype(np.float32)
