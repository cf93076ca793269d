# ruff: noqa: E402 - nothing below the first lines can be imported without torch
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra 'training'")

from torch import nn
from torch.utils.tensorboard import SummaryWriter

from training.board import (
    PLANE_PIXELS,
    PROPAGATION,
    SEGMENTATION,
    TAG,
    TRUTH,
    contour_picture,
    outlines,
    propagated_labels,
    write_contours,
)
from training.networks import LevelOutput

from .patches import fully_labelled

SIZE = 60
OUTPUT = SIZE - 40


def patch_with_boxes():
    """One organ: voxels 26 to 33 of the fixed patch on every axis, three voxels farther along x in the moving one."""
    labels = torch.zeros(1, 1, SIZE, SIZE, SIZE, dtype=torch.uint8)
    labels[..., 26:34, 26:34, 26:34] = 1
    image = torch.linspace(-0.8, 1.2, SIZE).expand(1, 1, SIZE, SIZE, SIZE).clone()
    return fully_labelled(image, image.clone(), labels, labels.roll(3, 4))


def segmented(low, high):
    logits = torch.zeros(1, 2, OUTPUT, OUTPUT, OUTPUT)
    logits[:, 1] = -1.0
    logits[:, 1, low:high, low:high, low:high] = 1.0
    return logits


def pixels(picture, colour):
    return (picture == np.array(colour, dtype=np.uint8)).all(axis=-1)


def test_an_outline_is_the_mask_without_its_inside():
    labels = np.zeros((7, 8), dtype=np.uint8)
    labels[1:6, 1:6] = 1
    labels[1:6, 6:] = 2  # goes on beyond the picture
    thin = outlines(labels)
    assert thin[1:6, 1:6].sum() == 25 - 9
    assert thin[1:6, 6].all()
    assert thin[1:6, 7].tolist() == [True, False, False, False, True]
    assert not thin[labels == 0].any()
    assert outlines(labels, thickness=2)[1:6, 1:6].sum() == 25 - 1


def test_propagated_labels_follow_the_displacement():
    patch = patch_with_boxes()
    dvf = torch.zeros(1, 3, OUTPUT, OUTPUT, OUTPUT)
    dvf[:, 0] = 3.0
    inner = patch.fixed_labels[..., 20:-20, 20:-20, 20:-20]
    assert torch.equal(propagated_labels(patch.moving_labels, dvf), inner)
    assert torch.equal(propagated_labels(patch.moving_labels, 0 * dvf), inner.roll(3, 4))


def test_the_picture_shows_three_planes_and_each_outline_where_it_lies():
    patch = patch_with_boxes()
    picture = contour_picture(patch, LevelOutput(segmented(8, 12), torch.zeros(1, 3, OUTPUT, OUTPUT, OUTPUT)))
    scale = PLANE_PIXELS // OUTPUT
    side = scale * OUTPUT
    assert picture.shape == (side, 3 * side + 2 * 6, 3)
    assert picture.dtype == np.uint8
    axial = picture[:, :side]
    # Voxels 6 to 13 are the truth, 8 to 11 segmented, 9 to 16 along x propagated.
    for colour, first, last in ((TRUTH, 6, 14), (SEGMENTATION, 8, 12), (PROPAGATION, 9, 17)):
        columns = np.flatnonzero(pixels(axial, colour).any(axis=0))
        assert (columns.min(), columns.max()) == (first * scale, last * scale - 1)


def test_the_feet_are_at_the_bottom():
    patch = patch_with_boxes()
    patch.fixed_labels.zero_()
    patch.fixed_labels[..., 21:25, 26:34, 26:34] = 1  # low z
    picture = contour_picture(patch, LevelOutput(segmented(0, 0), None))
    rows = np.flatnonzero(pixels(picture[:, picture.shape[1] // 2 :], TRUTH).any(axis=1))
    assert rows.min() > picture.shape[0] // 2


def test_a_path_that_is_not_there_is_left_out():
    patch = patch_with_boxes()
    only_dvf = contour_picture(patch, LevelOutput(None, torch.zeros(1, 3, OUTPUT, OUTPUT, OUTPUT)))
    assert pixels(only_dvf, PROPAGATION).any()
    assert not pixels(only_dvf, SEGMENTATION).any()
    only_logits = contour_picture(patch, LevelOutput(segmented(8, 12), None))
    assert not pixels(only_logits, PROPAGATION).any()
    with pytest.raises(ValueError, match="nothing"):
        contour_picture(patch, LevelOutput(None, None))


def test_a_patch_without_organs_is_shown_through_its_middle():
    patch = patch_with_boxes()
    patch.fixed_labels.zero_()
    assert contour_picture(patch, LevelOutput(segmented(0, 0), None)).shape[0] == PLANE_PIXELS // OUTPUT * OUTPUT


class Middle(nn.Module):
    """Answers with a box, and remembers the mode it was called in."""

    def __init__(self):
        super().__init__()
        self.modes = []

    def forward(self, *_):
        self.modes.append(self.training)
        return (LevelOutput(segmented(8, 12), None),)


def test_a_picture_is_written_in_evaluation_mode_and_the_mode_restored(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: PLC0415 - slow

    network = Middle().train()
    with SummaryWriter(str(tmp_path)) as board:
        write_contours(board, network, patch_with_boxes(), 7)
    assert network.modes == [False]
    assert network.training
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    (image,) = events.Images(TAG)
    assert (image.step, image.height, image.width) == (7, 440, 3 * 440 + 12)
