"""One step of `imaging.local_fit` as an ONNX graph, for where its images stay on a GPU between steps.

    python -m training.fit_graph [--out imaging/backends/local_fit.onnx]

The arithmetic is that of the compiled step, in whole arrays instead of rows, and in few nodes, because on a GPU each
costs about the same: what is linear along an axis (doubling, slopes, windows) is a product with a small matrix. Nothing
in it is a convolution, for which cuDNN would plan anew for the shape of each patient's region.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imaging.backends.fit_graph import FILE, INPUTS, OUTPUT
from imaging.local_fit import ARRIVED_MM, CHANGED_HU, LOWER_HU, RIDGE, UNLIKE_HU, UPPER_HU
from training.export import save_onnx

OPSET = 20
"""The first whose GridSample reads volumes."""

# The sums of a block: the products xx, xy, xz, yy, yz, zz of the gradient, those with the difference, and the
# difference itself. A factor is numbered as in (x, y, z, difference).
_FIRST = (0, 0, 0, 1, 1, 2, 0, 1, 2)
_SECOND = (0, 1, 2, 1, 2, 2, 3, 3, 3)

# The symmetric matrix row by row among the six products, and what its adjugate is made of.
_MATRIX = (0, 1, 2, 1, 3, 4, 2, 4, 5)
_ADJUGATE = tuple(
    tuple(_MATRIX[3 * ((r + a) % 3) + (c + b) % 3] for r in range(3) for c in range(3))
    for a, b in ((1, 1), (2, 2), (1, 2), (2, 1))
)


class NewtonStep(nn.Module):
    """The shifts after one more step; inputs and output are described in `imaging.backends.fit_graph`."""

    def forward(  # noqa: PLR0917
        self,
        here: Tensor,
        moving: Tensor,
        vectors: Tensor,
        turned: Tensor,
        base_z: Tensor,
        base_y: Tensor,
        base_x: Tensor,
        limit: Tensor,
        doubling_z: Tensor,
        doubling_y: Tensor,
        doubling_x: Tensor,
        slope_z: Tensor,
        slope_y: Tensor,
        slope_x: Tensor,
        window_z: Tensor,
        window_y: Tensor,
        window_x: Tensor,
        longest: Tensor,
        slower: Tensor,
    ) -> Tensor:
        """(3, z, y, x) millimetres per block."""
        fine = _along(vectors, doubling_z, doubling_y, doubling_x)
        places = _before(turned, fine, 1) + (base_z + base_y + base_x)
        seen = (places.abs() <= limit).to(torch.float32).amin(dim=0, keepdim=True)
        looked = F.grid_sample(
            moving.to(torch.float32)[None],
            places.permute(1, 2, 3, 0)[None],
            padding_mode="border",
            align_corners=True,
        )
        there = looked[0].clamp(LOWER_HU, UPPER_HU)
        darkest = _darkest(torch.cat((here, there))).amin(dim=0, keepdim=True)
        clear = seen * (darkest > LOWER_HU)
        unlike = there - here
        weight = clear / (1 + unlike * unlike * (1 / UNLIKE_HU**2))
        both = here + there
        factors = torch.cat((both @ slope_x, slope_y @ both, _before(slope_z, both, 2), unlike))
        products = _chosen(weight * factors, _FIRST) * _chosen(factors, _SECOND)
        sums = _along(torch.cat((products, clear * unlike)), window_z, window_y, window_x)
        step = torch.maximum(torch.minimum(_solved(sums), longest), -longest)
        squared = (step * step).sum(dim=0, keepdim=True) ** 2
        return vectors + step * (1 - slower * (1 - squared / (squared + ARRIVED_MM**4)))


def _along(stack: Tensor, z: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """A matrix along each axis of (n, z, y, x); that for x stands on the right."""
    return _before(z, y @ (stack @ x), 2)


def _before(matrix: Tensor, stack: Tensor, axis: int) -> Tensor:
    """A matrix along the axis before this one."""
    return (matrix @ stack.flatten(axis)).unflatten(axis, stack.shape[axis:])


def _chosen(stack: Tensor, numbers: tuple[int, ...]) -> Tensor:
    return stack.index_select(0, torch.tensor(numbers))


def _darkest(images: Tensor) -> Tensor:
    """Of each voxel and its face neighbours."""
    darkness = -images
    sides = [
        F.max_pool3d(darkness, [2 * along[n] + 1 for n in range(3)], stride=1, padding=along)
        for along in ((0, 0, 1), (0, 1, 0), (1, 0, 0))
    ]
    return -torch.maximum(torch.maximum(sides[0], sides[1]), sides[2])


def _solved(sums: Tensor) -> Tensor:
    """The shift of each block, by the adjugate, weakened where the mean differs."""
    ridge = torch.tensor([RIDGE * (n in {0, 3, 5}) for n in range(6)]).reshape(6, 1, 1, 1)
    squares, against, mean = sums[:6] + ridge, sums[6:9], sums[9:]
    a, b, c, d = (_chosen(squares, numbers) for numbers in _ADJUGATE)
    adjugate = (a * b - c * d).unflatten(0, (3, 3))
    determinant = (squares[:3] * adjugate[0]).sum(dim=0, keepdim=True)
    changed = 1 + mean * mean * (1 / CHANGED_HU**2)
    return (adjugate * against).sum(dim=1) / (-determinant * changed)


def write(file: Path) -> None:
    """Write the graph, with free sizes of both images."""
    d, h, w, z, y, x = (torch.export.Dim(name, min=4, max=2048) for name in "dhwzyx")
    bd, bh, bw = (torch.export.Dim(f"blocks_{name}", min=2, max=1024) for name in "dhw")
    # Of an example in which no two sizes are equal.
    shapes = {
        "here": ((1, 21, 30, 41), {1: d, 2: h, 3: w}),
        "moving": ((1, 25, 33, 47), {1: z, 2: y, 3: x}),
        "vectors": ((3, 11, 15, 22), {1: bd, 2: bh, 3: bw}),
        "turned": ((3, 3), {}),
        "base_z": ((3, 21, 1, 1), {1: d}),
        "base_y": ((3, 1, 30, 1), {2: h}),
        "base_x": ((3, 1, 1, 41), {3: w}),
        "limit": ((3, 1, 1, 1), {}),
        "doubling_z": ((21, 11), {0: d, 1: bd}),
        "doubling_y": ((30, 15), {0: h, 1: bh}),
        "doubling_x": ((22, 41), {0: bw, 1: w}),
        "slope_z": ((21, 21), {0: d, 1: d}),
        "slope_y": ((30, 30), {0: h, 1: h}),
        "slope_x": ((41, 41), {0: w, 1: w}),
        "window_z": ((11, 21), {0: bd, 1: d}),
        "window_y": ((15, 30), {0: bh, 1: h}),
        "window_x": ((41, 22), {0: w, 1: bw}),
        "longest": ((1,), {}),
        "slower": ((1,), {}),
    }
    kinds = {"moving": torch.int16}
    program = torch.onnx.export(
        NewtonStep().eval(),
        tuple(torch.ones(shapes[name][0], dtype=kinds.get(name, torch.float32)) for name in INPUTS),
        dynamo=True,
        opset_version=OPSET,
        input_names=list(INPUTS),
        output_names=[OUTPUT],
        dynamic_shapes=tuple(shapes[name][1] for name in INPUTS),
        verbose=False,
    )
    save_onnx(program.model_proto, file)


def main() -> None:
    """Write the graph from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=FILE)
    write(parser.parse_args().out)


if __name__ == "__main__":
    main()
