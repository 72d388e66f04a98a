"""When a worker looks for webhook messages by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from shared.adapters.async_tasks import stop_tasks
from shared.adapters.monitoring.push_channels import PushChannel
from shared.errors import PostgresDown
from tests.unit.worker.test_pending_work import NOTHING
from worker.queue.pending_work import PendingWork
from worker.webhooks.message_search import WINDOW_SECONDS, MessageSearch
from worker.webhooks.outbox import Outbox

NOW = datetime(2026, 5, 4, tzinfo=UTC)


class FakeOutbox:
    """Records searches, and raises the errors that it is given."""

    def __init__(self) -> None:
        self.searches: list[datetime] = []
        self.errors: list[Exception] = []
        self.has_searched = asyncio.Event()

    async def deliver_due_since(self, since: datetime) -> None:
        """Record the search."""
        self.searches.append(since)
        self.has_searched.set()
        if self.errors:
            raise self.errors.pop()

    async def searches_again(self) -> None:
        """Wait for another search."""
        self.has_searched.clear()
        async with asyncio.timeout(10):
            await self.has_searched.wait()


class Searching:
    """A search that finds nothing to do until a test changes that."""

    def __init__(self, **changes: Any) -> None:
        self.outbox, self.pushes = FakeOutbox(), PushChannel("dispatch", "a search")
        self.pending, self.job_ended = PendingWork(), asyncio.Event()
        self.may_claim = True
        self.pushes.record_closed("a pooler")
        for _ in range(2):
            self.pending.record(NOTHING)
        self.search = MessageSearch(
            cast("Outbox", self.outbox),
            self.pushes,
            self.pending,
            self.job_ended,
            may_claim=lambda: self.may_claim,
            now=lambda: NOW,
            **changes,
        )

    def open_job(self) -> None:
        """Have the heartbeat find an open job."""
        self.pending.record({**NOTHING, "reconcile": True})

    @asynccontextmanager
    async def running(self) -> AsyncIterator[FakeOutbox]:
        """Run the search."""
        task = asyncio.create_task(self.search.run_until_cancelled())
        try:
            yield self.outbox
        finally:
            await stop_tasks([task])


async def test_nothing_is_asked_while_nothing_is_open() -> None:
    searching = Searching()
    await searching.search.search_if_needed()
    assert searching.outbox.searches == []


async def test_messages_of_the_last_seconds_are_found_while_a_job_is_open() -> None:
    searching = Searching()
    searching.open_job()
    await searching.search.search_if_needed()
    assert searching.outbox.searches == [NOW - timedelta(seconds=WINDOW_SECONDS)]


async def test_the_end_of_a_job_is_followed_by_one_search() -> None:
    searching = Searching()
    searching.job_ended.set()
    for _ in range(2):
        await searching.search.search_if_needed()
    assert len(searching.outbox.searches) == 1


@pytest.mark.parametrize("is_heard", [True, None])
async def test_nothing_is_asked_where_notifications_are_heard_or_may_be(
    is_heard: bool | None,
) -> None:
    searching = Searching()
    searching.open_job()
    searching.job_ended.set()
    searching.pushes.is_open = is_heard
    await searching.search.search_if_needed()
    # An end from before must not be searched for when the connection is lost much later.
    assert (searching.outbox.searches, searching.job_ended.is_set()) == ([], False)


async def test_a_worker_that_may_not_claim_adds_no_deliveries() -> None:
    searching = Searching()
    searching.open_job()
    searching.may_claim = False
    await searching.search.search_if_needed()
    assert searching.outbox.searches == []


async def test_an_end_is_not_kept_waiting_for_the_interval() -> None:
    searching = Searching(interval_seconds=3600, shortest_seconds=0)
    async with searching.running() as outbox:
        for _ in range(3):
            searching.job_ended.set()
            await outbox.searches_again()


async def test_searches_go_on_after_an_outage() -> None:
    searching = Searching(interval_seconds=0.01, shortest_seconds=0)
    searching.outbox.errors = [PostgresDown("gone"), PostgresDown("gone")]
    searching.open_job()
    async with searching.running() as outbox:
        for _ in range(4):
            await outbox.searches_again()
