"""Stops asyncio tasks reliably, and chooses the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

_AGAIN_SECONDS = 0.2
_LIMIT_SECONDS = 10.0


async def stop_tasks(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel the tasks until all have ended. Raises the first error of a task.

    Cancels repeatedly, because `asyncio.wait_for` of Python 3.11, which redis-py uses for every
    command, can drop a cancellation (python/cpython#81839).
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
    """Raise `CancelledError` if a cancellation of this task was dropped. Call it in every loop.

    Connections of this package do not drop cancellations (`CancellableWrites`). Other awaited calls
    may: `asyncio.wait_for` before Python 3.12 drops a cancellation that arrives when the awaited
    call has just finished.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return the `loop_factory` for `asyncio.Runner`: uvloop's, or None without uvloop."""
    try:
        import uvloop  # noqa: PLC0415
    except ImportError:  # uvloop has no build for some systems
        return None
    return uvloop.new_event_loop
