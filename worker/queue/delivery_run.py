"""Gives up the slot of a lane while a run waits for something that other runs do not need.

The way to the slot travels with the task that runs the delivery, so that no step has to hand it
on. The run keeps its lease.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar

_give_up: ContextVar[Callable[[], AbstractContextManager[None]]] = ContextVar(
    "give_up", default=nullcontext
)
_delivery: ContextVar[str] = ContextVar("delivery", default="")


class LaneSlots:
    """The slots of one lane; `count` is told which delivery gives its slot up or has it again."""

    def __init__(self, most: int, count: Callable[[str, int], None]) -> None:
        self._most = most
        self._count = count
        self._given_up = 0

    def use_for_tasks(self) -> None:
        """Let the tasks that this task creates from now on run with slots of this lane."""
        _give_up.set(self._without_slot)

    @contextmanager
    def _without_slot(self) -> Iterator[None]:
        # As many again may wait at most: a lane that only waits must not claim without end.
        if self._given_up >= self._most:
            yield
            return
        delivery = _delivery.get()
        self._given_up += 1
        self._count(delivery, -1)
        try:
            yield
        finally:
            self._given_up -= 1
            self._count(delivery, 1)


def use_slot_for(delivery: str) -> None:
    """Say which delivery this task runs."""
    _delivery.set(delivery)


def slot_given_up() -> AbstractContextManager[None]:
    """Let another delivery have the slot of this run for the block; nothing outside of a lane."""
    return _give_up.get()()
