"""Ends background tasks for certain."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

_AGAIN_SECONDS = 0.2
_LIMIT_SECONDS = 10.0


async def stop_tasks(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel the tasks until all have ended; raise the first error that one of them ended with.

    Once is not enough on Python 3.11: `asyncio.wait_for`, which redis-py sends every command
    under, swallows a cancellation that meets the end of its wait (python/cpython#81839).
    """
    waiting = set(tasks)
    ended: set[asyncio.Task[Any]] = set()
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + _LIMIT_SECONDS
    while waiting and loop.time() < give_up_at:
        for task in waiting:
            task.cancel()
        done, waiting = await asyncio.wait(waiting, timeout=_AGAIN_SECONDS)
        ended |= done
    for task in ended:
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error


def stop_if_cancelled() -> None:
    """Raise a cancellation that was lost; every loop around Redis needs it to be stoppable.

    Connections of this package lose none (`CancellableWrites`). This is the second guard, for what
    else a loop waits for: `asyncio.wait_for` before Python 3.12 swallows a cancellation that comes
    at the moment when the awaited thing is done.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes the loop, for `asyncio.Runner`; None means asyncio's own."""
    try:
        import uvloop  # noqa: PLC0415
    except ImportError:  # uvloop has no build for every system; asyncio's own loop will do
        return None
    return uvloop.new_event_loop
