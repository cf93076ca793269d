"""Fixed pieces of work, about 30 ms each, whose processor time says how fast this machine is right now.

Two of them, because one machine may be as fast as another at arrays and a third slower at running Python, where reading
DICOM spends its time.
"""

import hashlib
import struct
import time
from collections.abc import Callable

import numpy as np

SORTED = 250_000
FIELD = (64, 128, 128)
HASHED = 2**24
ELEMENTS = 20_000


class Yardsticks:
    """Their input is made once; `cpu_s` runs them."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self._numbers = rng.random(SORTED)
        self._field = rng.random(FIELD, dtype=np.float32)
        self._bytes = rng.bytes(HASHED)
        self._elements = b"".join(struct.pack("<HHI", tag % 64, tag, 4) + rng.bytes(4) for tag in range(ELEMENTS))

    def cpu_s(self) -> dict[str, float]:
        """Processor time of one run of each, in seconds, by name."""
        return {"arrays": _cpu_s(self._arrays), "interpreter": _cpu_s(self._interpreter)}

    def _arrays(self) -> None:
        """Sorting, float32 sums over shifted slices, and hashing: memory, vector units and integer units."""
        np.sort(self._numbers)
        total = np.zeros_like(self._field)
        for axis in range(3):
            for shift in (-1, 1):
                total += np.float32(0.5) * np.roll(self._field, shift, axis=axis)
        hashlib.sha256(self._bytes).digest()

    def _interpreter(self) -> None:
        """Tagged elements from bytes into a dictionary, one at a time."""
        found: dict[tuple[int, int], tuple[str, bytes]] = {}
        at = 0
        while at < len(self._elements):
            group, element, length = struct.unpack_from("<HHI", self._elements, at)
            at += 8 + length
            found[group, element] = (f"{group:04x}{element:04x}", self._elements[at - length : at])


def _cpu_s(work: Callable[[], None]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun
