"""What Prometheus is shown of rows that other sessions hold."""

from __future__ import annotations

from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge

from worker.store.busy_rows import ROW_KINDS, BusyRows


def busy_rows_with_metrics(registry: CollectorRegistry) -> BusyRows:
    """Return busy rows that Prometheus is shown."""
    found = Counter(
        "darkroom_busy_rows_total",
        "Rows found to be held by another session",
        ["kind"],
        registry=registry,
    )
    now = Gauge(
        "darkroom_busy_rows_now",
        "Rows that another session holds now, as far as this worker knows",
        ["kind"],
        registry=registry,
    )
    busy = BusyRows(on_busy=lambda kind: found.labels(kind).inc())
    for kind in ROW_KINDS:
        found.labels(kind)
        now.labels(kind).set_function(partial(busy.count, kind))
    return busy
