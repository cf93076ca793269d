"""Where the bytes of a body are kept: side by side in a few large blocks, so that each is copied once."""

from typing import TypeAlias

import numpy as np

Content: TypeAlias = bytes | memoryview
"""One object as it was sent."""

BLOCK_BYTES = 16 << 20
"""Large enough for numpy to ask for huge pages; fresh small pages cost three times as much as the copy itself."""

ALIGNMENT = 64
"""So that the pixels of an object lie as arrays need them."""


class PartMemory:
    """Takes one part after the other, each of a size that is not known before its end.

    A block is free again when the last part in it is.
    """

    def __init__(self) -> None:
        self._block = memoryview(b"")
        self._start = 0
        self._end = 0

    def begin(self) -> None:
        """A new part starts."""
        self._start = self._end = -(-self._end // ALIGNMENT) * ALIGNMENT

    def append(self, content: memoryview) -> None:
        """More of the part."""
        if self._end + len(content) > len(self._block):
            self._move(len(content))
        self._block[self._end : self._end + len(content)] = content
        self._end += len(content)

    def part(self) -> memoryview:
        """The part so far, without a copy and read-only."""
        return self._block[self._start : self._end].toreadonly()

    def _move(self, more_bytes: int) -> None:
        """On to a new block, with what there is of the part."""
        known = self._block[self._start : self._end]
        block = np.empty(max(BLOCK_BYTES, 2 * (len(known) + more_bytes)), np.uint8).data
        block[: len(known)] = known
        self._block, self._start, self._end = block, 0, len(known)
