"""Opens a connection to whichever of several hosts is the primary at the moment."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg

from shared.server_urls import split_hosts

_BETWEEN_HOSTS_SECONDS = 0.2
"""How long a host is waited for before the next is asked as well."""


async def connect_to_primary(url: str, **options: Any) -> Any:
    """Return a connection to the first host that takes writes. Takes the options of the driver.

    The driver itself asks one host after the other within one timeout: a host that is dead without
    a word, as a machine without power is, would use it up, and the primary never be asked. Here
    the next one is asked soon, and all of them stay in the race. Raises what the driver raises.
    """
    urls = split_hosts(url)
    if len(urls) == 1:
        return await asyncpg.connect(url, **options)
    waiting: set[asyncio.Task[Any]] = set()
    errors: list[BaseException] = []
    left = list(urls)
    try:
        while left or waiting:
            if left:
                waiting.add(asyncio.ensure_future(asyncpg.connect(left.pop(0), **options)))
            done, waiting = await asyncio.wait(
                waiting,
                timeout=_BETWEEN_HOSTS_SECONDS if left else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            found = [task.result() for task in done if task.exception() is None]
            errors += [error for task in done if (error := task.exception()) is not None]
            for surplus in found[1:]:
                surplus.terminate()
            if found:
                return found[0]
    finally:
        await _cancel_all(waiting)
    raise _most_informative(errors)


async def _cancel_all(waiting: set[asyncio.Task[Any]]) -> None:
    for task in waiting:
        task.cancel()
    for outcome in await asyncio.gather(*waiting, return_exceptions=True):
        if not isinstance(outcome, BaseException):
            outcome.terminate()


def _most_informative(errors: list[BaseException]) -> BaseException:
    """Return what a server said of the login, or else that none takes writes, or the last one."""
    for kind in (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError):
        for error in errors:
            if isinstance(error, kind):
                return error
    for error in errors:
        if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
            return error
    return errors[-1]
