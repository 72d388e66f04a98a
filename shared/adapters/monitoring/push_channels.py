"""Measures the paths of pushes: whether each is open, and what had to be found without a push.

No push is needed for correctness: something looks at intervals and finds what a lost push would
have told. These figures and log lines say when that is what the system lives on.
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
"""Finds without a push between them before it is logged: one alone may have met its push midway."""


class PushChannel:
    """One path. `fallback` says in words what finds the same, and how soon."""

    def __init__(
        self, name: str, fallback: str, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.name = name
        self.fallback = fallback
        self.is_open: bool | None = None
        """None: nobody has asked for pushes yet."""
        self.found = 0
        """How many items were found without a push."""
        self._monotonic = monotonic
        self._closed_at = 0.0
        self._consecutive = 0

    def record_open(self) -> None:
        """Note that pushes arrive from now on; logged where they did not before."""
        if self.is_open is False:
            seconds = self._monotonic() - self._closed_at
            log.info("push_connection_restored", path=self.name, after_seconds=round(seconds, 1))
        self.is_open = True

    def record_closed(self, error: str) -> None:
        """Note that pushes are lost from now on; logged at the first call after `record_open`."""
        if self.is_open is not False:
            self._closed_at = self._monotonic()
            log.warning(
                "push_connection_lost", path=self.name, error=error, meanwhile=self.fallback
            )
        self.is_open = False

    def record_push(self) -> None:
        """Note that a push has arrived."""
        self._consecutive = 0

    def record_found_without_push(self, count: int) -> None:
        """Note what was found without a push; logged at the third find in a row."""
        self.found += count
        self._consecutive += 1
        if self._consecutive == _LOGGED_AFTER:
            log.warning("pushes_missing", path=self.name, found=count, meanwhile=self.fallback)

    def record_claimed(self, count: int) -> None:
        """Note what was claimed now: found without a push if the connection is known to be dead."""
        if count and self.is_open is False:
            self.record_found_without_push(count)


class _PushChannelCollector(Collector):
    def __init__(self, paths: Iterable[PushChannel]) -> None:
        self._paths = tuple(paths)

    def collect(self) -> Iterator[Metric]:
        """Yield the figures of every path."""
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
    """Let a registry show the figures of these paths."""
    registry.register(_PushChannelCollector(paths))
