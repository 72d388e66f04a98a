"""Reads the pauses that people set.

A paused job is not chosen, so it costs no claim while it waits. When a pause starts, the chosen
jobs to which it applies are taken back. When it ends, they are chosen in their turn.

Postgres notifies each worker of every change. A notification may be lost, so each heartbeat of the
worker finds changes too.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass

import structlog

from shared.adapters.async_tasks import stop_if_cancelled
from shared.adapters.monitoring.incident_log import incidents
from shared.errors import DependencyDown
from worker.dependencies import Dependencies
from worker.recovery.taken_back_jobs import take_back_jobs

log = structlog.get_logger(__name__)

READ_SECONDS = 600.0
"""How often the pauses are read although nothing says that they have changed."""
_READ_AGAIN_SECONDS = 5.0
"""How soon the pauses are read again after a read that could not be acted on."""
_AFTER_UNTIL_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class _Pause:
    id: int
    scope: str
    value: str | None
    ends_in_seconds: float | None


class PauseWatch:
    """The watch of one worker. Any number of workers may run at once."""

    def __init__(self, deps: Dependencies, *, read_seconds: float = READ_SECONDS) -> None:
        self._deps = deps
        self._read_seconds = read_seconds
        self._active: frozenset[int] = frozenset()

    async def run_until_cancelled(self) -> None:
        """Read the pauses when requested, when one ends, and at intervals. Outlives outages."""
        requested = self._deps.pauses.read_requested
        while True:
            requested.clear()
            wait_seconds = self._read_seconds
            try:
                wait_seconds = await self.read()
            except DependencyDown as down:
                incidents.record_outage(down, doing="read_pauses")
                wait_seconds = _READ_AGAIN_SECONDS
            stop_if_cancelled()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_seconds):
                    await requested.wait()

    async def read(self) -> float:
        """Read the pauses and act on what has changed. Returns the seconds until the next read.

        Raises `PostgresDown` and `RedisDown`; the next read makes up for it.
        """
        rows = await self._deps.queries.fetch("watch_pauses")
        active = {pause.id: pause for pause in (_Pause(**dict(row)) for row in rows)}
        self._deps.pauses.replace(
            is_everything_paused=any(one.scope == "everything" for one in active.values()),
            kie_accounts=[
                one.value for one in active.values() if one.scope == "kie_account" and one.value
            ],
        )
        read_seconds = self._read_seconds
        if self._deps.may_claim():
            if not active.keys() <= self._active:
                removed = await take_back_jobs(self._deps)
                log.info("jobs_paused", pauses=sorted(active), jobs=removed)
            if not self._active <= active.keys():
                self._deps.jobs_wait.set()
            self._active = frozenset(active)
        else:
            read_seconds = min(read_seconds, _READ_AGAIN_SECONDS)
        ends = [one.ends_in_seconds for one in active.values() if one.ends_in_seconds is not None]
        return min([read_seconds, *(max(end, 0) + _AFTER_UNTIL_SECONDS for end in ends)])
