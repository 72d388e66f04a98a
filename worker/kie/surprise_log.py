"""Counts what Kie's responses contain and no reader knows, and stores one example a day."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from shared.adapters.async_tasks import stop_if_cancelled, stop_tasks
from shared.adapters.monitoring.incident_log import POSTGRES, incidents
from shared.adapters.postgres.database import Queries
from shared.catalog import KieResponse
from shared.catalog.redaction import redact
from shared.errors import DarkroomError, DependencyDown
from worker.kie.surprises import Surprise, find_surprises

WRITE_SECONDS = 30.0
"""How long surprises are collected before they are stored."""
PENDING_MAX = 200
"""Different surprises kept until they are stored. Further ones are counted by the metric alone."""
EXAMPLE_LENGTH_MAX = 2_000

Key = tuple[str, str, str]


class SurpriseLog:
    """The surprises of one worker."""

    def __init__(self, queries: Queries, count: Callable[[str], None]) -> None:
        """Store by `queries`, and call `count` with the kind of each surprise."""
        self._queries = queries
        self._count = count
        self._pending: dict[Key, tuple[int, str]] = {}
        self._has_pending = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> SurpriseLog:
        """Store surprises in the background."""
        self._task = asyncio.create_task(self._store_until_cancelled())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop. What is pending is stored if Postgres is there."""
        if self._task is not None:
            await stop_tasks([self._task])
        with suppress(DarkroomError):
            await self.store()

    def check(self, family: str, endpoint: str, response: KieResponse) -> None:
        """Count what no reader of the family knows in a response. Never waits and never raises."""
        for surprise in find_surprises(endpoint, response):
            self._add(family, surprise, response)

    def _add(self, family: str, surprise: Surprise, response: KieResponse) -> None:
        self._count(surprise.kind)
        key = (family, surprise.kind, surprise.value)
        times, example = self._pending.get(key, (0, ""))
        if times == 0:
            if len(self._pending) >= PENDING_MAX:
                return
            example = redact(response.body)[:EXAMPLE_LENGTH_MAX]
        self._pending[key] = (times + 1, example)
        self._has_pending.set()

    async def store(self) -> int:
        """Store what is pending, and return how many different surprises that was.

        Raises `PostgresDown` and `DatabaseRefused`. Then they stay pending.
        """
        pending, self._pending = self._pending, {}
        self._has_pending.clear()
        if not pending:
            return 0
        families, kinds, values = (list(column) for column in zip(*pending, strict=True))
        counts, examples = (list(column) for column in zip(*pending.values(), strict=True))
        try:
            await self._queries.fetch(
                "record_kie_surprises", families, kinds, values, counts, examples
            )
        except DarkroomError:
            self._put_back(pending)
            raise
        return len(pending)

    def _put_back(self, pending: dict[Key, tuple[int, str]]) -> None:
        for key, (times, example) in pending.items():
            self._pending[key] = (self._pending.get(key, (0, ""))[0] + times, example)
        self._has_pending.set()

    async def _store_until_cancelled(self) -> None:
        while True:
            await self._has_pending.wait()
            await asyncio.sleep(WRITE_SECONDS)
            try:
                await self.store()
            except DependencyDown as down:
                incidents.record_outage(down, doing="store_surprises")
            except DarkroomError as error:
                incidents.record_failure(
                    "surprises_not_stored", "", error, calm_seconds=2 * WRITE_SECONDS
                )
            else:
                incidents.record_recovery(POSTGRES)
                incidents.record_success("surprises_not_stored", "")
            stop_if_cancelled()
