"""Writes rare moves, one statement each. No account uses more than a few connections at once."""

from __future__ import annotations

from typing import Any

import asyncpg

from shared.adapters.concurrency_limit import ConcurrencyLimit
from shared.adapters.postgres.database import Queries
from shared.errors import RowBusy
from worker.store.busy_rows import BusyRows, RequiredRows, RowRef, find_locked_rows

MOST_PER_ACCOUNT = 3
"""The most connections of one account. Its other moves wait in memory."""


class SingleStatements:
    """Runs named queries that move one job each. The connection limits how long a lock is
    awaited.
    """

    def __init__(self, queries: Queries, busy: BusyRows) -> None:
        self._queries = queries
        self._busy = busy
        self._shares = ConcurrencyLimit(MOST_PER_ACCOUNT)

    async def run(self, required: RequiredRows, query: str, *args: Any) -> asyncpg.Record | None:
        """Run the query and return its row, or None where its guard did not match.

        Raises `RowBusy` with nothing written, and `PostgresDown`.
        """
        async with self._shares.hold([required.account_id]):
            # Checked here, because the statement before may have found the row locked.
            if self._busy.start_retry(required):
                async with self._busy.separate_connections:
                    return await self._run(required, query, *args)
            return await self._run(required, query, *args)

    async def _run(self, required: RequiredRows, query: str, *args: Any) -> asyncpg.Record | None:
        try:
            row = await self._queries.fetch_row(query, *args)
        except RowBusy as error:
            busy = await find_locked_rows(self._queries, [required])
            self._busy.mark_busy(busy or {RowRef("job", str(required.job_id))})
            raise self._busy.error_for(required) from error
        self._busy.mark_free(required)
        return row
