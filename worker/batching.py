"""Moves of many jobs that come together go to Postgres as one statement, in one commit.

What such a statement writes it writes for every job by itself, under each job's own guard; but it
fails as a whole, and it waits as a whole. So whoever fails or waits too long in company goes
again alone, where his error, or the row that somebody else holds, is nobody else's affair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg

from shared.adapters.postgres import Queries
from shared.adapters.sqlstates import may_concern_one_row
from shared.errors import DatabaseRefused, PostgresDown
from worker.gathering import AFTER_THE_BEAT_SECONDS, BEATS_PER_SECOND, Gathering, Tempo

MOST_TOGETHER = 100
_IN_COMPANY = "200ms"
_ALONE = "0"  # as long as the command may take


class _GoAlone(Exception):
    """Nothing was written for this job: ask again, by itself."""


@dataclass(frozen=True, slots=True)
class _Asked:
    job_id: UUID
    values: tuple[Any, ...]


class BatchedStatement:
    """A named query that takes many jobs: how long to wait for locks, their ids, one array per
    value, then what they have in common. It returns a row, with its `id`, per job that it moved.
    """

    def __init__(
        self,
        queries: Queries,
        query: str,
        *,
        most: int = MOST_TOGETHER,
        per_second: float = BEATS_PER_SECOND,
    ) -> None:
        self._queries = queries
        self._most = most
        self._per_second = per_second
        self._query = query
        self._company: dict[tuple[Any, ...], Gathering[_Asked, asyncpg.Record | None]] = {}

    async def run(
        self, job_id: UUID, values: tuple[Any, ...], common: tuple[Any, ...]
    ) -> asyncpg.Record | None:
        """Run it for this job, with whoever asks in the same moment and has as much in common.

        Returns the job's row, or None where the guard held. Raises `PostgresDown`, in which case
        it may or may not have been written, and `DatabaseRefused`.
        """
        asked = _Asked(job_id, values)
        try:
            return await self._gathering(common).ask(asked)
        except _GoAlone:
            return (await self._fetch([asked], common, _ALONE)).get(job_id)

    def _gathering(self, common: tuple[Any, ...]) -> Gathering[_Asked, asyncpg.Record | None]:
        known = self._company.get(common)
        if known is None:

            async def send(asked: Sequence[_Asked]) -> Sequence[asyncpg.Record | Exception | None]:
                return await self._send(asked, common)

            known = self._company[common] = Gathering(
                send,
                most=self._most,
                tempo=Tempo(self._per_second, offset_seconds=AFTER_THE_BEAT_SECONDS),
            )
        return known

    async def _send(
        self, asked: Sequence[_Asked], common: tuple[Any, ...]
    ) -> Sequence[asyncpg.Record | Exception | None]:
        # Who asks for the same job twice at once must not be told twice that it was him.
        first = {one.job_id: one for one in reversed(asked)}
        try:
            rows = await self._fetch(list(first.values()), common, _IN_COMPANY)
        except DatabaseRefused:
            return [_GoAlone()] * len(asked)
        except PostgresDown as error:
            if error.sqlstate is None or not may_concern_one_row(error.sqlstate):
                raise
            return [_GoAlone()] * len(asked)
        return [rows.get(one.job_id) if first[one.job_id] is one else _GoAlone() for one in asked]

    async def _fetch(
        self, asked: list[_Asked], common: tuple[Any, ...], patience: str
    ) -> dict[UUID, asyncpg.Record]:
        # In the order of ids, as everybody else locks them.
        asked.sort(key=lambda one: one.job_id)
        columns = zip(*(one.values for one in asked), strict=True)
        rows = await self._queries.fetch(
            self._query, patience, [one.job_id for one in asked], *map(list, columns), *common
        )
        return {row["id"]: row for row in rows}
