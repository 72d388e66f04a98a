"""Gives a call up that takes too long, whatever it waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextvars import copy_context
from threading import TIMEOUT_MAX, Thread
from typing import TypeVar

T = TypeVar("T")


async def within_async(seconds: float, once: Callable[[], Awaitable[T]]) -> T:
    """Return what the call returns. Raises `TimeoutError` after so many seconds."""
    async with asyncio.timeout(seconds):
        return await once()


def within(seconds: float, once: Callable[[], T]) -> T:
    """Return what the call returns. Raises `TimeoutError` after so many seconds.

    The timeouts of a socket count for each of its operations, and for a name that is being
    resolved there is none. So the call runs in a thread, which ends by itself some time later.
    """
    answer: Future[T] = Future()

    def run() -> None:
        try:
            answer.set_result(once())
        except BaseException as error:
            answer.set_exception(error)

    Thread(target=copy_context().run, args=(run,), name="darkroom-wait", daemon=True).start()
    return answer.result(min(seconds, TIMEOUT_MAX))
