"""When the delivery that is being run had been due, for whoever measures how late it is.

The moment travels with the task that runs the delivery, so that no step has to hand it on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_due: ContextVar[float | None] = ContextVar("due", default=None)


@contextmanager
def due_at(moment: float) -> Iterator[None]:
    """Let the tasks that are created in this block run a delivery due at that moment.

    A moment is one of the event loop's clock: Redis says for how long a delivery had been due, so
    no two clocks are compared.
    """
    token = _due.set(moment)
    try:
        yield
    finally:
        _due.reset(token)


def lateness_seconds(now: float) -> float | None:
    """Return how long ago the delivery that is being run was due; None outside of any.

    `now` is the moment by the event loop's clock.
    """
    due = _due.get()
    return None if due is None else max(now - due, 0.0)
