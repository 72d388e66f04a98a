"""When the delivery that is being run had been due, for whoever measures how late it is.

The moment travels with the task that runs the delivery, so that no step has to hand it on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime

_due_ms: ContextVar[int | None] = ContextVar("due_ms", default=None)


@contextmanager
def due_at(due_ms: int) -> Iterator[None]:
    """Let the tasks that are created in this block run a delivery due at that moment (epoch)."""
    token = _due_ms.set(due_ms)
    try:
        yield
    finally:
        _due_ms.reset(token)


def lateness_seconds(now: datetime) -> float | None:
    """Return how long ago the delivery that is being run was due; None outside of any.

    The moment it was due is Redis's, and `now` is this machine's: where their clocks differ, so
    does the answer, but it is never below 0.
    """
    due_ms = _due_ms.get()
    return None if due_ms is None else max(now.timestamp() - due_ms / 1000, 0.0)
