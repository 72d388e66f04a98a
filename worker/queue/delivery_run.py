"""One run of a delivery: when it was due, through which gate it was claimed, and its lane slot."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DeliveryRun:
    """What a claim passes to the step that runs the delivery."""

    due_at: float | None = None
    """When it was due, by the event loop's clock; None where no lane has claimed it.

    Redis returns for how long a delivery has been due, so no two clocks are compared.
    """
    gate: int | None = None
    """The index of the Kie account whose submit slot the claim has reserved."""
    without_slot: Callable[[], AbstractContextManager[None]] = nullcontext
    """Frees the lane slot of this run for the block. The run keeps its lease."""

    def lateness_seconds(self, now: float) -> float | None:
        """Return how long ago the delivery was due; `now` is by the event loop's clock."""
        return None if self.due_at is None else max(now - self.due_at, 0.0)


UNCLAIMED = DeliveryRun()
"""The run of a delivery that no lane of ours has claimed, such as one of a stock arq worker."""


class LaneSlots:
    """The slots of one lane.

    `count` is called with -1 when a run frees its slot, and with 1 when the run has it again.
    """

    def __init__(self, most: int, count: Callable[[str, int], None]) -> None:
        self._most = most
        self._count = count
        self._free_runs = 0

    @contextmanager
    def without_slot(self, arq_id: str) -> Iterator[None]:
        """Free the slot of this run for the block."""
        # At most as many runs wait without a slot as have one, or a lane that only waits would
        # claim without end.
        if self._free_runs >= self._most:
            yield
            return
        self._free_runs += 1
        self._count(arq_id, -1)
        try:
            yield
        finally:
            self._free_runs -= 1
            self._count(arq_id, 1)
