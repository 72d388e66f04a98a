"""Waits with a deadline, whose errors say what they waited for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

READY_SECONDS = 30.0
_SHORTEST_PAUSE_SECONDS = 0.02
_LONGEST_PAUSE_SECONDS = 0.1
_ENDING_SECONDS = 90.0
"""The time that an abandoned call has to close what it has opened."""

Result = TypeVar("Result")


class Late(AssertionError):
    """The wait timed out."""

    def __init__(self, seconds: float, what: str) -> None:
        super().__init__(f"after {seconds:g} s still not: {what}")


async def within(seconds: float, what: str, work: Coroutine[Any, Any, Result]) -> Result:
    """Return the result of the work. Raises `Late` if it takes longer.

    The work runs as a separate task, which is cancelled at the deadline. The caller does not wait
    for its end, because a client may drop the cancellation.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=seconds)
        if task.done():
            return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=_ENDING_SECONDS)
    raise Late(seconds, what)


def pause_seconds(waited_seconds: float) -> float:
    """Return the time until the next look: a twentieth of the wait so far, within limits.

    Each look costs a request or a statement, and many tests wait for many seconds side by side.
    """
    return min(max(_SHORTEST_PAUSE_SECONDS, waited_seconds / 20), _LONGEST_PAUSE_SECONDS)


async def until(
    ask: Callable[[], Awaitable[bool]], what: str, seconds: float = READY_SECONDS
) -> None:
    """Wait until the condition holds. Raises `Late` after the deadline."""
    began_at = time.monotonic()
    ends_at = began_at + seconds

    async def answer() -> bool:
        return await ask()

    while True:
        try:
            if await within(max(ends_at - time.monotonic(), 0.001), what, answer()):
                return
        except Late:
            raise Late(seconds, what) from None
        if time.monotonic() > ends_at:
            raise Late(seconds, what)
        await asyncio.sleep(pause_seconds(time.monotonic() - began_at))
