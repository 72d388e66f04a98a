"""Turns the current alerts into findings."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from producer.doctor.finding import Finding
from shared.adapters.monitoring.alert_queries import read_redis_state, read_system_state
from shared.adapters.postgres.database import Queries
from shared.adapters.redis.deliveries import connect_redis
from shared.domain.alerts.alert import REDIS_OF_ANOTHER_DATABASE
from shared.domain.alerts.alert_rules import find_alerts
from shared.domain.alerts.system_state import RedisState
from shared.domain.counted import counted
from shared.errors import RedisDown

_REPORTED_BY_OTHER_FINDINGS = frozenset(
    {"redis_evicts", "process_without_redis", REDIS_OF_ANOTHER_DATABASE, "writes_lost"}
)
"""Alerts whose condition another finding reports."""


async def check_alerts(
    queries: Queries, redis_url: str | None, accounts: Sequence[str]
) -> AsyncIterator[Finding]:
    """Yield one finding for each alert, or one good finding. Raises `PostgresDown`."""
    system_state = await read_system_state(queries)
    redis = await _read_redis(redis_url, accounts) if redis_url else None
    alerts = [
        alert
        for alert in find_alerts(system_state, redis)
        if alert.name not in _REPORTED_BY_OTHER_FINDINGS
    ]
    for alert in alerts:
        yield Finding(
            f"{alert.name.replace('_', ' ')} {alert.subject}".strip(),
            False,
            alert.detail,
            alert.fix,
            alert.since,
        )
    for route in system_state.routes:
        yield Finding(
            f"route of {route.model}",
            True,
            f"it is sent by {route.via}; `darkroom models route {route.model} --direct` takes it"
            " back",
        )
    if not alerts:
        yield Finding(
            "jobs move",
            True,
            f"{counted(system_state.queued, 'job waits', 'jobs wait')},"
            f" {counted(system_state.tasks, 'task runs', 'tasks run')},"
            f" {counted(system_state.workers_alive, 'worker is', 'workers are')} alive"
            + ("" if redis is not None else "; Redis was not asked"),
        )


async def _read_redis(redis_url: str, accounts: Sequence[str]) -> RedisState | None:
    async with connect_redis(redis_url, connections=1) as redis:
        try:
            return await read_redis_state(redis, accounts)
        except RedisDown:
            return None  # another finding reports it
