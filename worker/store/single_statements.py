"""Rare moves of one job: a statement each, of which no account has more than a few at once."""

from __future__ import annotations

from typing import Any

import asyncpg

from shared.adapters.concurrency_limit import ConcurrencyLimit
from shared.adapters.postgres.database import Queries
from shared.errors import RowBusy
from worker.store.busy_rows import BusyRows, Needs, Row, find_held

MOST_PER_ACCOUNT = 3
"""Of the worker's connections; beyond it the moves of one account wait in memory."""


class SingleStatements:
    """Runs named queries that move one job each. The connection says how long a lock is awaited."""

    def __init__(self, queries: Queries, busy: BusyRows) -> None:
        self._queries = queries
        self._busy = busy
        self._shares = ConcurrencyLimit(MOST_PER_ACCOUNT)

    async def run(self, needs: Needs, query: str, *args: Any) -> asyncpg.Record | None:
        """Run the query and return its row, or None where the guard held.

        Raises `RowBusy` with nothing written, and `PostgresDown`.
        """
        async with self._shares.hold([needs.account_id]):
            # Asked for here: whoever had the share before may have found the row held.
            if self._busy.admit(needs):
                async with self._busy.apart:
                    return await self._run(needs, query, *args)
            return await self._run(needs, query, *args)

    async def _run(self, needs: Needs, query: str, *args: Any) -> asyncpg.Record | None:
        try:
            row = await self._queries.fetch_row(query, *args)
        except RowBusy as error:
            held = await find_held(self._queries, [needs])
            self._busy.note_held(held or {Row("job", str(needs.job_id))})
            raise self._busy.error_for(needs) from error
        self._busy.note_free(needs)
        return row
