"""Connects to the primary among several Postgres hosts."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg

from shared.server_urls import split_hosts

_BETWEEN_HOSTS_SECONDS = 0.2
"""How long to wait for a host before connecting to the next one in parallel."""


async def connect_to_primary(url: str, **options: Any) -> Any:
    """Return a connection to the first host that accepts writes. Takes the options of the driver.

    The driver tries one host after the other within one timeout. A host that does not reply, such
    as a machine without power, would use up the timeout before the primary is tried. Here the
    hosts are tried in parallel, each a little after the previous one. Raises errors of the
    driver.
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
    """Return an authentication error if any, else that no host accepts writes, else the last."""
    for kind in (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError):
        for error in errors:
            if isinstance(error, kind):
                return error
    for error in errors:
        if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
            return error
    return errors[-1]
