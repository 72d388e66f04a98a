"""Shows what a process measures at each beat as Prometheus gauges."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge

from shared.adapters.process_registry import ProcessRegistry


def show_clock_skew(registry: CollectorRegistry, processes: ProcessRegistry) -> None:
    """Show the skew as a gauge; NaN until it was measured and while Postgres is away."""

    def read() -> float:
        is_known = processes.clock_skew is not None and processes.last_error is None
        return processes.clock_skew.seconds if processes.clock_skew and is_known else float("nan")

    Gauge(
        "darkroom_clock_skew_seconds",
        "This machine's clock minus Postgres's",
        registry=registry,
    ).set_function(read)
