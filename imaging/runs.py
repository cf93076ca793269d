"""Connected pieces of masks, by union of runs: rows of equal voxels along x, some fifty times fewer than voxels."""

import numpy as np
from numba import njit

from imaging.arrays import MaskVoxels


@njit(nogil=True, cache=True)
def find_pieces(words, bit, across_planes):  # type: ignore[no-untyped-def]
    """Runs along x of voxels whose word has the bit set, and which of them hang together by faces.

    Args:
        words: (z, y, x) unsigned integers.
        bit: Which of their bits.
        across_planes: Whether pieces of neighbouring planes count as one.

    Returns:
        Arrays (n,): row of each run (plane times rows per plane, plus row), its first x and the one past its last, and
        its piece, which bears the number of the first of its runs.
    """
    row_start, starts, ends = _runs(words, bit)
    depth, height, _ = words.shape
    pieces = np.arange(len(starts))
    rows = np.empty(len(starts), np.int64)
    for row in range(depth * height):
        rows[row_start[row] : row_start[row + 1]] = row
        if row % height:
            _join(pieces, starts, ends, row_start, (row - 1, row))
        if across_planes and row >= height:
            _join(pieces, starts, ends, row_start, (row - height, row))
    for run in range(len(starts)):
        pieces[run] = _root(pieces, run)
    return rows, starts, ends, pieces


@njit(nogil=True, cache=True)
def paint(mask: MaskVoxels, rows, starts, ends, value):  # type: ignore[no-untyped-def]
    """Set the voxels of runs."""
    height = mask.shape[1]
    for run in range(len(rows)):
        mask[rows[run] // height, rows[run] % height, starts[run] : ends[run]] = value


@njit(nogil=True, cache=True)
def _runs(words, bit):  # type: ignore[no-untyped-def]
    """Half-open runs along x, row by row; row r holds runs row_start[r] to row_start[r + 1]."""
    depth, height, width = words.shape
    row_start = np.zeros(depth * height + 1, np.int64)
    starts = np.empty(max(depth * height * 2, 16), np.int32)
    ends = np.empty_like(starts)
    shift, one = np.uint64(bit), np.uint64(1)
    count = 0
    for k in range(depth):
        for j in range(height):
            i = 0
            first = count
            while i < width:
                word = words[k, j, i]
                start = i
                i += 1
                while i < width and words[k, j, i] == word:
                    i += 1
                if not (np.uint64(word) >> shift) & one:
                    continue
                if count > first and ends[count - 1] == start:
                    ends[count - 1] = i
                    continue
                if count == len(starts):
                    starts = np.concatenate((starts, np.empty_like(starts)))
                    ends = np.concatenate((ends, np.empty_like(ends)))
                starts[count], ends[count] = start, i
                count += 1
            row_start[k * height + j + 1] = count
    return row_start, starts[:count], ends[:count]


@njit(nogil=True, cache=True)
def _join(parent, starts, ends, row_start, rows):  # type: ignore[no-untyped-def]
    """Unite the runs of two neighbouring rows where they overlap."""
    a, a_end = row_start[rows[0]], row_start[rows[0] + 1]
    b, b_end = row_start[rows[1]], row_start[rows[1] + 1]
    while a < a_end and b < b_end:
        if starts[a] < ends[b] and starts[b] < ends[a]:
            root_a, root_b = _root(parent, a), _root(parent, b)
            if root_a != root_b:
                parent[max(root_a, root_b)] = min(root_a, root_b)
        if ends[a] < ends[b]:
            a += 1
        else:
            b += 1


@njit(nogil=True, cache=True)
def _root(parent, run):  # type: ignore[no-untyped-def]
    while parent[run] != run:
        parent[run] = parent[parent[run]]
        run = parent[run]
    return run
