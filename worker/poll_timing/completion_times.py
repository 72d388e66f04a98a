"""Exchanges completion times with other workers through one small table, every few seconds.

No step waits for it. Without Postgres a worker continues with what it knows.
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
    """Stores the completions of this worker, reads those of all workers, and plans polls
    from them.
    """

    def __init__(
        self, queries: Queries, planner: PollPlanner, *, interval_seconds: float = INTERVAL_SECONDS
    ) -> None:
        self._queries = queries
        self._planner = planner
        self._interval_seconds = interval_seconds
        self._task: asyncio.Task[None] | None = None

    async def exchange_times(self) -> None:
        """Exchange once. Raises `PostgresDown` or `DatabaseRefused`; no completion is lost then."""
        fresh = self._planner.take_new_completions()
        try:
            if fresh:
                await self._queries.fetch(
                    "record_completion_times",
                    [seen.kind.model for seen in fresh],
                    [seen.kind.task for seen in fresh],
                    [seen.kind.quantity for seen in fresh],
                    [seen.kind.variant for seen in fresh],
                    [seen.seconds for seen in fresh],
                    WINDOW_LENGTH,
                )
                fresh = []
            rows = await self._queries.fetch("read_completion_times", WINDOW_LENGTH)
        except BaseException:
            self._planner.return_completions(fresh)
            raise
        windows = {
            TaskKind(row["model"], row["task"], row["quantity"], row["variant"]): row["seconds"]
            for row in rows
        }
        for kind in self._planner.load_windows(windows):
            self._planner.replan(kind)
            await asyncio.sleep(
                0
            )  # a plan takes milliseconds; polls that are due may run in between

    async def __aenter__(self) -> CompletionTimes:
        """Exchange now and at intervals, in the background. An idle worker sends no statement."""
        self._task = asyncio.create_task(self._exchange_at_intervals())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop, and store what is left where that takes less than a second."""
        if self._task is not None:
            await stop_tasks([self._task])
        if self._planner.take_used():
            try:
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self.exchange_times()
            except (DarkroomError, TimeoutError) as error:
                log.info("completion_times_not_shared", error=str(error))

    async def _exchange_at_intervals(self) -> None:
        has_read = False
        while True:
            if self._planner.take_used() or not has_read:
                has_read = await self._exchange_and_log()
            await asyncio.sleep(self._interval_seconds)

    async def _exchange_and_log(self) -> bool:
        try:
            await self.exchange_times()
        except PostgresDown as error:
            incidents.record_outage(error, doing="share_completion_times")
            return False
        except Exception:
            # Polls continue with what is known; the log has the error.
            log.exception("completion_times_failed")
        return True
