"""Shares what the workers learned about completion times: one small table, every few seconds.

No step waits for it, and none depends on it: without Postgres a worker goes on with what it knows.
"""

from __future__ import annotations

import asyncio

import structlog

from shared.adapters.async_tasks import stop_tasks
from shared.adapters.monitoring.incident_log import incidents
from shared.adapters.postgres.database import Queries
from shared.errors import DarkroomError, PostgresDown
from worker.poll_timing import WINDOW_LENGTH, PollPlanner, TaskKind

log = structlog.get_logger(__name__)

INTERVAL_SECONDS = 15.0
CLOSE_SECONDS = 1.0


class CompletionTimes:
    """Writes down what this worker saw, reads what all saw, and has the plans made of it."""

    def __init__(
        self, queries: Queries, planner: PollPlanner, *, interval_seconds: float = INTERVAL_SECONDS
    ) -> None:
        self._queries = queries
        self._planner = planner
        self._interval_seconds = interval_seconds
        self._task: asyncio.Task[None] | None = None

    async def exchange_times(self) -> None:
        """Share once. Raises `PostgresDown` or `DatabaseRefused`; what was seen is then kept."""
        fresh = self._planner.take_new_completions()
        try:
            if fresh:
                await self._queries.fetch(
                    "record_completion_times",
                    [seen.kind.model for seen in fresh],
                    [seen.kind.task for seen in fresh],
                    [seen.kind.quantity for seen in fresh],
                    [seen.seconds for seen in fresh],
                    WINDOW_LENGTH,
                )
                fresh = []
            rows = await self._queries.fetch("read_completion_times", WINDOW_LENGTH)
        except BaseException:
            self._planner.return_completions(fresh)
            raise
        windows = {
            TaskKind(row["model"], row["task"], row["quantity"]): row["seconds"] for row in rows
        }
        for kind in self._planner.load_windows(windows):
            self._planner.replan(kind)
            await asyncio.sleep(0)  # a plan takes milliseconds, and polls are due in between

    async def __aenter__(self) -> CompletionTimes:
        """Share now and from time to time, in the background; a worker at rest asks nothing."""
        self._task = asyncio.create_task(self._keep_sharing())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop, and write down what is left where that takes less than a second."""
        if self._task is not None:
            await stop_tasks([self._task])
        if self._planner.take_used():
            try:
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self.exchange_times()
            except (DarkroomError, TimeoutError) as error:
                log.info("completion_times_not_shared", error=str(error))

    async def _keep_sharing(self) -> None:
        has_read = False
        while True:
            if self._planner.take_used() or not has_read:
                has_read = await self._share_quietly()
            await asyncio.sleep(self._interval_seconds)

    async def _share_quietly(self) -> bool:
        try:
            await self.exchange_times()
        except PostgresDown as error:
            incidents.record_outage(error, doing="share_completion_times")
            return False
        except Exception:
            # Polls go on by what is known; the log says what to mend.
            log.exception("completion_times_failed")
        return True
