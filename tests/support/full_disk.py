"""A disk that is full for this process."""

from __future__ import annotations

import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def file_size_limit(size: int) -> Iterator[Callable[[], None]]:
    """Refuse to write files larger than this, as a full disk does, while the block runs.

    Yields a function that ends it earlier.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))

    def lift() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    try:
        yield lift
    finally:
        lift()
        signal.signal(signal.SIGXFSZ, handler)
