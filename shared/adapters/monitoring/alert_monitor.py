"""Watches a Darkroom from inside a process: reads its alerts, and logs those that begin or end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from redis.asyncio import Redis

from shared.adapters.async_tasks import stop_tasks
from shared.adapters.monitoring.alert_queries import read_redis, read_situation
from shared.adapters.monitoring.incident_log import FailureLog, failures
from shared.adapters.postgres.database import Queries
from shared.adapters.postgres.job_rows import moment_to_json
from shared.adapters.redis.deliveries import stop_if_cancelled
from shared.domain.alerts.alert import Alert
from shared.domain.alerts.alert_rules import judge
from shared.domain.alerts.system_state import RedisSituation, Situation
from shared.errors import DarkroomError, RedisDown

BUSY_SECONDS = 5.0
IDLE_SECONDS = 10.0
"""How often a process looks by itself, for its log: an idle one less often."""
FRESH_SECONDS = 2.0
"""How old an answer may be that is given to whoever asks."""
REDIS_SECONDS = 2.0
"""How long Redis may take; Postgres has the timeout of its statements."""
SILENCE_SECONDS = 12.0
"""After an outage of Postgres, how long no process is taken for lost: two of its beats."""
_OF_SILENCE = frozenset({"worker_lost", "no_worker"})
_STILL_SECONDS = 600.0
_QUIET_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class AlertList:
    """What was found at one look."""

    alerts: tuple[Alert, ...]
    situation: Situation
    redis: RedisSituation | None
    """None where Redis did not answer: nothing is known of what only it tells."""
    redis_error: str | None = None
    """Why it did not."""


async def read_alerts(queries: Queries, redis: Redis, accounts: Sequence[str]) -> AlertList:
    """Look once. Raises `PostgresDown`; without Redis its part is left out."""
    situation = await read_situation(queries)
    try:
        async with asyncio.timeout(REDIS_SECONDS):
            told = await read_redis(redis, accounts)
    except RedisDown as error:
        return AlertList(tuple(judge(situation, None)), situation, None, str(error))
    except TimeoutError:
        words = f"Redis does not answer: nothing within {REDIS_SECONDS:g} s"
        return AlertList(tuple(judge(situation, None)), situation, None, words)
    return AlertList(tuple(judge(situation, told)), situation, told)


class AlertWatch:
    """The alerts of a Darkroom as one of its processes sees them."""

    def __init__(
        self,
        queries: Queries,
        redis: Redis,
        accounts: Sequence[str],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queries = queries
        self._redis = redis
        self._accounts = tuple(accounts)
        self._monotonic = monotonic
        self._log = FailureLog(
            monotonic=monotonic, quiet_seconds=_QUIET_SECONDS, still_seconds=_STILL_SECONDS
        )
        self._logged: set[tuple[str, str]] = set()
        self._first_seen: dict[tuple[str, str], datetime] = {}
        self._last: AlertList | None = None
        self._read_at = float("-inf")
        self._unwritable_at = float("-inf")
        self._reading = asyncio.Lock()

    async def read(self) -> AlertList:
        """Return what is wrong, as of the last two seconds. Raises `PostgresDown`."""
        async with self._reading:
            last = self._last
            if last is not None and self._monotonic() - self._read_at < FRESH_SECONDS:
                return last
            self._last = None
            try:
                read = await read_alerts(self._queries, self._redis, self._accounts)
            except DarkroomError:
                self._unwritable_at = self._monotonic()
                raise
            found = self._dated(self._without_the_silent(read))
            self._last, self._read_at = found, self._monotonic()
            self._write_log(found)
            return found

    def _without_the_silent(self, found: AlertList) -> AlertList:
        """Take no process for lost before it could write again, after an outage of Postgres."""
        if found.situation.is_read_only or found.situation.is_standby:
            self._unwritable_at = self._monotonic()
        if self._monotonic() - self._unwritable_at >= SILENCE_SECONDS:
            return found
        alerts = tuple(alert for alert in found.alerts if alert.name not in _OF_SILENCE)
        return replace(found, alerts=alerts)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Look from time to time for as long as the block lasts."""
        task = asyncio.create_task(self._keep_looking())
        try:
            yield
        finally:
            await stop_tasks([task])

    async def _keep_looking(self) -> None:
        # A process that has just started is not in the registry yet.
        await asyncio.sleep(BUSY_SECONDS)
        while True:
            is_idle = True
            try:
                found = await self.read()
                is_idle = not found.situation.queued and not found.situation.tasks
            except DarkroomError as error:
                failures.down(error, doing="read_alerts")
            stop_if_cancelled()
            await asyncio.sleep(IDLE_SECONDS if is_idle else BUSY_SECONDS)

    def _dated(self, found: AlertList) -> AlertList:
        """Give what does not say since when it is so the moment at which it was first seen."""
        keys = {(alert.name, alert.subject) for alert in found.alerts}
        self._first_seen = {key: at for key, at in self._first_seen.items() if key in keys}
        for key in keys:
            self._first_seen.setdefault(key, found.situation.at)
        return replace(
            found,
            alerts=tuple(
                alert
                if alert.since is not None
                else replace(alert, since=self._first_seen[alert.name, alert.subject])
                for alert in found.alerts
            ),
        )

    def _write_log(self, found: AlertList) -> None:
        current = {(alert.name, alert.subject) for alert in found.alerts}
        for alert in found.alerts:
            self._log.failed(
                "alert",
                f"{alert.name} {alert.subject}".strip(),
                alert.detail,
                since=alert.since,
                fix=alert.fix,
            )
        for name, subject in self._logged - current:
            self._log.succeeded("alert", f"{name} {subject}".strip())
        self._logged = current | {
            key
            for key in self._logged
            if self._log.since("alert", f"{key[0]} {key[1]}".strip()) is not None
        }


def alert_to_json(alert: Alert) -> dict[str, Any]:
    """Return the alert as every JSON output shows it."""
    return {
        "name": alert.name,
        "subject": alert.subject,
        "detail": alert.detail,
        "since": moment_to_json(alert.since),
        "fix": alert.fix,
    }
