"""Has the figures of the queue sampled at intervals, for plots.

Every worker calls the same statement after each interval, and the first call writes the sample. The
statement works without Redis; only the figures of Kie accounts are then unknown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from redis.asyncio import Redis

from shared.adapters.async_tasks import stop_if_cancelled, stop_tasks
from shared.adapters.monitoring.incident_log import POSTGRES, incidents
from shared.adapters.monitoring.kie_account_limits import KieAccountLimits, read_kie_account_limits
from shared.errors import DarkroomError, DependencyDown, RedisDown
from worker.dependencies import Dependencies

INTERVAL_SECONDS = 15.0
DELAY_SECONDS = 3.0
"""How long after its end an interval is sampled. The statement refuses to sample it earlier."""
SPREAD_SECONDS = 4.0
"""The calls of several workers are spread over this time, so that most of them find the sample."""
_REDIS_TIMEOUT_SECONDS = 2.0
_QUIET_READ_SECONDS = 58.0
"""How long the figures of Kie accounts are used again while there are no open jobs."""


class HistorySampler:
    """Samples the history while its block runs."""

    def __init__(self, deps: Dependencies, redis: Redis) -> None:
        self._deps = deps
        self._redis = redis
        self._spread_seconds = deps.random.random() * SPREAD_SECONDS
        self._known: Mapping[str, KieAccountLimits] = {}
        self._known_until = float("-inf")
        self._task: asyncio.Task[None] | None = None

    async def sample(self) -> list[int]:
        """Write the samples that are due, or have the next heartbeat write them. Returns the
        intervals that this call has sampled.

        Raises `PostgresDown` and `DatabaseRefused`.
        """
        accounts = await self._describe_accounts()
        if self._deps.pending_work.request_sample(accounts):
            return []
        rows = await self._deps.queries.fetch("sample_history", accounts)
        return [row["interval_seconds"] for row in rows]

    def seconds_to_next(self) -> float:
        """Return how long until the next call."""
        offset = DELAY_SECONDS + self._spread_seconds
        passed = (self._deps.clock.now().timestamp() - offset) % INTERVAL_SECONDS
        return INTERVAL_SECONDS - passed

    async def __aenter__(self) -> HistorySampler:
        """Sample in the background."""
        self._task = asyncio.create_task(self._sample_at_intervals())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        if self._task is not None:
            await stop_tasks([self._task])

    async def _sample_at_intervals(self) -> None:
        while True:
            await asyncio.sleep(self.seconds_to_next())
            try:
                await self.sample()
            except DependencyDown as down:
                incidents.record_outage(down, doing="sample_history")
            except DarkroomError as error:
                incidents.record_failure(
                    "history_not_sampled", "", error, calm_seconds=2 * INTERVAL_SECONDS
                )
            else:
                incidents.record_recovery(POSTGRES)
                incidents.record_success("history_not_sampled", "")
            stop_if_cancelled()

    async def _describe_accounts(self) -> dict[str, dict[str, Any]]:
        """Return the figures of each Kie account. What Redis does not tell is None."""
        names = [account.name for account in self._deps.accounts]
        budget = self._deps.settings.kie_submits_per_10_seconds
        now = self._deps.clock.monotonic()
        # Without open jobs nobody submits.
        if now >= self._known_until or not self._deps.pending_work.is_quiet:
            self._known = await self._read_limits(names)
            self._known_until = now + _QUIET_READ_SECONDS
        return {
            name: {
                "budget": budget,
                "budget_used": limits.budget_used if limits else None,
                "brake_level": limits.brake_level if limits else None,
                "is_paused": limits.is_paused if limits else None,
                "submit_rate": (limits.rate_in_force or budget) if limits else None,
            }
            for name in names
            for limits in [self._known.get(name)]
        }

    async def _read_limits(self, names: Sequence[str]) -> Mapping[str, KieAccountLimits]:
        # The Redis of a worker that may not claim is not that of the others.
        if not self._deps.may_claim():
            return {}
        try:
            async with asyncio.timeout(_REDIS_TIMEOUT_SECONDS):
                return await read_kie_account_limits(self._redis, names)
        except (RedisDown, TimeoutError):
            return {}
