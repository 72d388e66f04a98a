"""Shows alerts, and whether the servers serve, as Prometheus gauges. Unknown is NaN."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from math import nan

from prometheus_client import CollectorRegistry, Gauge

from shared.adapters.monitoring.alert_monitor import AlertMonitor
from shared.domain.alerts.alert import ALERT_NAMES, REDIS_ALERT_NAMES
from shared.errors import DarkroomError

Refresh = Callable[[], Awaitable[None]]


class AlertGauges:
    """What is wrong at the moment, by name, and the workers that are alive and lost."""

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
        """Bring the gauges up to date. Raises `PostgresDown`, and shows NaN then."""
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


class DependencyGauges:
    """Whether each server serves this process: the checks of `/readyz`."""

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
        """Run every check."""
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
    """Return what brings all of these up to date, each as far as it can be."""

    async def refresh() -> None:
        answers = await asyncio.gather(*(one() for one in refreshes), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, DarkroomError):
                raise answer

    return refresh
