"""Cancels open streams and waits when their API key is revoked.

The key of a request is checked once, at its start. Streams and waits stay open for minutes, so they
run inside `RevocationWatch.until_revoked`, which ends them within a second of the revocation.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from producer.keys.key_store import Caller
from shared.adapters.monitoring.incident_log import POSTGRES, incidents
from shared.adapters.postgres.database import Queries
from shared.errors import DarkroomError, KeyRefused
from shared.key_refusals import KeyRefusal

CHECK_SECONDS = 0.5
"""The time between two checks of the keys of open streams and waits."""

_Scopes = dict[str | None, set[asyncio.Timeout]]


class RevocationWatch:
    """Checks the keys of the open streams and waits of this process."""

    def __init__(self, queries: Queries, check_seconds: float = CHECK_SECONDS) -> None:
        self._queries = queries
        self._check_seconds = check_seconds
        self._open: _Scopes = {}
        """The open scopes by key prefix. None stands for scopes opened while no key existed."""
        self._has_open_scopes = asyncio.Event()

    @asynccontextmanager
    async def until_revoked(self, caller: Caller) -> AsyncIterator[None]:
        """Run the block until the caller's key is revoked, then cancel it and raise `KeyRefused`.

        A block without a key is cancelled when the first key is created.
        """
        prefix = caller.key_prefix
        try:
            async with asyncio.timeout(None) as scope:
                self._open.setdefault(prefix, set()).add(scope)
                self._has_open_scopes.set()
                try:
                    yield
                finally:
                    self._remove(prefix, scope)
        except TimeoutError:
            if not scope.expired():
                raise
            reason: KeyRefusal = "missing" if prefix is None else "revoked"
            raise KeyRefused(reason) from None

    def _remove(self, prefix: str | None, scope: asyncio.Timeout) -> None:
        scopes = self._open[prefix]
        scopes.discard(scope)
        if not scopes:
            del self._open[prefix]

    async def run(self) -> None:
        """Check the keys until cancelled. Without open blocks, no query runs."""
        while True:
            if not self._open:
                self._has_open_scopes.clear()
                await self._has_open_scopes.wait()
            await asyncio.sleep(self._check_seconds)
            try:
                await self._check()
            except DarkroomError as error:
                # Open blocks continue, because no key is known to be revoked.
                incidents.record_outage(error, doing="check_open_keys")
            else:
                incidents.record_recovery(POSTGRES)

    async def _check(self) -> None:
        if not self._open:
            return
        prefixes = [prefix for prefix in self._open if prefix is not None]
        rows = await self._queries.fetch("ended_keys", prefixes, None in self._open)
        for row in rows:
            for scope in self._open.get(row["prefix"], ()):
                scope.reschedule(asyncio.get_running_loop().time())
