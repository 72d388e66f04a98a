"""Makes the waiting jobs of a model due when its route has changed.

A job may wait for minutes: because something that is not Kie's endpoint answered it, because the
brake of its family was on, or because the route could not carry it. The statement that changes the
route ends the first and the last of these waits in Postgres. Here the deliveries follow.

Postgres notifies each worker of every change. A notification may be lost, a worker may die, and a
write of the moment of the change may be missed. So each heartbeat of the worker finds changes too,
and the jobs of a model are checked once more after a change.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import structlog

from shared.adapters.async_tasks import stop_if_cancelled
from shared.adapters.monitoring.incident_log import incidents
from shared.adapters.redis.deliveries import DELIVERIES_PER_SCRIPT, Lane
from shared.adapters.redis.redis_errors import translated_redis_errors
from shared.errors import DependencyDown
from worker.dependencies import Dependencies
from worker.queue.leased_worker import make_deliveries_due

log = structlog.get_logger(__name__)

READ_SECONDS = 600.0
"""How often the routes are read although nothing says that they have changed."""
CHECK_AGAIN_SECONDS = 8.0
"""How long after a change the jobs of its model are checked once more."""
_RECENT_SECONDS = 120.0
"""A worker that starts acts on the changes of this time: the worker before it may have died."""
_CHECK_LOCK_MS = 4_000
"""One worker makes the jobs of a change due within this time."""
_CHECK_KEY_PREFIX = "darkroom:route_change:"


@dataclass(frozen=True, slots=True)
class _Change:
    id: int
    model: str
    via: str


class RouteWatch:
    """The watch of one worker. Any number of workers may run at once."""

    def __init__(self, deps: Dependencies, *, read_seconds: float = READ_SECONDS) -> None:
        self._deps = deps
        self._read_seconds = read_seconds
        self._seen: dict[str, int] = {}
        self._check_again: dict[_Change, float] = {}

    async def run_until_cancelled(self) -> None:
        """Read the routes when requested, and at intervals. Outlives outages."""
        requested = self._deps.route_changes.read_requested
        while True:
            requested.clear()
            wait_seconds = self._read_seconds
            try:
                wait_seconds = await self.read()
            except DependencyDown as down:
                incidents.record_outage(down, doing="read_routes")
                wait_seconds = CHECK_AGAIN_SECONDS
            stop_if_cancelled()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_seconds):
                    await requested.wait()

    async def read(self) -> float:
        """Read the routes and act on what has changed. Returns the seconds until the next read.

        Raises `PostgresDown` and `RedisDown`; the next read makes up for it.
        """
        if not self._deps.may_claim():
            return min(self._read_seconds, CHECK_AGAIN_SECONDS)
        for row in await self._deps.queries.fetch("newest_routes"):
            change = _Change(row["id"], row["model"], row["via"])
            last = self._seen.get(change.model)
            is_new = change.id != last if last else row["age_seconds"] < _RECENT_SECONDS
            if is_new:
                await self._make_due(change)
                self._check_again[change] = self._deps.clock.monotonic() + CHECK_AGAIN_SECONDS
            self._seen[change.model] = change.id
        now = self._deps.clock.monotonic()
        for change in [one for one, at in self._check_again.items() if at <= now]:
            await self._make_due(change)
            del self._check_again[change]
        waits = [max(at - now, 0.0) for at in self._check_again.values()]
        return min([self._read_seconds, *waits])

    async def _make_due(self, change: _Change) -> None:
        """Make the jobs of the model due. One worker does so at a time."""
        redis = self._deps.delivery_queue.redis
        with translated_redis_errors():
            key = f"{_CHECK_KEY_PREFIX}{change.id}"
            if not await redis.set(key, self._deps.worker_name, nx=True, px=_CHECK_LOCK_MS):
                return
        # Whoever chooses a route expects it to work. Another pause would only delay the probe.
        for account in self._deps.accounts:
            await account.brake.family_brake(change.via).allow_probe()
        await self._deps.queries.fetch("end_route_waits", change.model)
        self._deps.jobs_wait.set()
        due, at, after = 0, datetime.min.replace(tzinfo=UTC), UUID(int=0)
        while rows := await self._deps.queries.fetch(
            "due_jobs_of_model", change.model, at, after, DELIVERIES_PER_SCRIPT
        ):
            due_seconds = {row["id"]: -row["due_in_seconds"] for row in rows}
            due += await make_deliveries_due(self._deps.scripts, Lane.SUBMIT, due_seconds)
            at, after = rows[-1]["due_at"], rows[-1]["id"]
        if due:
            log.info("jobs_rerouted", model=change.model, via=change.via, jobs=due)
