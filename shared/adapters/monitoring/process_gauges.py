"""Shows what a process measures at each beat as Prometheus gauges."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge

from shared.adapters.processes.process_registry import ProcessRegistry
from shared.adapters.processes.shared_redis_check import RedisSharing

_VALUES = {
    RedisSharing.SHARED: 1.0,
    RedisSharing.NOT_SHARED: 0.0,
    RedisSharing.UNKNOWN: float("nan"),
}


def export_process_gauges(registry: CollectorRegistry, processes: ProcessRegistry) -> None:
    """Show the skew and whether Redis is shared; NaN where it is not known."""

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
