"""Looks for webhook messages while no notification of Postgres is heard, as behind a pooler.

The reconciler finds every message as well, but seconds later. While this worker hears
notifications, and while nothing is open, this sends nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

from shared.adapters.async_tasks import stop_if_cancelled
from shared.adapters.monitoring.incident_log import incidents
from shared.adapters.monitoring.push_channels import PushChannel
from shared.errors import DarkroomError
from worker.queue.pending_work import PendingWork
from worker.webhooks.outbox import Outbox

SEARCH_SECONDS = 1.0
"""The interval of searches while jobs are open, which other processes may end."""
SHORTEST_SECONDS = 0.25
"""The shortest time between two searches, after ends of this worker's own."""
WINDOW_SECONDS = 5.0
"""How long ago a message may have become due. The reconciler finds older ones."""


class MessageSearch:
    """The search of one worker."""

    def __init__(
        self,
        outbox: Outbox,
        pushes: PushChannel,
        pending_work: PendingWork,
        job_ended: asyncio.Event,
        *,
        may_claim: Callable[[], bool],
        now: Callable[[], datetime],
        interval_seconds: float = SEARCH_SECONDS,
        shortest_seconds: float = SHORTEST_SECONDS,
    ) -> None:
        """`job_ended` is set after this worker has stored the end of a job, and cleared here.

        `now` is Postgres's clock.
        """
        self._outbox = outbox
        self._pushes = pushes
        self._pending_work = pending_work
        self._job_ended = job_ended
        self._may_claim = may_claim
        self._now = now
        self._interval_seconds = interval_seconds
        self._shortest_seconds = shortest_seconds

    async def run_until_cancelled(self) -> None:
        """Search whenever a message may have been written. Outlives outages."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._interval_seconds):
                    await self._job_ended.wait()
            try:
                await self.search_if_needed()
            except DarkroomError as error:
                incidents.record_outage(error, doing="search_webhooks")
            stop_if_cancelled()
            await asyncio.sleep(self._shortest_seconds)

    async def search_if_needed(self) -> None:
        """Deliver the new messages, where no notification names them and jobs are or were open.

        Raises `PostgresDown` and `RedisDown`.
        """
        has_ended = self._job_ended.is_set()
        self._job_ended.clear()
        is_heard = self._pushes.is_open is not False
        if is_heard or not self._may_claim() or not (has_ended or not self._pending_work.is_quiet):
            return
        await self._outbox.deliver_due_since(self._now() - timedelta(seconds=WINDOW_SECONDS))
