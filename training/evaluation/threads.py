"""As many CPU threads for every system, so that their times can be compared."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numba


@contextmanager
def limited(threads: int) -> Iterator[None]:
    """Numba and torch on so many threads, and as before afterwards.

    Runtimes of exported models, elastix and demons are told when they are made, see `training.evaluation.loading`.

    Args:
        threads: As many, or all that there are where the machine has fewer; 0 leaves everything as it is.
    """
    if not threads:
        yield
        return
    # Whoever compares references alone needs no torch.
    torch = sys.modules.get("torch")
    numba_before, torch_before = numba.get_num_threads(), torch.get_num_threads() if torch else 0
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    if torch:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        numba.set_num_threads(numba_before)
        if torch:
            torch.set_num_threads(torch_before)
