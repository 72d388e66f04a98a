"""Measures push channels: whether each is open, and how many items were found by polling instead.

Pushes are not needed for correctness, because polling finds the same items later. These metrics
and log lines show when the system depends on polling.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator

import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

log = structlog.get_logger(__name__)

_LOGGED_AFTER = 3
"""Consecutive finds without a push before a log line. A single one may have raced with its push."""


class PushChannel:
    """One push channel. `fallback` describes what finds the same items, and how soon."""

    def __init__(
        self, name: str, fallback: str, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.name = name
        self.fallback = fallback
        self.is_open: bool | None = None
        """None before the first subscription."""
        self.found = 0
        """The number of items found without a push."""
        self._monotonic = monotonic
        self._closed_at = 0.0
        self._consecutive = 0

    def record_open(self) -> None:
        """Record that the channel is open. Logged if it was closed."""
        if self.is_open is False:
            seconds = self._monotonic() - self._closed_at
            log.info("push_connection_restored", path=self.name, after_seconds=round(seconds, 1))
        self.is_open = True

    def record_closed(self, error: str) -> None:
        """Record that the channel is closed. Logged at the first call after `record_open`."""
        if self.is_open is not False:
            self._closed_at = self._monotonic()
            log.warning(
                "push_connection_lost", path=self.name, error=error, meanwhile=self.fallback
            )
        self.is_open = False

    def record_push(self) -> None:
        """Record that a push has arrived."""
        self._consecutive = 0

    def record_found_without_push(self, count: int) -> None:
        """Record items found without a push. Logged at the third consecutive find."""
        self.found += count
        self._consecutive += 1
        if self._consecutive == _LOGGED_AFTER:
            log.warning("pushes_missing", path=self.name, found=count, meanwhile=self.fallback)

    def record_claimed(self, count: int) -> None:
        """Record claimed items. They count as found without a push while the channel is closed."""
        if count and self.is_open is False:
            self.record_found_without_push(count)


class _PushChannelCollector(Collector):
    def __init__(self, paths: Iterable[PushChannel]) -> None:
        self._paths = tuple(paths)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of all channels."""
        found = CounterMetricFamily(
            "darkroom_fallback_total",
            "Items found by looking that a push should tell",
            labels=["path"],
        )
        is_open = GaugeMetricFamily(
            "darkroom_push_connection_open",
            "Whether the connection for pushes is open; NaN before anybody needs it",
            labels=["path"],
        )
        for path in self._paths:
            found.add_metric([path.name], path.found)
            is_open.add_metric([path.name], math.nan if path.is_open is None else path.is_open)
        yield found
        yield is_open


def export_push_channels(registry: CollectorRegistry, paths: Iterable[PushChannel]) -> None:
    """Export the metrics of these channels."""
    registry.register(_PushChannelCollector(paths))
