"""What a case frees is kept for the next one instead of being given back to the operating system.

Fresh memory has to be found and zeroed by the kernel, and under a hypervisor by the host too, at each request anew.
What that costs: `python -m bench.versus RECONTOUR_KEEP_MEMORY=false`.
"""

import ctypes

# malloc.h of glibc
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8
KEPT_BYTES = 2**31 - 1
"""Freed memory beyond this goes back from the end of the heap; the largest number that glibc takes here. What lies
below a block in use stays, so that the process may hold as much as it once needed at its busiest."""
STEP_BYTES = 64 << 20
"""The heap grows by steps of this size."""


def keep_freed_memory() -> bool:
    """Let glibc hold on to freed memory: one heap, no block of it straight from the kernel.

    Returns:
        Whether this C library has such a setting and took it; others, such as musl, go on as they are.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    wanted = ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, KEPT_BYTES), (_TOP_PAD, STEP_BYTES))
    taken = [mallopt(name, value) for name, value in wanted]
    return all(taken)
