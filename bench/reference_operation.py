"""A fixed piece of work, about 50 ms, whose processor time says how fast this machine is right now.

Sorting, float32 sums over shifted slices, and hashing: memory, vector units and integer units, as the stages use them.
"""

import hashlib
import time

import numpy as np

SORTED = 250_000
FIELD = (64, 128, 128)
HASHED = 2**24


class ReferenceOperation:
    """Its input is made once; `cpu_s` runs it."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self._numbers = rng.random(SORTED)
        self._field = rng.random(FIELD, dtype=np.float32)
        self._bytes = rng.bytes(HASHED)

    def cpu_s(self) -> float:
        """Processor time of one run."""
        begun = time.process_time()
        np.sort(self._numbers)
        total = np.zeros_like(self._field)
        for axis in range(3):
            for shift in (-1, 1):
                total += np.float32(0.5) * np.roll(self._field, shift, axis=axis)
        hashlib.sha256(self._bytes).digest()
        return time.process_time() - begun
