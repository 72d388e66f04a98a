"""An event loop whose clock jumps to the next timer instead of waiting for it."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

_Result = TypeVar("_Result")


class _SkippingSelector(selectors.DefaultSelector):
    """Counts the seconds for which it would have waited."""

    skipped_seconds = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0)
        if not events and timeout is not None:
            self.skipped_seconds += max(timeout, 0.0)
        return events


class _SkippingLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._skipping = _SkippingSelector()
        super().__init__(self._skipping)

    def time(self) -> float:
        return super().time() + self._skipping.skipped_seconds


def run_skipping(work: Coroutine[Any, Any, _Result]) -> tuple[_Result, float]:
    """Run the coroutine. Returns its result and how long it took by the clock of its loop."""
    with asyncio.Runner(loop_factory=_SkippingLoop) as runner:
        began = runner.get_loop().time()
        result = runner.run(work)
        return result, runner.get_loop().time() - began
