"""The history of the queue as a table with few rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import groupby

from rich.table import Table

from producer.cli.display.console import build_table
from producer.cli.display.text_format import credits_text, duration_text, time_text
from producer.monitoring.history import History, HistorySample

_ROW_SECONDS = ((2 * 3600, 300), (24 * 3600, 3600), (7 * 24 * 3600, 6 * 3600))
"""The seconds of a row, by the longest history that has such rows."""


def history_table(history: History, hours: int) -> Table:
    """Return the history in rows of 5 minutes, an hour or 6 hours. Gaps have no row."""
    table = build_table(
        *("from", "waiting", "oldest", "at Kie", "submitted", "succeeded", "failed"),
        *("run p95", "lag p95", "charged"),
        right=("waiting", "oldest", "at Kie", "submitted", "succeeded", "failed", "charged"),
        drop=("lag p95", "run p95", "at Kie", "charged", "oldest"),
    )
    for samples in _rows(history, hours):
        table.add_row(
            time_text(samples[0].starts_at),
            f"{max(one.waiting for one in samples):,}",
            duration_text(max(one.oldest_waiting_seconds for one in samples)),
            f"{max(one.in_flight for one in samples):,}",
            *(f"{sum(getattr(one, name) for one in samples):,}" for name in _SUMS),
            *(duration_text(_highest(samples, name)) for name in _HIGHEST),
            credits_text(sum((one.credits_charged for one in samples), Decimal(0))),
        )
    return table


_SUMS = ("submitted", "succeeded", "failed")
_HIGHEST = ("run_p95_seconds", "lag_p95_seconds")


def _rows(history: History, hours: int) -> Iterator[Sequence[HistorySample]]:
    seconds = next(length for longest, length in _ROW_SECONDS if hours * 3600 <= longest)
    for _, samples in groupby(history.samples, lambda one: one.starts_at.timestamp() // seconds):
        yield list(samples)


def _highest(samples: Sequence[HistorySample], name: str) -> float | None:
    values = [value for one in samples if (value := getattr(one, name)) is not None]
    return max(values, default=None)
