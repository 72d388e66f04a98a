"""Prometheus metrics of the API."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Histogram

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60)


class ApiMetrics:
    """Counts and durations of requests per operation. Streams are counted when they end."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "darkroom_api_requests",
            "HTTP requests answered, by operation and status",
            ["operation", "status"],
            registry=registry,
        )
        self.seconds = Histogram(
            "darkroom_api_request_seconds",
            "How long an answer took, by operation",
            ["operation"],
            buckets=_BUCKETS,
            registry=registry,
        )

    def counter_for(self, operation: str, *, is_stream: bool) -> Callable[[int, float], None]:
        """Return the function that counts one response of this operation."""
        seconds = self.seconds.labels(operation)
        by_status: dict[int, Counter] = {}

        def count(status: int, took_seconds: float) -> None:
            counter = by_status.get(status)
            if counter is None:
                counter = by_status[status] = self.requests.labels(operation, str(status))
            counter.inc()
            if not is_stream:
                seconds.observe(took_seconds)

        return count
