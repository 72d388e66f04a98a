"""Moves of many jobs that come together go to Postgres as one statement, in one commit.

What such a statement writes it writes for every job by itself, under each job's own guard; but it
fails as a whole, and it waits as a whole. So it waits for locks only briefly. Where it fails, the
jobs of the accounts concerned go in statements of their own for a while: one for each account,
divided further until the job that is refused, or the row that is held, is alone. What another
session holds is told to `BusyRows`, and who needs it raises `RowBusy`, with nothing written.
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
from worker.batching.micro_batch import AFTER_THE_BEAT_SECONDS, BEATS_PER_SECOND, Gathering, Tempo
from worker.store.busy_rows import BusyRows, Needs, Row, find_held, raise_if_of_all

MOST_TOGETHER = 100
APART_SECONDS = 30.0
"""How long an account's jobs go by themselves after its last statement that failed."""
_WAIT_TOGETHER = "300ms"
_WAIT_APART = "500ms"
_WAIT_AGAIN = "100ms"
"""For those that are left after a statement has failed: they have waited before."""
_MOST_HELD_ALONE = 3
"""So many held jobs of one account are found one by one; then all of them are taken for held."""

_FAILURES = (RowBusy, DatabaseRefused, PostgresDown)

_Common = tuple[Any, ...]
_Outcome = asyncpg.Record | Exception | None


class _GoAlone(Exception):
    """Nothing was written for this job: ask again, by itself."""


class _GoApart(Exception):
    """Nothing was written for this job: ask again, with others of its account alone."""


@dataclass(frozen=True, slots=True)
class _Asked:
    needs: Needs
    values: tuple[Any, ...]

    @property
    def job_id(self) -> UUID:
        return self.needs.job_id


_Gathered = Gathering[_Asked, asyncpg.Record | None]


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
        most: int = MOST_TOGETHER,
        per_second: float = BEATS_PER_SECOND,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queries = queries
        self._query = query
        self._busy = busy
        self._most = most
        self._per_second = per_second
        self._monotonic = monotonic
        self._together: dict[_Common, _Gathered] = {}
        self._apart: dict[tuple[_Common, str], _Gathered] = {}
        self._apart_until: dict[str, float] = {}

    async def run(
        self, needs: Needs, values: tuple[Any, ...], common: _Common
    ) -> asyncpg.Record | None:
        """Run it for this job, with whoever asks in the same moment and has as much in common.

        Returns the job's row, or None where the guard held. Raises `RowBusy` and
        `DatabaseRefused` with nothing written, and `PostgresDown`, in which case it may or may
        not have been written.
        """
        asked = _Asked(needs, values)
        if self._busy.admit(needs):
            return await self._run_alone(asked, common)
        try:
            if not self._is_apart(needs.account_id):
                with suppress(_GoApart):
                    return await self._gathering(common).ask(asked)
            return await self._gathering_apart(common, needs.account_id).ask(asked)
        except _GoAlone:
            return await self._run_alone(asked, common)

    async def _run_alone(self, asked: _Asked, common: _Common) -> asyncpg.Record | None:
        outcome = (await self._send_apart([asked], common))[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    # --- all accounts together ----------------------------------------------------------------

    def _gathering(self, common: _Common) -> _Gathered:
        known = self._together.get(common)
        if known is None:

            async def send(asked: Sequence[_Asked]) -> Sequence[_Outcome]:
                return await self._send(asked, common)

            known = self._together[common] = self._gathering_by(send)
        return known

    def _gathering_by(self, send: Callable[[Sequence[_Asked]], Any]) -> _Gathered:
        tempo = Tempo(self._per_second, offset_seconds=AFTER_THE_BEAT_SECONDS)
        return Gathering(send, most=self._most, tempo=tempo)

    async def _send(self, asked: Sequence[_Asked], common: _Common) -> Sequence[_Outcome]:
        once = _each_once(asked)
        outcomes: dict[UUID, _Outcome] = {}
        try:
            outcomes.update(await self._fetch(once, common, _WAIT_TOGETHER))
        except _FAILURES as error:
            raise_if_of_all(error)
            outcomes.update(await self._send_unaffected(once, common, error))
        return _in_order(asked, outcomes)

    async def _send_unaffected(
        self, asked: list[_Asked], common: _Common, error: Exception
    ) -> dict[UUID, _Outcome]:
        """Write those whose accounts have nothing to do with the failure; set the others apart."""
        by_account = _by_account(asked)
        if isinstance(error, RowBusy) and len(by_account) > 1:
            held = await self._find_held(asked)
            left = [one for one in asked if not held.intersection(one.needs.rows)]
            unheld = {name: some for name, some in _by_account(left).items()
                      if len(some) == len(by_account[name])}  # fmt: skip
            together = [one for some in unheld.values() for one in some]
            outcomes = _all_apart(asked)
            try:
                outcomes.update(await self._fetch(together, common, _WAIT_AGAIN))
                return outcomes
            except _FAILURES as again:
                raise_if_of_all(again)
                by_account = unheld
        outcomes = _all_apart(asked)
        if len(by_account) > 1:
            written = await asyncio.gather(
                *(self._send_account(some, common) for some in by_account.values())
            )
            for rows in written:
                outcomes.update(rows)
        return outcomes

    async def _send_account(self, asked: list[_Asked], common: _Common) -> dict[UUID, _Outcome]:
        async with self._busy.apart:
            try:
                return {**await self._fetch(asked, common, _WAIT_AGAIN)}
            except _FAILURES as error:
                raise_if_of_all(error)
                return {}

    # --- one account by itself ----------------------------------------------------------------

    def _is_apart(self, account_id: str) -> bool:
        until = self._apart_until.get(account_id)
        if until is None:
            return False
        if until > self._monotonic():
            return True
        del self._apart_until[account_id]
        for key in [key for key in self._apart if key[1] == account_id]:
            del self._apart[key]
        return False

    def _gathering_apart(self, common: _Common, account_id: str) -> _Gathered:
        self._apart_until.setdefault(account_id, self._monotonic() + APART_SECONDS)
        known = self._apart.get((common, account_id))
        if known is None:

            async def send(asked: Sequence[_Asked]) -> Sequence[_Outcome]:
                return await self._send_apart(asked, common)

            known = self._apart[common, account_id] = self._gathering_by(send)
        return known

    async def _send_apart(self, asked: Sequence[_Asked], common: _Common) -> Sequence[_Outcome]:
        once = _each_once(asked)
        async with self._busy.apart:
            outcomes = await self._write_apart(once, common)
        for one in once:
            if not isinstance(outcomes[one.job_id], RowBusy):
                self._busy.note_free(one.needs)
        return _in_order(asked, outcomes)

    async def _write_apart(self, asked: list[_Asked], common: _Common) -> dict[UUID, _Outcome]:
        outcomes: dict[UUID, _Outcome] = {one.job_id: None for one in asked}
        left = asked
        try:
            outcomes.update(await self._fetch(asked, common, _WAIT_APART))
            return outcomes
        except (DatabaseRefused, PostgresDown) as error:
            raise_if_of_all(error)
            if len(asked) == 1:
                return {asked[0].job_id: error}
        except RowBusy:
            self._busy.note_held(await self._find_held(asked))
            left = []
            for one in asked:
                if self._busy.holds(one.needs):
                    outcomes[one.job_id] = self._busy.error_for(one.needs)
                else:
                    left.append(one)
        self._apart_until[asked[0].needs.account_id] = self._monotonic() + APART_SECONDS
        await self._divide(left, common, outcomes)
        return outcomes

    async def _divide(
        self, asked: list[_Asked], common: _Common, outcomes: dict[UUID, _Outcome]
    ) -> None:
        """Write what can be written, in ever smaller parts; put every outcome into `outcomes`."""
        parts, held_alone = [asked] if asked else [], 0
        while parts:
            part = parts.pop()
            if held_alone >= _MOST_HELD_ALONE:
                for one in part:
                    outcomes[one.job_id] = self._busy.error_for(one.needs)
                continue
            try:
                outcomes.update(await self._fetch(part, common, _WAIT_AGAIN))
            except _FAILURES as error:
                raise_if_of_all(error)
                if len(part) > 1:
                    parts += [part[len(part) // 2 :], part[: len(part) // 2]]
                    continue
                needs = part[0].needs
                outcomes[needs.job_id] = error
                if isinstance(error, RowBusy):
                    held_alone += 1
                    row = Row("job", str(needs.job_id))
                    if held_alone == _MOST_HELD_ALONE:
                        row = Row("jobs_of_account", needs.account_id)
                    self._busy.note_held([row])
                    outcomes[needs.job_id] = self._busy.error_for(needs)

    async def _find_held(self, asked: Sequence[_Asked]) -> set[Row]:
        return await find_held(self._queries, [one.needs for one in asked])

    async def _fetch(
        self, asked: list[_Asked], common: _Common, lock_timeout: str
    ) -> dict[UUID, asyncpg.Record]:
        if not asked:
            return {}
        # In the order of ids, as everybody else locks them.
        asked.sort(key=lambda one: one.job_id)
        columns = zip(*(one.values for one in asked), strict=True)
        rows = await self._queries.fetch(
            self._query, lock_timeout, [one.job_id for one in asked], *map(list, columns), *common
        )
        return {row["id"]: row for row in rows}


def _all_apart(asked: Sequence[_Asked]) -> dict[UUID, _Outcome]:
    return {one.job_id: _GoApart() for one in asked}


def _each_once(asked: Sequence[_Asked]) -> list[_Asked]:
    return list({one.job_id: one for one in reversed(asked)}.values())


def _in_order(asked: Sequence[_Asked], outcomes: Mapping[UUID, _Outcome]) -> list[_Outcome]:
    # Who asks for the same job twice at once must not be told twice that it was him.
    first = {one.job_id: one for one in reversed(asked)}
    return [outcomes.get(one.job_id) if first[one.job_id] is one else _GoAlone() for one in asked]


def _by_account(asked: Sequence[_Asked]) -> dict[str, list[_Asked]]:
    groups: defaultdict[str, list[_Asked]] = defaultdict(list)
    for one in asked:
        groups[one.needs.account_id].append(one)
    return groups
