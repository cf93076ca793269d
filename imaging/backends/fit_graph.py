"""The local fit's steps as an ONNX graph whose images stay on the GPU between steps.

The file beside this one is written by `training.fit_graph`. Its inputs, float32 unless said otherwise, with the daily
grid's voxels (d, h, w), their blocks (bd, bh, bw) and the planning CT's voxels (z, y, x):

| here | (1, d, h, w) soft HU of the daily CT |
| moving | (1, z, y, x) int16 HU of the planning CT |
| vectors | (3, bd, bh, bw) shifts so far, in millimetres |
| turned | (3, 3) from millimetres to places in `moving`, which run from -1 to 1 along each axis (x, y, z) |
| base_z, base_y, base_x | (3, d, 1, 1), (3, 1, h, 1), (3, 1, 1, w): their sum is the place of each unshifted voxel |
| limit | (3, 1, 1, 1) the largest place that the planning CT holds |
| doubling_* | (d, bd), (h, bh), (bw, w): from blocks to voxels |
| slope_* | (d, d), (h, h), (w, w): central differences of the mean of two images, per millimetre |
| window_* | (bd, d), (bh, h), (w, bw): means over blocks, then the Gaussian window |
| longest | (1,) millimetres that no component of a step exceeds |
| slower | (1,) 1 where only long steps are taken, 0 otherwise |

Its output `moved` is `vectors` with the step added. A matrix for x stands on the right of what it is applied to.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imaging.arrays import DvfVoxels
from imaging.backends.onnx_runtime import DEVICE_FAULTS, on_device, open_session
from imaging.errors import ProviderUnavailable
from imaging.geometry import VolumeGeometry
from imaging.local_fit import LOWER_HU, STRIDE, UPPER_HU, Level, LevelStart, NewtonSteps, compiled_steps
from imaging.smoothing import gaussian, smooth
from imaging.transforms import AffineTransform
from imaging.volume import Volume

FILE = Path(__file__).with_name("local_fit.onnx")
INPUTS = (
    *("here", "moving", "vectors", "turned", "base_z", "base_y", "base_x", "limit"),
    *(f"{what}_{axis}" for what in ("doubling", "slope", "window") for axis in "zyx"),
    *("longest", "slower"),
)
OUTPUT = "moved"
LOST = (
    "the device failed in the refinement's steps and nothing was contoured: try again, and if it fails again "
    "let them run on the CPU (RECONTOUR_REFINEMENT_DEVICE=cpu)"
)

Matrix = NDArray[np.float32]


class GraphSteps:
    """`imaging.local_fit.NewtonSteps` on ONNX Runtime.

    Raises:
        ProviderUnavailable: If `cuda` is asked for and the session does not run there.
    """

    def __init__(self, *, cuda: bool, threads: int = 0) -> None:
        self._device = "cuda" if cuda else "cpu"
        # TF32 would round the shifts to a thousandth. No two patients have the same region, so that memory which is
        # planned for each shape, or grows by what is asked for, would grow with each of them.
        self._session = open_session(
            FILE,
            cuda=cuda,
            threads=threads,
            plan_memory=False,
            use_tf32="0",
            arena_extend_strategy="kNextPowerOfTwo",
        )

    def __call__(self, start: LevelStart) -> DvfVoxels:
        """The shifts after the level's steps.

        Raises:
            ProviderUnavailable: If the device fails during a step.
        """
        level = start.level
        inputs: dict[str, NDArray[np.generic]] = {
            "here": start.here[None],
            "moving": start.source.hu[None],
            **_places(start.grid, start.source.geometry, start.affine),
            **_matrices(start.here.shape, level),
            "longest": np.array([level.spacing_mm], dtype=np.float32),
        }
        try:
            binding = self._session.io_binding()
            for name, array in inputs.items():
                binding.bind_ortvalue_input(name, on_device(array, self._device))
            moved = on_device(start.vectors, self._device)
            slower = [on_device(np.array([flag], dtype=np.float32), self._device) for flag in (0, 1)]
            for n in range(level.steps + level.more):
                binding.bind_ortvalue_input("vectors", moved)
                binding.bind_ortvalue_input("slower", slower[n >= level.steps])
                binding.bind_output(OUTPUT, self._device)
                self._session.run_with_iobinding(binding)
                (moved,) = binding.get_outputs()
            return moved.numpy()
        except (*DEVICE_FAULTS, RuntimeError, MemoryError) as error:
            # Copies to the device and back raise Python's own errors.
            raise ProviderUnavailable(LOST) from error


def difference_mm(steps: NewtonSteps) -> float:
    """The largest difference between some steps and the compiled ones, on made-up images."""
    rng = np.random.default_rng(seed=7)
    # Small, because a voxel at the very edge of gas or of the scan may fall to either side by rounding.
    grid = VolumeGeometry((15, 18, 21), (-160.0, -54.0, 845.0), (3.0, 3.0, 3.0))
    blocks = grid.in_blocks(STRIDE).shape
    pattern = smooth(rng.normal(0, 2500, (1, *grid.shape)).astype(np.float32), 2.0)[0]
    turn, corner = np.eye(3) + rng.normal(0, 0.02, (3, 3)), np.array(grid.origin_mm)
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn, corner - turn @ corner
    start = LevelStart(
        here=np.clip(pattern, np.float32(LOWER_HU), np.float32(UPPER_HU)),
        grid=grid,
        source=Volume(np.roll(pattern, 1, axis=(0, 1, 2)).astype(np.int16), grid),
        affine=AffineTransform(matrix),
        vectors=smooth(rng.normal(0, 8, (3, *blocks)).astype(np.float32), 1.5),
        level=Level(3.0, 8.0, steps=2, more=1),
    )
    return float(np.abs(steps(start) - compiled_steps(start)).max())


def _places(grid: VolumeGeometry, source: VolumeGeometry, affine: AffineTransform) -> dict[str, Matrix]:
    """Where the grid's voxels lie in the source, as the graph's look-up counts."""
    last = np.array(source.shape[::-1]) - 1.0
    # An axis of one voxel has no ends to lie between; all of it is 0, and its sides are 1 away.
    scale = np.where(last > 0, 2 / np.maximum(last, 1), 2.0)
    to_places = np.diag([*scale, 1.0]) @ source.lps_to_index @ affine.matrix
    to_places[:3, 3] -= last > 0
    # From the grid's corner on, because the millimetres of a patient may be large and cancel.
    x, y, z = (grid.axis_mm(axis) - origin for axis, origin in zip("xyz", grid.origin_mm, strict=True))
    base_z = to_places[:3, 2, None] * z + (to_places @ [*grid.origin_mm, 1.0])[:3, None]
    places = {
        "turned": to_places[:3, :3],
        "base_z": base_z[:, :, None, None],
        "base_y": (to_places[:3, 1, None] * y)[:, None, :, None],
        "base_x": (to_places[:3, 0, None] * x)[:, None, None, :],
        "limit": ((last > 0) + scale / 2)[:, None, None, None],
    }
    return {name: array.astype(np.float32) for name, array in places.items()}


def _matrices(shape: tuple[int, ...], level: Level) -> dict[str, Matrix]:
    found: dict[str, Matrix] = {}
    for axis, count in zip("zyx", shape, strict=True):
        matrices = {
            "doubling": doubling(count),
            "slope": slope(count, ends=axis != "x") / np.float32(4 * level.spacing_mm),
            "window": window(count, level.window_blocks),
        }
        # Beside each other in memory as the graph wants them.
        found |= {f"{name}_{axis}": m.T if axis == "x" else m for name, m in matrices.items()}
    return found


def doubling(count: int) -> Matrix:
    """(count, blocks) from values at the centres of blocks to those at voxels: linear, the outermost repeated."""
    blocks = -(-count // STRIDE)
    at = np.clip((np.arange(count) + 0.5) / STRIDE - 0.5, 0, blocks - 1)
    return np.maximum(1 - np.abs(at[:, None] - np.arange(blocks)), 0).astype(np.float32)


def slope(count: int, *, ends: bool) -> Matrix:
    """(count, count) the neighbour ahead less the one behind; at the ends the voxel itself stands for one, or zero."""
    rows = np.arange(count)
    matrix = np.zeros((count, count), dtype=np.float32)
    matrix[rows, np.minimum(rows + 1, count - 1)] += 1
    matrix[rows, np.maximum(rows - 1, 0)] -= 1
    if not ends:
        matrix[[0, -1]] = 0
    return matrix


def window(count: int, sigma_blocks: float) -> Matrix:
    """(blocks, count) the mean of each block, what it lacks counted as zero, then a Gaussian with the edge repeated."""
    blocks = -(-count // STRIDE)
    means = (np.arange(count) // STRIDE == np.arange(blocks)[:, None]) / STRIDE
    taps = gaussian(sigma_blocks)
    reach = taps.size // 2
    smoothing = np.zeros((blocks, blocks))
    for offset, tap in zip(range(-reach, reach + 1), taps, strict=True):
        np.add.at(smoothing, (np.arange(blocks), np.clip(np.arange(blocks) + offset, 0, blocks - 1)), tap)
    return (smoothing @ means).astype(np.float32)
