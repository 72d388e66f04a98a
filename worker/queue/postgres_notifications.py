"""Listens to Postgres NOTIFY and delivers at once what was committed.

These are jobs that were enqueued inside a caller's own transaction, and every webhook message,
which the statement that ends its job writes. A lost notification costs a few seconds: the
reconciler finds the row. The start and the end of a pause, the change of a route, and the request
to cancel a job at Kie are notified too.

While no notification comes, the pool sends one to the listening connection at intervals. A
connection that does not receive it is dead, or connected to another server than the pool, and is
opened again. A transaction pooler lets none through. This is found when the connection is opened,
logged once, and tried again at long intervals.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from secrets import token_hex
from uuid import UUID

from shared.adapters.async_tasks import stop_if_cancelled
from shared.adapters.monitoring.incident_log import POSTGRES, incidents
from shared.adapters.monitoring.push_channels import PushChannel
from shared.adapters.postgres.connections.notification_check import (
    ECHO_CHANNEL,
    connect_to_listen,
    find_unheard_reason_on,
)
from shared.adapters.postgres.database import translated_postgres_errors
from shared.adapters.redis.subscription import SUBSCRIPTION_CHECK, SubscriptionCheck
from shared.errors import DarkroomError, DependencyDown, PostgresDown
from worker.recovery.reconciler import Reconciler

JOBS_CHANNEL = "darkroom_dispatch"
WEBHOOK_CHANNEL = "darkroom_webhooks"
"""The payload is the id of a webhook message and that of its endpoint, separated by a space."""
PAUSES_CHANNEL = "darkroom_pauses"
"""The payload is the id of a pause that was started or has been resumed."""
ROUTES_CHANNEL = "darkroom_routes"
"""The payload is a model whose route has changed."""
CANCELS_CHANNEL = "darkroom_cancels"
"""The payload is the id of a job at Kie whose cancel was requested."""
LISTENER_CHECK = SubscriptionCheck(interval_seconds=9.0, deadline_seconds=11.0)
"""The check of a listener whose echo is sent by the next heartbeat of its process."""
_RECONNECT_SECONDS = 2.0
_UNHEARD_SECONDS = 60.0
"""How long after a connection by which nothing can be heard the next is tried."""
_MESSAGES_KEPT = 50_000


@dataclass(slots=True)
class _PendingNotifications:
    """The notifications since the last delivery."""

    has_pending: asyncio.Event = field(default_factory=asyncio.Event)
    of_jobs: bool = False
    of_messages: list[tuple[UUID, UUID]] = field(default_factory=list)

    def add_job(self, *_: object) -> None:
        self.of_jobs = True
        self.has_pending.set()

    def add_webhook(self, *notification: object) -> None:
        # Any session may notify, so a payload without ids is ignored. Beyond the limit, the outbox
        # finds the rest.
        with suppress(ValueError):
            message_id, endpoint_id = map(UUID, str(notification[-1]).split(" "))
            if len(self.of_messages) < _MESSAGES_KEPT:
                self.of_messages.append((message_id, endpoint_id))
                self.has_pending.set()


async def deliver_on_notify(
    database_url: str,
    reconciler: Reconciler,
    request_echo: Callable[[str], Awaitable[object]],
    pushes: PushChannel,
    heartbeat: SubscriptionCheck = SUBSCRIPTION_CHECK,
    *,
    on_pause: Callable[[], None],
    on_route: Callable[[], None],
    on_cancel: Callable[[UUID], None],
) -> None:
    """Listen until cancelled. Reconnects after every outage, and when no heartbeat is received.

    `database_url` is `DATABASE_DIRECT_URL`, if it is set.

    `on_pause` is called when a pause was started or has ended, `on_route` when a route has changed,
    and both when the connection is opened. `on_cancel` is called with the job of each request.
    `request_echo` has a session of the pool notify the token that it is called with.
    """
    while True:
        wait_seconds = _RECONNECT_SECONDS
        try:
            listener = _Listener(
                reconciler, request_echo, pushes, heartbeat, on_pause, on_route, on_cancel
            )
            unheard = await listener.run(database_url)
        except DarkroomError as error:
            incidents.record_outage(error, doing="listen_for_dispatches")
            pushes.record_closed(str(error))
        else:
            pushes.record_closed(unheard or "the server has closed the connection")
            wait_seconds = _UNHEARD_SECONDS if unheard else _RECONNECT_SECONDS
        await asyncio.sleep(wait_seconds)


class _Listener:
    """One listening connection, from its opening to its end."""

    def __init__(
        self,
        reconciler: Reconciler,
        request_echo: Callable[[str], Awaitable[object]],
        pushes: PushChannel,
        heartbeat: SubscriptionCheck,
        on_pause: Callable[[], None],
        on_route: Callable[[], None],
        on_cancel: Callable[[UUID], None],
    ) -> None:
        self._on_cancel = on_cancel
        self._on_pause = on_pause
        self._on_route = on_route
        self._reconciler = reconciler
        self._request_echo = request_echo
        self._pushes = pushes
        self._heartbeat = heartbeat
        self._token = token_hex(8)
        self._news = _PendingNotifications()

    async def run(self, database_url: str) -> str | None:
        """Listen until the connection ends. Returns at once, and why, where nothing is heard.

        Raises `PostgresDown` and `DatabaseRefused`.
        """
        news = self._news
        with translated_postgres_errors():
            connection = await connect_to_listen(database_url)
            try:
                unheard = await find_unheard_reason_on(
                    connection, self._reconciler.queries, self._heartbeat.deadline_seconds
                )
                if unheard is not None:
                    return unheard
                connection.add_termination_listener(lambda _: news.has_pending.set())
                await connection.add_listener(WEBHOOK_CHANNEL, news.add_webhook)
                await connection.add_listener(ECHO_CHANNEL, self._note_echo)
                await connection.add_listener(PAUSES_CHANNEL, lambda *_: self._on_pause())
                await connection.add_listener(ROUTES_CHANNEL, lambda *_: self._on_route())
                await connection.add_listener(CANCELS_CHANNEL, self._note_cancel)
                await connection.add_listener(JOBS_CHANNEL, news.add_job)
                self._on_pause()
                self._on_route()
                self._pushes.record_open()
                incidents.record_recovery(POSTGRES)
                while not connection.is_closed():
                    await self._wait()
                    await self._deliver()
                    stop_if_cancelled()
                return None
            finally:
                connection.terminate()

    def _note_cancel(self, *notification: object) -> None:
        # Any session may notify, so a payload that is no id is ignored.
        with suppress(ValueError):
            self._on_cancel(UUID(str(notification[-1])))

    def _note_echo(self, *notification: object) -> None:
        if notification[-1] == self._token:
            self._news.has_pending.set()

    async def _wait(self) -> None:
        """Return when a notification has come. Raises `PostgresDown` where no heartbeat is
        received.
        """
        news, heartbeat = self._news, self._heartbeat
        with suppress(TimeoutError):
            async with asyncio.timeout(heartbeat.interval_seconds):
                await news.has_pending.wait()
                return
        try:
            async with asyncio.timeout(heartbeat.deadline_seconds):
                await self._request_echo(self._token)
                await news.has_pending.wait()
        except TimeoutError:
            raise PostgresDown(
                "the listening connection is dead: nothing has arrived on it for"
                f" {heartbeat.interval_seconds + heartbeat.deadline_seconds:g} s"
            ) from None

    async def _deliver(self) -> None:
        news = self._news
        news.has_pending.clear()
        if news.of_jobs or news.of_messages:
            self._pushes.record_push()
        try:
            await _deliver_pending(news, self._reconciler)
        except DependencyDown as error:
            incidents.record_outage(error, doing="dispatch")


async def _deliver_pending(news: _PendingNotifications, reconciler: Reconciler) -> None:
    jobs, news.of_jobs = news.of_jobs, False
    messages, news.of_messages = news.of_messages, []
    if messages:
        await reconciler.outbox.deliver(messages)
    if jobs:
        reconciler.choose_now()
        await reconciler.deliver_recent(grace_seconds=0)
