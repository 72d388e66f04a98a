"""Writes the moves of many jobs as one statement, in one commit.

The statement checks and writes each job independently. If it fails, it fails for all of them; if it
waits for a lock, all of them wait. So it waits for locks only briefly. Where it fails, the jobs of
the accounts concerned use separate statements for a while: one for each account, divided further
until the job that is refused, or the row that is locked, is alone. `BusyRows` stores which rows are
locked. A move that needs such a row raises `RowBusy`, with nothing written.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg

from shared.adapters.postgres.database import Queries
from shared.errors import DarkroomError, DatabaseRefused, PostgresDown, RowBusy
from worker.batching.micro_batch import (
    BATCHES_PER_SECOND,
    POSTGRES_OFFSET_SECONDS,
    BatchInterval,
    MicroBatch,
)
from worker.store.busy_rows import (
    BusyRows,
    RequiredRows,
    RowRef,
    find_locked_rows,
    raise_if_server_failed,
)

MAX_STATEMENT_JOBS = 100
SEPARATE_SECONDS = 30.0
"""How long the jobs of an account use separate statements after one of them failed."""
_LOCK_TIMEOUT_SHARED = "300ms"
_LOCK_TIMEOUT_ACCOUNT = "500ms"
_LOCK_TIMEOUT_RETRY = "100ms"
"""For the jobs that are left after a statement has failed: they have waited before."""
_MAX_BUSY_JOBS_TRIED = 3
"""After so many busy jobs of one account, found one by one, all its jobs count as busy."""

_FAILURES = (RowBusy, DatabaseRefused, PostgresDown)

_Common = tuple[Any, ...]
_Outcome = asyncpg.Record | Exception | None


class _RetryAlone(Exception):
    """Nothing was written for this job: retry it alone."""


class _RetryByAccount(Exception):
    """Nothing was written for this job: retry it in a batch of its account."""


@dataclass(frozen=True, slots=True)
class _Item:
    required: RequiredRows
    values: tuple[Any, ...]

    @property
    def job_id(self) -> UUID:
        return self.required.job_id


_Batch = MicroBatch[_Item, asyncpg.Record | None]


class BatchedStatement:
    """A named query that moves many jobs.

    Its parameters are the lock timeout, the job ids, one array for each value, then the common
    values. It returns a row with its `id` for each job that it moved.
    """

    def __init__(
        self,
        queries: Queries,
        query: str,
        busy: BusyRows,
        *,
        most: int = MAX_STATEMENT_JOBS,
        per_second: float = BATCHES_PER_SECOND,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queries = queries
        self._query = query
        self._busy = busy
        self._most = most
        self._per_second = per_second
        self._monotonic = monotonic
        self._shared_batches: dict[_Common, _Batch] = {}
        self._batches_by_account: dict[tuple[_Common, str], _Batch] = {}
        self._separate_until: dict[str, float] = {}

    async def run(
        self, required: RequiredRows, values: tuple[Any, ...], common: _Common
    ) -> asyncpg.Record | None:
        """Run the query for this job, in a batch with other jobs that have the same common values.

        Returns the job's row, or None where its guard did not match. Raises `RowBusy` and
        `DatabaseRefused` with nothing written, and `PostgresDown`, after which it may have been
        written.
        """
        item = _Item(required, values)
        if self._busy.start_retry(required):
            return await self._run_alone(item, common)
        try:
            if not self._is_separated(required.account_id):
                with suppress(_RetryByAccount):
                    return await self._shared_batch(common).send_and_wait(item)
            return await self._account_batch(common, required.account_id).send_and_wait(item)
        except _RetryAlone:
            return await self._run_alone(item, common)

    async def _run_alone(self, item: _Item, common: _Common) -> asyncpg.Record | None:
        outcome = (await self._send_for_account([item], common))[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    # --- batches of all accounts ---------------------------------------------------------------

    def _shared_batch(self, common: _Common) -> _Batch:
        known = self._shared_batches.get(common)
        if known is None:

            async def send(items: Sequence[_Item]) -> Sequence[_Outcome]:
                return await self._send(items, common)

            known = self._shared_batches[common] = self._new_batch(send)
        return known

    def _new_batch(self, send: Callable[[Sequence[_Item]], Any]) -> _Batch:
        interval = BatchInterval(self._per_second, offset_seconds=POSTGRES_OFFSET_SECONDS)
        return MicroBatch(send, most=self._most, interval=interval)

    async def _send(self, items: Sequence[_Item], common: _Common) -> Sequence[_Outcome]:
        once = _each_once(items)
        outcomes: dict[UUID, _Outcome] = {}
        try:
            outcomes.update(await self._fetch(once, common, _LOCK_TIMEOUT_SHARED))
        except _FAILURES as error:
            raise_if_server_failed(error)
            outcomes.update(await self._send_unaffected(once, common, error))
        return _in_order(items, outcomes)

    async def _send_unaffected(
        self, items: list[_Item], common: _Common, error: Exception
    ) -> dict[UUID, _Outcome]:
        """Write the jobs whose accounts the failure does not concern. The others retry by
        account.
        """
        by_account = _by_account(items)
        if isinstance(error, RowBusy) and len(by_account) > 1:
            busy = await self._find_held(items)
            left = [one for one in items if not busy.intersection(one.required.rows)]
            unheld = {name: some for name, some in _by_account(left).items()
                      if len(some) == len(by_account[name])}  # fmt: skip
            together = [one for some in unheld.values() for one in some]
            outcomes = _all_retry_by_account(items)
            try:
                outcomes.update(await self._fetch(together, common, _LOCK_TIMEOUT_RETRY))
                return outcomes
            except _FAILURES as again:
                raise_if_server_failed(again)
                by_account = unheld
        outcomes = _all_retry_by_account(items)
        if len(by_account) > 1:
            written = await asyncio.gather(
                *(self._send_account(some, common) for some in by_account.values())
            )
            for rows in written:
                outcomes.update(rows)
        return outcomes

    async def _send_account(self, items: list[_Item], common: _Common) -> dict[UUID, _Outcome]:
        async with self._busy.separate_connections:
            try:
                return {**await self._fetch(items, common, _LOCK_TIMEOUT_RETRY)}
            except _FAILURES as error:
                raise_if_server_failed(error)
                return {}

    # --- batches of one account ----------------------------------------------------------------

    def _is_separated(self, account_id: str) -> bool:
        until = self._separate_until.get(account_id)
        if until is None:
            return False
        if until > self._monotonic():
            return True
        del self._separate_until[account_id]
        for key in [key for key in self._batches_by_account if key[1] == account_id]:
            del self._batches_by_account[key]
        return False

    def _account_batch(self, common: _Common, account_id: str) -> _Batch:
        self._separate_until.setdefault(account_id, self._monotonic() + SEPARATE_SECONDS)
        known = self._batches_by_account.get((common, account_id))
        if known is None:

            async def send(items: Sequence[_Item]) -> Sequence[_Outcome]:
                return await self._send_for_account(items, common)

            known = self._batches_by_account[common, account_id] = self._new_batch(send)
        return known

    async def _send_for_account(
        self, items: Sequence[_Item], common: _Common
    ) -> Sequence[_Outcome]:
        once = _each_once(items)
        async with self._busy.separate_connections:
            outcomes = await self._write_for_account(once, common)
        for one in once:
            if not isinstance(outcomes[one.job_id], RowBusy):
                self._busy.mark_free(one.required)
        return _in_order(items, outcomes)

    async def _write_for_account(self, items: list[_Item], common: _Common) -> dict[UUID, _Outcome]:
        outcomes: dict[UUID, _Outcome] = {one.job_id: None for one in items}
        left = items
        try:
            outcomes.update(await self._fetch(items, common, _LOCK_TIMEOUT_ACCOUNT))
            return outcomes
        except (DatabaseRefused, PostgresDown) as error:
            raise_if_server_failed(error)
            if len(items) == 1:
                return {items[0].job_id: error}
        except RowBusy:
            self._busy.mark_busy(await self._find_held(items))
            left = []
            for one in items:
                if self._busy.is_busy(one.required):
                    outcomes[one.job_id] = self._busy.error_for(one.required)
                else:
                    left.append(one)
        self._separate_until[items[0].required.account_id] = self._monotonic() + SEPARATE_SECONDS
        await self._divide(left, common, outcomes)
        return outcomes

    async def _divide(
        self, items: list[_Item], common: _Common, outcomes: dict[UUID, _Outcome]
    ) -> None:
        """Write the jobs in ever smaller parts, and put each outcome into `outcomes`."""
        parts, held_alone = [items] if items else [], 0
        while parts:
            part = parts.pop()
            if held_alone >= _MAX_BUSY_JOBS_TRIED:
                for one in part:
                    outcomes[one.job_id] = self._busy.error_for(one.required)
                continue
            try:
                outcomes.update(await self._fetch(part, common, _LOCK_TIMEOUT_RETRY))
            except _FAILURES as error:
                raise_if_server_failed(error)
                if len(part) > 1:
                    parts += [part[len(part) // 2 :], part[: len(part) // 2]]
                    continue
                required = part[0].required
                outcomes[required.job_id] = error
                if isinstance(error, RowBusy):
                    held_alone += 1
                    row = RowRef("job", str(required.job_id))
                    if held_alone == _MAX_BUSY_JOBS_TRIED:
                        row = RowRef("jobs_of_account", required.account_id)
                    self._busy.mark_busy([row])
                    outcomes[required.job_id] = self._busy.error_for(required)

    async def _find_held(self, items: Sequence[_Item]) -> set[RowRef]:
        return await find_locked_rows(self._queries, [one.required for one in items])

    async def _fetch(
        self, items: list[_Item], common: _Common, lock_timeout: str
    ) -> dict[UUID, asyncpg.Record]:
        if not items:
            return {}
        # In the order of ids, in which every other statement locks them.
        items.sort(key=lambda one: one.job_id)
        columns = zip(*(one.values for one in items), strict=True)
        rows = await self._queries.fetch(
            self._query, lock_timeout, [one.job_id for one in items], *map(list, columns), *common
        )
        return {row["id"]: row for row in rows}


def _all_retry_by_account(items: Sequence[_Item]) -> dict[UUID, _Outcome]:
    return {one.job_id: _RetryByAccount() for one in items}


def _each_once(items: Sequence[_Item]) -> list[_Item]:
    return list({one.job_id: one for one in reversed(items)}.values())


def _in_order(items: Sequence[_Item], outcomes: Mapping[UUID, _Outcome]) -> list[_Outcome]:
    # If one job appears twice in a batch, only the first call gets the row; the second is retried
    # alone.
    first = {one.job_id: one for one in reversed(items)}
    return [
        outcomes.get(one.job_id) if first[one.job_id] is one else _RetryAlone() for one in items
    ]


def _by_account(items: Sequence[_Item]) -> dict[str, list[_Item]]:
    groups: defaultdict[str, list[_Item]] = defaultdict(list)
    for one in items:
        groups[one.required.account_id].append(one)
    return groups


MAX_READ_JOBS = 500


class BatchedReads:
    """Reads of whole jobs, in batches. Raises `PostgresDown`."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries
        self._rows: MicroBatch[UUID, asyncpg.Record | None] = MicroBatch(
            self._fetch_rows, most=MAX_READ_JOBS
        )

    async def row(self, job_id: UUID) -> asyncpg.Record | None:
        """Return the row of the job with the Kie account of its newest attempt, or None."""
        return await self._rows.send_and_wait(job_id)

    async def _fetch_rows(self, job_ids: Sequence[UUID]) -> list[asyncpg.Record | Exception | None]:
        """Read these jobs with one statement. A row that cannot be read is an error for its own
        caller.
        """
        try:
            rows = await self._queries.fetch("jobs_to_run", job_ids)
        except DarkroomError:
            raise
        except Exception as error:
            # The driver cannot decode a value of some row, and does not report which.
            if len(job_ids) == 1:
                return [error]
            half = len(job_ids) // 2
            return [
                *await self._fetch_rows(job_ids[:half]),
                *await self._fetch_rows(job_ids[half:]),
            ]
        by_id = {row["id"]: row for row in rows}
        return [by_id.get(job_id) for job_id in job_ids]
