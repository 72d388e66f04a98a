"""Composes what a process says about itself: its checks, the gauges of the queue, the alerts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from shared.adapters.monitoring.alert_monitor import AlertMonitor
from shared.adapters.monitoring.gauges import AlertGauges, DependencyGauges, refresh_all
from shared.adapters.monitoring.health_endpoints import Check, HealthEndpoints
from shared.adapters.monitoring.queue_gauges import QueueGauges
from shared.adapters.postgres.database import Queries
from shared.domain.alerts.alert import Alert


def make_health_endpoints(
    checks: Mapping[str, Check],
    registry: CollectorRegistry,
    queries: Queries,
    monitor: AlertMonitor,
    metrics_key: SecretStr | None = None,
) -> HealthEndpoints:
    """Return the three routes of a process that watches its Darkroom."""

    async def alerts() -> Sequence[Alert]:
        return (await monitor.read()).alerts

    return HealthEndpoints(
        checks=checks,
        registry=registry,
        refresh=refresh_all(
            DependencyGauges(registry, checks).refresh,
            QueueGauges(registry, queries).refresh,
            AlertGauges(registry, monitor).refresh,
        ),
        alerts=alerts,
        metrics_key=metrics_key,
    )
