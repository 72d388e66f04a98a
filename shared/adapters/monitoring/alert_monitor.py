"""Reads the alerts of a deployment at intervals, and logs when they begin and end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from redis.asyncio import Redis

from shared.adapters.async_tasks import stop_if_cancelled, stop_tasks
from shared.adapters.monitoring.alert_queries import read_redis_state, read_system_state
from shared.adapters.monitoring.incident_log import IncidentLog, incidents
from shared.adapters.postgres.database import Queries
from shared.domain.alerts.alert import REDIS_OF_ANOTHER_DATABASE, Alert
from shared.domain.alerts.alert_rules import find_alerts
from shared.domain.alerts.system_state import RedisState, SystemState
from shared.errors import DarkroomError, RedisDown
from shared.job_json import timestamp_to_json

BUSY_INTERVAL_SECONDS = 5.0
IDLE_INTERVAL_SECONDS = 10.0
"""The interval of reads for the log. An idle deployment is read less often."""
TOLD_INTERVAL_SECONDS = 120.0
"""The interval in an idle deployment where the process requests a read when something changes."""
CACHE_SECONDS = 2.0
"""How long a result is cached for callers of `AlertMonitor.read`."""
REDIS_TIMEOUT_SECONDS = 2.0
"""The timeout of Redis. Statements of Postgres have their own timeout."""
RECOVERY_SECONDS = 12.0
"""How long liveness alerts are suppressed after an outage of Postgres: two heartbeats."""
_LIVENESS_ALERTS = frozenset({"worker_lost", "no_worker"})
_REMINDER_SECONDS = 600.0
_CALM_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class AlertReport:
    """The result of one read."""

    alerts: tuple[Alert, ...]
    system_state: SystemState
    redis: RedisState | None
    """None if Redis did not reply. Then the alerts of Redis are unknown."""
    redis_error: str | None = None
    """The error of Redis."""


async def read_alerts(queries: Queries, redis: Redis, accounts: Sequence[str]) -> AlertReport:
    """Read the alerts once. Raises `PostgresDown`. Without Redis its alerts are omitted."""
    # Redis first: a process writes its row to Postgres before its mark to Redis.
    redis_state, redis_error = await _read_redis(redis, accounts)
    system_state = await read_system_state(queries)
    alerts = tuple(find_alerts(system_state, redis_state))
    return AlertReport(alerts, system_state, redis_state, redis_error)


async def find_redis_of_another_database(queries: Queries, redis: Redis) -> Alert | None:
    """Return the alert that this Redis is that of another database, or None. Never raises."""
    try:
        found = await read_alerts(queries, redis, ())
    except DarkroomError:
        return None
    return next((one for one in found.alerts if one.name == REDIS_OF_ANOTHER_DATABASE), None)


async def _read_redis(
    redis: Redis, accounts: Sequence[str]
) -> tuple[RedisState | None, str | None]:
    """Return the state of Redis, or None and its error."""
    try:
        async with asyncio.timeout(REDIS_TIMEOUT_SECONDS):
            return await read_redis_state(redis, accounts), None
    except RedisDown as error:
        return None, str(error)
    except TimeoutError:
        return None, f"Redis does not answer: nothing within {REDIS_TIMEOUT_SECONDS:g} s"


class AlertMonitor:
    """The alerts of a deployment, as one process reads them."""

    def __init__(
        self,
        queries: Queries,
        redis: Redis,
        accounts: Sequence[str],
        *,
        monotonic: Callable[[], float] = time.monotonic,
        idle_interval_seconds: float = IDLE_INTERVAL_SECONDS,
    ) -> None:
        self._queries = queries
        self._idle_interval_seconds = idle_interval_seconds
        self._read_requested = asyncio.Event()
        self._redis = redis
        self.accounts = tuple(accounts)
        """The Kie accounts whose brakes and rates are read."""
        self._monotonic = monotonic
        self._log = IncidentLog(
            monotonic=monotonic, calm_seconds=_CALM_SECONDS, reminder_seconds=_REMINDER_SECONDS
        )
        self._logged: set[tuple[str, str]] = set()
        self._first_seen: dict[tuple[str, str], datetime] = {}
        self._last: AlertReport | None = None
        self._read_at = float("-inf")
        self._unwritable_since = float("-inf")
        self._reading = asyncio.Lock()

    async def read(self) -> AlertReport:
        """Return the alerts, at most two seconds old. Raises `PostgresDown`."""
        async with self._reading:
            last = self._last
            if last is not None and self._monotonic() - self._read_at < CACHE_SECONDS:
                return last
            self._last = None
            try:
                read = await read_alerts(self._queries, self._redis, self.accounts)
            except DarkroomError:
                self._unwritable_since = self._monotonic()
                raise
            found = self._with_start_times(self._without_liveness_alerts(read))
            self._last, self._read_at = found, self._monotonic()
            self._write_log(found)
            return found

    def _without_liveness_alerts(self, found: AlertReport) -> AlertReport:
        """Suppress `worker_lost` and `no_worker` for 12 s after a Postgres outage.

        Processes could not write heartbeats during the outage."""
        if found.system_state.is_read_only or found.system_state.is_standby:
            self._unwritable_since = self._monotonic()
        if self._monotonic() - self._unwritable_since >= RECOVERY_SECONDS:
            return found
        alerts = tuple(alert for alert in found.alerts if alert.name not in _LIVENESS_ALERTS)
        return replace(found, alerts=alerts)

    def request_read(self) -> None:
        """Have the alerts read soon: something has changed."""
        self._read_requested.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Read and log the alerts at intervals during the block."""
        task = asyncio.create_task(self._read_at_intervals())
        try:
            yield
        finally:
            await stop_tasks([task])

    async def _read_at_intervals(self) -> None:
        # The registry does not have this process yet.
        await asyncio.sleep(BUSY_INTERVAL_SECONDS)
        while True:
            is_idle = True
            try:
                found = await self.read()
                is_idle = not found.system_state.queued and not found.system_state.tasks
            except DarkroomError as error:
                incidents.record_outage(error, doing="read_alerts")
            stop_if_cancelled()
            await asyncio.sleep(BUSY_INTERVAL_SECONDS)
            if is_idle:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._idle_interval_seconds - BUSY_INTERVAL_SECONDS):
                        await self._read_requested.wait()
            self._read_requested.clear()

    def _with_start_times(self, found: AlertReport) -> AlertReport:
        """Set `since` of alerts without a start time to the time at which they were first seen."""
        keys = {(alert.name, alert.subject) for alert in found.alerts}
        self._first_seen = {key: at for key, at in self._first_seen.items() if key in keys}
        for key in keys:
            self._first_seen.setdefault(key, found.system_state.at)
        return replace(
            found,
            alerts=tuple(
                alert
                if alert.since is not None
                else replace(alert, since=self._first_seen[alert.name, alert.subject])
                for alert in found.alerts
            ),
        )

    def _write_log(self, found: AlertReport) -> None:
        current = {(alert.name, alert.subject) for alert in found.alerts}
        for alert in found.alerts:
            self._log.record_failure(
                "alert",
                f"{alert.name} {alert.subject}".strip(),
                alert.detail,
                since=alert.since,
                fix=alert.fix,
            )
        for name, subject in self._logged - current:
            self._log.record_success("alert", f"{name} {subject}".strip())
        self._logged = current | {
            key
            for key in self._logged
            if self._log.since("alert", f"{key[0]} {key[1]}".strip()) is not None
        }


def alert_to_json(alert: Alert) -> dict[str, Any]:
    """Return the JSON object of an alert."""
    return {
        "name": alert.name,
        "subject": alert.subject,
        "detail": alert.detail,
        "since": timestamp_to_json(alert.since),
        "fix": alert.fix,
    }
