"""Exports alerts, servers, queue and process as Prometheus gauges. Unknown values are NaN."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from math import inf, nan
from typing import ClassVar

from prometheus_client import CollectorRegistry, Gauge

from shared.adapters.monitoring.alert_monitor import AlertMonitor
from shared.adapters.monitoring.queue_snapshot import (
    QueueSnapshot,
    read_day_totals,
    read_snapshot,
)
from shared.adapters.postgres.database import Queries
from shared.adapters.processes.process_registry import ProcessRegistry
from shared.adapters.processes.shared_redis_check import RedisSharing
from shared.domain.alerts.alert import ALERT_NAMES, REDIS_ALERT_NAMES
from shared.domain.lifecycle import OPEN
from shared.errors import DarkroomError

Refresh = Callable[[], Awaitable[None]]


_FRESH_SECONDS = 2.0
_VALUES = {
    RedisSharing.SHARED: 1.0,
    RedisSharing.NOT_SHARED: 0.0,
    RedisSharing.UNKNOWN: float("nan"),
}


class AlertGauges:
    """Gauges of the alerts by name, and of live and lost workers."""

    def __init__(self, registry: CollectorRegistry, monitor: AlertMonitor) -> None:
        self._monitor = monitor
        self._alerts = Gauge(
            "darkroom_alert",
            "1 while this is wrong, 0 while it is not, NaN while nobody knows",
            ["alert"],
            registry=registry,
        )
        self._workers = Gauge(
            "darkroom_workers",
            "Worker processes by state: alive or lost",
            ["state"],
            registry=registry,
        )
        self._blank()

    async def refresh(self) -> None:
        """Update the gauges. Raises `PostgresDown`, and sets them to NaN."""
        try:
            found = await self._monitor.read()
        except BaseException:
            self._blank()
            raise
        wrong = {alert.name for alert in found.alerts}
        for name in ALERT_NAMES:
            is_unknown = found.redis is None and name in REDIS_ALERT_NAMES
            self._alerts.labels(name).set(nan if is_unknown else float(name in wrong))
        self._workers.labels("alive").set(found.system_state.workers_alive)
        self._workers.labels("lost").set(len(found.system_state.workers_lost))

    def _blank(self) -> None:
        for name in ALERT_NAMES:
            self._alerts.labels(name).set(nan)
        for state in ("alive", "lost"):
            self._workers.labels(state).set(nan)


class SubmitRateGauges:
    """Gauges of the rate of submits by Kie account. `limit` is the configured one; 0 means none."""

    def __init__(self, registry: CollectorRegistry, monitor: AlertMonitor, limit: int) -> None:
        self._monitor = monitor
        self._limit = float(limit) if limit else inf
        self._rate = Gauge(
            "darkroom_submit_rate",
            "Submits per 10 s that workers allow now; +Inf without a limit",
            ["account"],
            registry=registry,
        )
        self._configured = Gauge(
            "darkroom_submit_rate_limit",
            "Submits per 10 s as configured; +Inf without a limit",
            ["account"],
            registry=registry,
        )
        self._slowed = Gauge(
            "darkroom_submits_slowed",
            "1 while the rate is below the limit, by the reason of Kie's last refusal",
            ["account", "reason"],
            registry=registry,
        )
        for account in monitor.accounts:
            self._configured.labels(account).set(self._limit)
        self._blank()

    async def refresh(self) -> None:
        """Update the gauges. Raises `PostgresDown`, and sets the rates to NaN."""
        try:
            found = await self._monitor.read()
        except BaseException:
            self._blank()
            raise
        self._blank()
        if found.redis is None:
            return
        stored, now = dict(found.redis.rates), found.system_state.at
        for account in self._monitor.accounts:
            rate, allowed = stored.get(account), self._limit
            if rate is not None and rate.is_slowed(now):
                allowed = min(rate.in_force(now), allowed)
                self._slowed.labels(account, rate.reason).set(1)
            self._rate.labels(account).set(allowed)

    def _blank(self) -> None:
        self._slowed.clear()
        for account in self._monitor.accounts:
            self._rate.labels(account).set(nan)


class DependencyGauges:
    """Gauges of the checks of `/readyz`."""

    def __init__(
        self, registry: CollectorRegistry, checks: Mapping[str, Callable[[], Awaitable[None]]]
    ) -> None:
        self._checks = checks
        self._up = Gauge(
            "darkroom_dependency_up",
            "1 while the server serves this process, 0 while it does not",
            ["dependency"],
            registry=registry,
        )

    async def refresh(self) -> None:
        """Run all checks and update the gauges."""
        await asyncio.gather(*(self._run(name) for name in self._checks))

    async def _run(self, name: str) -> None:
        gauge = self._up.labels(name)
        gauge.set(0)
        try:
            await self._checks[name]()
        except DarkroomError:
            return
        gauge.set(1)


def refresh_all(*refreshes: Refresh) -> Refresh:
    """Return a function that runs all refreshes. Errors of servers are ignored."""

    async def refresh() -> None:
        answers = await asyncio.gather(*(one() for one in refreshes), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, DarkroomError):
                raise answer

    return refresh


class QueueGauges:
    """Gauges of the queue, read at most every 2 s. They are equal on all processes."""

    def __init__(
        self,
        registry: CollectorRegistry,
        queries: Queries,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queries = queries
        self._monotonic = monotonic
        self._read_at = float("-inf")
        self._open = Gauge("darkroom_open_jobs", "Open jobs by state", ["state"], registry=registry)
        self._depth = Gauge(
            "darkroom_queue_depth", "Jobs waiting to be submitted", registry=registry
        )
        self._scheduled = Gauge(
            "darkroom_scheduled_jobs", "Queued jobs before their run_at", registry=registry
        )
        self._paused = Gauge(
            "darkroom_paused_jobs", "Waiting jobs that an operator has paused", registry=registry
        )
        self._in_flight = Gauge("darkroom_in_flight", "Jobs with a task at Kie", registry=registry)
        self._oldest = Gauge(
            "darkroom_queue_oldest_seconds", "Age of the oldest waiting job", registry=registry
        )
        self._webhooks = Gauge(
            "darkroom_webhooks_pending", "Webhooks not taken by their receivers", registry=registry
        )
        self._images = Gauge(
            "darkroom_images_waiting", "Images that wait to be copied", registry=registry
        )
        self._oldest_image = Gauge(
            "darkroom_image_oldest_seconds", "Age of the oldest of them", registry=registry
        )
        self._held = Gauge("darkroom_credits_held", "Credits held by open jobs", registry=registry)
        self._charged_today = Gauge(
            "darkroom_credits_charged_today", "Credits charged since 0:00 UTC", registry=registry
        )
        self._recent = RecentGauges(registry)
        self._blank()

    async def refresh(self) -> None:
        """Update the gauges. Raises `PostgresDown`, and sets them to NaN."""
        if self._monotonic() - self._read_at < _FRESH_SECONDS:
            return
        try:
            snapshot = await read_snapshot(self._queries)
            today = await read_day_totals(self._queries)
            webhooks = await self._queries.fetch_row("pending_webhooks")
            images = await self._queries.fetch_row("waiting_images")
        except BaseException:
            # Old values would be wrong.
            self._blank()
            raise
        self._read_at = self._monotonic()
        for state in sorted(OPEN):
            self._open.labels(state).set(getattr(snapshot, state))
        self._depth.set(snapshot.waiting)
        self._scheduled.set(snapshot.scheduled)
        self._paused.set(snapshot.paused)
        self._in_flight.set(snapshot.in_flight)
        self._oldest.set(snapshot.oldest_waiting_seconds)
        self._held.set(float(snapshot.credits_held))
        self._charged_today.set(float(today.credits_charged))
        self._recent.update(snapshot)
        self._webhooks.set(webhooks["pending"] if webhooks is not None else 0)
        self._images.set(images["images"] if images is not None else 0)
        self._oldest_image.set(images["oldest_seconds"] if images is not None else 0)

    def _blank(self) -> None:
        for state in sorted(OPEN):
            self._open.labels(state).set(nan)
        figures = (
            self._depth,
            self._scheduled,
            self._paused,
            self._in_flight,
            self._oldest,
            self._webhooks,
            self._images,
            self._oldest_image,
            self._held,
        )
        for gauge in (*figures, self._charged_today):
            gauge.set(nan)
        self._recent.update(None)


class RecentGauges:
    """Gauges of what happened in the last five minutes, over all workers."""

    _EVENTS = ("accepted", "submitted", "succeeded", "failed", "cancelled")
    _DURATIONS = ("wait", "run", "lag")
    _QUANTILES: ClassVar = {"0.5": "p50", "0.95": "p95"}

    def __init__(self, registry: CollectorRegistry) -> None:
        self._jobs = Gauge(
            "darkroom_recent_jobs", "Jobs of the last 5 minutes", ["event"], registry=registry
        )
        self._charged = Gauge(
            "darkroom_recent_credits_charged",
            "Credits charged in the last 5 minutes",
            registry=registry,
        )
        self._seconds = Gauge(
            "darkroom_recent_seconds",
            "Durations of the jobs that ended in the last 5 minutes; NaN where none did",
            ["duration", "quantile"],
            registry=registry,
        )

    def update(self, snapshot: QueueSnapshot | None) -> None:
        """Set the gauges to the snapshot, or to NaN without one."""
        for event in self._EVENTS:
            self._jobs.labels(event).set(nan if snapshot is None else getattr(snapshot, event))
        self._charged.set(nan if snapshot is None else float(snapshot.credits_charged))
        for duration in self._DURATIONS:
            for quantile, name in self._QUANTILES.items():
                seconds = getattr(snapshot, f"{duration}_{name}_seconds", None)
                self._seconds.labels(duration, quantile).set(nan if seconds is None else seconds)


def export_process_gauges(registry: CollectorRegistry, processes: ProcessRegistry) -> None:
    """Export the clock skew and whether Redis is shared."""

    def read_skew() -> float:
        is_known = processes.clock_skew is not None and processes.last_error is None
        return processes.clock_skew.seconds if processes.clock_skew and is_known else float("nan")

    Gauge(
        "darkroom_clock_skew_seconds",
        "This machine's clock minus Postgres's",
        registry=registry,
    ).set_function(read_skew)
    Gauge(
        "darkroom_redis_shared",
        "1 where this process uses the Redis of the other processes of its database, else 0",
        registry=registry,
    ).set_function(lambda: _VALUES[processes.shared_redis.state])
