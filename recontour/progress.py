"""A bar that fills while a case is sent."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm


@contextmanager
def upload_bar() -> Iterator[Callable[[int, int], None]]:
    """Yields a function that takes the bytes just sent and the bytes in all; shown on a terminal only."""
    with tqdm(unit="B", unit_scale=True, unit_divisor=1024, desc="sending", leave=False, disable=None) as bar:

        def show(sent: int, total: int) -> None:
            bar.total = total
            bar.update(sent)
            if bar.n >= total:
                bar.set_description("waiting for the contours")

        yield show
