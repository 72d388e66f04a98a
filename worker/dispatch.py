"""Delivers at once what only Postgres knows to be committed: it says so by NOTIFY.

That is what was enqueued inside a caller's own transaction, and every webhook message, which is
written by the statement that ends its job. A lost notification costs seconds, nothing more: the
reconciler finds the row.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import UUID

import asyncpg

from shared.adapters.delivery import stop_if_cancelled
from shared.adapters.failure_log import POSTGRES, failures
from shared.adapters.postgres import CONNECT_TIMEOUT_SECONDS, translated_errors
from shared.errors import DarkroomError, DependencyDown
from worker.reconciler import Reconciler

CHANNEL = "darkroom_dispatch"
WEBHOOK_CHANNEL = "darkroom_webhooks"
"""A message here is the ids of a webhook message and its endpoint, with a blank between."""
_RECONNECT_SECONDS = 2.0
_MESSAGES_KEPT = 50_000


@dataclass(slots=True)
class _News:
    """What came since the last look."""

    has_come: asyncio.Event = field(default_factory=asyncio.Event)
    of_jobs: bool = False
    of_messages: list[tuple[UUID, UUID]] = field(default_factory=list)

    def note_jobs(self, *_: object) -> None:
        self.of_jobs = True
        self.has_come.set()

    def note_message(self, *notification: object) -> None:
        # Whoever may connect may notify: what is no id is nothing. Beyond that many, the outbox
        # finds the rest.
        with suppress(ValueError):
            message_id, endpoint_id = map(UUID, str(notification[-1]).split(" "))
            if len(self.of_messages) < _MESSAGES_KEPT:
                self.of_messages.append((message_id, endpoint_id))
                self.has_come.set()


async def dispatch_on_notify(database_url: str, reconciler: Reconciler) -> None:
    """Listen until cancelled; reconnect after every outage."""
    while True:
        try:
            await _listen(database_url, reconciler)
        except DarkroomError as error:
            failures.down(error, doing="listen_for_dispatches")
        await asyncio.sleep(_RECONNECT_SECONDS)


async def _listen(database_url: str, reconciler: Reconciler) -> None:
    news = _News()
    with translated_errors():
        connection = await asyncpg.connect(database_url, timeout=CONNECT_TIMEOUT_SECONDS)
        try:
            connection.add_termination_listener(lambda _: news.has_come.set())
            await connection.add_listener(WEBHOOK_CHANNEL, news.note_message)
            await connection.add_listener(CHANNEL, news.note_jobs)
            failures.up(POSTGRES)
            while not connection.is_closed():
                await news.has_come.wait()
                news.has_come.clear()
                try:
                    await _act_on(news, reconciler)
                except DependencyDown as error:
                    failures.down(error, doing="dispatch")
                stop_if_cancelled()
        finally:
            connection.terminate()


async def _act_on(news: _News, reconciler: Reconciler) -> None:
    jobs, news.of_jobs = news.of_jobs, False
    messages, news.of_messages = news.of_messages, []
    if messages:
        await reconciler.outbox.deliver(messages)
    if jobs:
        await reconciler.deliver_fresh(settling_seconds=0)
