"""Moves of many jobs that come together go to Postgres as one statement, in one commit.

What such a statement writes it writes for every job by itself, under each job's own guard; but it
fails as a whole, and it waits as a whole. So it waits for locks only briefly. Where it fails, the
jobs of the accounts concerned go in statements of their own for a while: one for each account,
divided further until the job that is refused, or the row that is busy, is alone. What another
session holds is told to `BusyRows`, and who required it raises `RowBusy`, with nothing written.
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
from shared.errors import DatabaseRefused, PostgresDown, RowBusy
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
"""How long an account's jobs go by themselves after its last statement that failed."""
_LOCK_TIMEOUT_SHARED = "300ms"
_LOCK_TIMEOUT_ACCOUNT = "500ms"
_LOCK_TIMEOUT_RETRY = "100ms"
"""For those that are left after a statement has failed: they have waited before."""
_MAX_BUSY_JOBS_TRIED = 3
"""So many busy jobs of one account are found one by one; then all of them are taken for busy."""

_FAILURES = (RowBusy, DatabaseRefused, PostgresDown)

_Common = tuple[Any, ...]
_Outcome = asyncpg.Record | Exception | None


class _RetryAlone(Exception):
    """Nothing was written for this job: ask again, by itself."""


class _RetryByAccount(Exception):
    """Nothing was written for this job: ask again, with others of its account alone."""


@dataclass(frozen=True, slots=True)
class _Item:
    required: RequiredRows
    values: tuple[Any, ...]

    @property
    def job_id(self) -> UUID:
        return self.required.job_id


_Batch = MicroBatch[_Item, asyncpg.Record | None]


class BatchedStatement:
    """A named query that takes many jobs: how long to wait for locks, their ids, one array per
    value, then what they have in common. It returns a row, with its `id`, per job that it moved.
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
        """Run it for this job, with whoever asks in the same moment and has as much in common.

        Returns the job's row, or None where the guard busy. Raises `RowBusy` and
        `DatabaseRefused` with nothing written, and `PostgresDown`, in which case it may or may
        not have been written.
        """
        items = _Item(required, values)
        if self._busy.start_retry(required):
            return await self._run_alone(items, common)
        try:
            if not self._is_separated(required.account_id):
                with suppress(_RetryByAccount):
                    return await self._shared_batch(common).send_and_wait(items)
            return await self._account_batch(common, required.account_id).send_and_wait(items)
        except _RetryAlone:
            return await self._run_alone(items, common)

    async def _run_alone(self, items: _Item, common: _Common) -> asyncpg.Record | None:
        outcome = (await self._send_for_account([items], common))[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    # --- all accounts together ----------------------------------------------------------------

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
        """Write those whose accounts have nothing to do with the failure; set the others apart."""
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

    # --- one account by itself ----------------------------------------------------------------

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
        """Write what can be written, in ever smaller parts; put every outcome into `outcomes`."""
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
        # In the order of ids, as everybody else locks them.
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
    # Who asks for the same job twice at once must not be told twice that it was him.
    first = {one.job_id: one for one in reversed(items)}
    return [
        outcomes.get(one.job_id) if first[one.job_id] is one else _RetryAlone() for one in items
    ]


def _by_account(items: Sequence[_Item]) -> dict[str, list[_Item]]:
    groups: defaultdict[str, list[_Item]] = defaultdict(list)
    for one in items:
        groups[one.required.account_id].append(one)
    return groups
