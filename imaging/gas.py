"""Gas in the bowel, which is there on one day and gone on the next, so that it is not registered.

Painted over before places are compared, as the Hybrid method does (Elmahdy et al. 2019a, Med Phys 46; detection by a
threshold goes back to Yang et al. 2009, PMC5148039). Choice of the numbers: docs/decisions/0008-gas.md; why
paint is no witness: docs/decisions/0013-gas-no-witness.md.
"""

import numba
import numpy as np

from imaging.runs import find_pieces, paint
from imaging.volume import Volume

GAS_HU = -250
"""Below: gas, or what it darkens. Fat is at -100."""

LARGEST_CC = 50.0
"""Larger pieces are lungs, or the air around the patient."""

PAINT = np.int16(1000)

CONTENTS_HU = 30
"""What takes the place of gas: about what stool and bowel wall have."""


def without_gas(volume: Volume) -> Volume:
    """A CT whose pockets of gas, and the voxels beside them, have the Hounsfield units of bowel contents.

    Pockets are dark pieces, connected by faces, that hold at most `LARGEST_CC` and touch none of the sides of the scan.
    """
    dark = volume.hu < GAS_HU
    _, height, width = dark.shape
    rows, starts, ends, pieces = find_pieces(dark.view(np.uint8), 0, True)
    cc = np.bincount(pieces, ends - starts) * volume.geometry.voxel_cc
    at_side = (starts == 0) | (ends == width) | (rows % height == 0) | (rows % height == height - 1)
    kept = cc > LARGEST_CC
    kept[pieces[at_side]] = True
    gas = ~kept[pieces]
    if not gas.any():
        return volume
    pockets = np.zeros_like(dark)
    paint(pockets, rows[gas], starts[gas], ends[gas], True)
    hu = volume.hu.copy()
    _paint_over(pockets, hu)
    return Volume(hu, volume.geometry)


def beside_paint(volume: Volume, painted: Volume, reach: int) -> Volume:
    """Where the paint of `without_gas` is at most `reach` voxels away along every axis.

    Args:
        volume: The CT as it was.
        painted: The same without gas.
        reach: Whole voxels.

    Returns:
        `PAINT` there and 0 elsewhere, to be looked up like a CT.
    """
    beside = np.zeros(volume.hu.shape, dtype=np.int16)
    if painted is not volume:
        _mark_beside(volume.hu, painted.hu, reach, PAINT, beside)
    return Volume(beside, volume.geometry)


@numba.njit(cache=True, nogil=True)
def _mark_beside(hu, painted, reach, mark, beside):  # type: ignore[no-untyped-def]
    depth, height, width = hu.shape
    for k in range(depth):
        for j in range(height):
            before, after = hu[k, j], painted[k, j]
            changed = False
            for i in range(width):
                changed |= before[i] != after[i]
            if not changed:
                continue
            for i in range(width):
                if before[i] != after[i]:
                    for at in range(max(k - reach, 0), min(k + reach + 1, depth)):
                        for row in range(max(j - reach, 0), min(j + reach + 1, height)):
                            beside[at, row, max(i - reach, 0) : min(i + reach + 1, width)] = mark


@numba.njit(cache=True, nogil=True)
def _paint_over(pockets, hu):  # type: ignore[no-untyped-def]
    """Pockets and their face neighbours."""
    depth, height, width = hu.shape
    for k in range(depth):
        for j in range(height):
            for i in range(width):
                if pockets[k, j, i]:
                    for at in range(max(k - 1, 0), min(k + 2, depth)):
                        hu[at, j, i] = CONTENTS_HU
                    # The pocket touches no side.
                    hu[k, j - 1, i] = hu[k, j + 1, i] = hu[k, j, i - 1] = hu[k, j, i + 1] = CONTENTS_HU
