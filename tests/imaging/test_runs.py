import numpy as np
import pytest
from scipy import ndimage

from imaging.runs import find_pieces, paint

CHANCES = (0.0, 0.2, 0.5, 0.8, 1.0)


def labels_of(mask: np.ndarray, *, across_planes: bool) -> np.ndarray:
    """Number of the piece, from 1, at each voxel of the mask; 0 elsewhere."""
    rows, starts, ends, pieces = find_pieces(mask.view(np.uint8), 0, across_planes)
    labels = np.zeros(mask.shape, np.int64)
    for row, start, end, piece in zip(rows, starts, ends, pieces, strict=True):
        labels[row // mask.shape[1], row % mask.shape[1], start:end] = piece + 1
    return labels


@pytest.mark.parametrize("across_planes", [True, False])
def test_pieces_are_those_that_scipy_finds(across_planes: bool) -> None:
    faces = ndimage.generate_binary_structure(3, 1)
    if not across_planes:
        faces[[0, 2]] = False
    for seed, chance in enumerate(CHANCES):
        mask = np.random.default_rng(seed).random((5, 13, 17)) < chance
        found, wanted = labels_of(mask, across_planes=across_planes), ndimage.label(mask, structure=faces)[0]
        pairs = set(zip(found.ravel().tolist(), wanted.ravel().tolist(), strict=True))
        # Each label of one stands for one label of the other, the background for the background.
        assert len(pairs) == len({one for one, _ in pairs}) == len({other for _, other in pairs})
        assert all((one == 0) == (other == 0) for one, other in pairs)


def test_painting_all_runs_gives_the_mask_back() -> None:
    mask = np.random.default_rng(1).random((4, 9, 11)) < 0.5
    again = np.zeros_like(mask)
    paint(again, *find_pieces(mask.view(np.uint8), 0, True)[:3], True)
    assert np.array_equal(again, mask)


def test_one_bit_of_packed_words_is_looked_at() -> None:
    words = np.zeros((1, 1, 6), np.uint64)
    words[0, 0] = [0b10, 0b110, 0b100, 0b010, 0b010, 0]
    _, starts, ends, pieces = find_pieces(words, 1, True)
    assert (starts.tolist(), ends.tolist(), pieces.tolist()) == ([0, 3], [2, 5], [0, 1])
