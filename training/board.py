"""Contours as pictures for TensorBoard: what both paths draw on a patch, beside the truth."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from training.networks import LEVELS, LevelOutput
from training.patch import Patch
from training.warp import at_level, warp

TAG = "contours/truth yellow, segmentation cyan, propagation magenta"
TRUTH = (255, 225, 25)
SEGMENTATION = (0, 235, 255)
PROPAGATION = (255, 60, 255)
PLANE_PIXELS = 448
"""About how wide a plane is shown; voxels are enlarged by a whole number."""

TRUTH_THICKNESS, PATH_THICKNESS = 4, 2
GAP_PIXELS = 6
GREY_PERCENTILES = (3.0, 99.5)

Picture = NDArray[np.uint8]
Labels = NDArray[np.uint8]


def write_contours(board: SummaryWriter, network: nn.Module, patch: Patch, step: int) -> None:
    """Show what the network makes of the first patch of a batch; the network stays in the mode it was in.

    Args:
        board: TensorBoard's events of the run.
        network: Any of the family.
        patch: On the device of the network.
        step: Where on TensorBoard's slider.
    """
    first = Patch(*(tensor[:1] for tensor in patch))
    training = network.training
    network.eval()
    with torch.no_grad():
        outputs = network(first.fixed, first.moving, first.planned_labels.float())
    network.train(training)
    board.add_image(TAG, contour_picture(first, outputs[0]), step, dataformats="HWC")


def contour_picture(patch: Patch, output: LevelOutput) -> Picture:
    """Axial, coronal and sagittal plane of the fixed CT through the middle of the true organs, with outlines.

    The truth is thicker and lies below, so it shows even where a path agrees with it. Feet are at the bottom.

    Args:
        patch: One patch, (1, 1, n, n, n) each.
        output: The full-resolution answer to it; a path that is None is left out.

    Returns:
        (rows, columns, 3), red, green and blue.
    """
    answer = output.logits if output.logits is not None else output.dvf
    if answer is None:
        raise ValueError("the network answers nothing at full resolution")
    shape = (answer.shape[2], answer.shape[3], answer.shape[4])
    fixed = at_level(patch.fixed, shape, LEVELS[0])[0, 0].float().cpu().numpy()
    truth = _numpy(at_level(patch.fixed_labels, shape, LEVELS[0]))
    layers: list[tuple[Labels, tuple[int, int, int], int]] = [(truth, TRUTH, TRUTH_THICKNESS)]
    if output.logits is not None:
        layers.append((_numpy(output.logits.argmax(1, keepdim=True)), SEGMENTATION, PATH_THICKNESS))
    if output.dvf is not None:
        layers.append((_numpy(propagated_labels(patch.moving_labels, output.dvf)), PROPAGATION, PATH_THICKNESS))
    low, high = np.percentile(fixed, GREY_PERCENTILES).tolist()
    grey = (255 * np.clip((fixed - low) / max(high - low, 1e-6), 0, 1)).astype(np.uint8)
    scale = max(1, PLANE_PIXELS // max(shape))
    planes = []
    for axis, index in enumerate(_middle(truth)):
        plane = np.stack([_upright(grey, axis, index, scale)] * 3, axis=-1)
        for labels, colour, thickness in layers:
            plane[outlines(_upright(labels, axis, index, scale), thickness=thickness)] = colour
        planes.append(plane)
    return np.concatenate(list(_spaced(planes)), axis=1)


def propagated_labels(moving_labels: Tensor, dvf: Tensor) -> Tensor:
    """The moving labels (1, 1, n, n, n) where a full-resolution displacement (1, 3, z, y, x) carries them, uint8.

    Each label is pulled with trilinear weights and the largest share wins, as for the contours of a network.
    """
    best, share = torch.zeros_like(dvf[:, :1]), torch.full_like(dvf[:, :1], 0.5)
    for label in moving_labels.unique().tolist():
        if label:
            here = warp((moving_labels == label).float(), dvf, LEVELS[0])
            best, share = torch.where(here > share, float(label), best), torch.maximum(here, share)
    return best.to(torch.uint8)


def outlines(labels: Labels, *, thickness: int = 1) -> NDArray[np.bool_]:
    """Pixels (rows, columns) of every label that a square of +-`thickness` joins to another one: mask minus eroded."""
    inner = np.ones(labels.shape, dtype=bool)
    padded = np.pad(labels, thickness, mode="edge")  # no line where the picture cuts an organ
    rows, columns = labels.shape
    for down in range(2 * thickness + 1):
        for right in range(2 * thickness + 1):
            inner &= padded[down : down + rows, right : right + columns] == labels
    return (labels > 0) & ~inner


def _numpy(labels: Tensor) -> Labels:
    return labels[0, 0].to(torch.uint8).cpu().numpy()


def _middle(labels: Labels) -> tuple[int, int, int]:
    """Array index (z, y, x) of the mean organ voxel; the middle of the patch where there is none."""
    inside = np.argwhere(labels)
    middle = inside.mean(axis=0) if len(inside) else (np.array(labels.shape) - 1) / 2
    z, y, x = np.rint(middle).astype(int).tolist()
    return z, y, x


def _upright(volume: NDArray[np.uint8], axis: int, index: int, scale: int) -> NDArray[np.uint8]:
    """The plane across an axis, enlarged; z grows upwards."""
    plane: NDArray[np.uint8] = np.take(volume, index, axis=axis)
    return (plane if axis == 0 else plane[::-1]).repeat(scale, axis=0).repeat(scale, axis=1)


def _spaced(planes: list[Picture]) -> Iterator[Picture]:
    for number, plane in enumerate(planes):
        if number:
            yield np.full((plane.shape[0], GAP_PIXELS, 3), 255, dtype=np.uint8)
        yield plane
