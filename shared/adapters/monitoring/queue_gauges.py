"""Shows the queue's snapshot as Prometheus gauges, read at most every two seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from math import nan

from prometheus_client import CollectorRegistry, Gauge

from shared.adapters.monitoring.queue_snapshot import read_snapshot
from shared.adapters.postgres.database import Queries

_FRESH_SECONDS = 2.0
_OPEN_STATES = ("queued", "submitting", "unknown", "generating")


class QueueGauges:
    """Gauges that any process with a database can show; they say the same everywhere."""

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
        self._in_flight = Gauge("darkroom_in_flight", "Jobs with a task at Kie", registry=registry)
        self._oldest = Gauge(
            "darkroom_queue_oldest_seconds", "Age of the oldest waiting job", registry=registry
        )
        self._webhooks = Gauge(
            "darkroom_webhooks_pending", "Webhooks not taken by their receivers", registry=registry
        )
        self._held = Gauge("darkroom_credits_held", "Credits held by open jobs", registry=registry)
        self._blank()

    async def refresh(self) -> None:
        """Bring the gauges up to date. Raises `PostgresDown`, and shows NaN then."""
        if self._monotonic() - self._read_at < _FRESH_SECONDS:
            return
        try:
            snapshot = await read_snapshot(self._queries)
            webhooks = await self._queries.fetch_row("pending_webhooks")
        except BaseException:
            # The last value is not what is: nobody knows now.
            self._blank()
            raise
        self._read_at = self._monotonic()
        for state in _OPEN_STATES:
            self._open.labels(state).set(getattr(snapshot, state))
        self._depth.set(snapshot.queued)
        self._in_flight.set(snapshot.in_flight)
        self._oldest.set(snapshot.oldest_waiting_seconds)
        self._held.set(float(snapshot.credits_held))
        self._webhooks.set(webhooks["pending"] if webhooks is not None else 0)

    def _blank(self) -> None:
        for state in _OPEN_STATES:
            self._open.labels(state).set(nan)
        for gauge in (self._depth, self._in_flight, self._oldest, self._webhooks, self._held):
            gauge.set(nan)
