"""Filters of lists of jobs: values that many jobs have, that few have, and that none has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import combinations, product
from typing import Any

from producer.jobs.job_filter import JobFilter


def _values(newest: datetime) -> Mapping[str, Sequence[Mapping[str, Any]]]:
    """Return the values of each filter. Those of `bench.varied` in `history.sql`."""
    middle = newest - timedelta(days=12)
    return {
        "account": [{"account_id": name} for name in ("acme", "a7", "nobody")],
        "state": [
            {"state": name}
            for name in (
                "failed",
                "succeeded",
                "queued",
                "cancelled",
                "failed,cancelled",
                "generating",
            )
        ],
        "reason": [
            {"reason": name}
            for name in ("provider_failed", "content_policy", "rejected", "submission_lost")
        ],
        "model": [
            {"model": name}
            for name in ("gpt-4o-image", "gpt-image-2", "flux1-kontext", "gpt-image-1.5")
        ],
        "task": [{"task": name} for name in ("image-to-image", "text-to-image")],
        "priority": [{"priority": name} for name in ("high", "low", "normal")],
        "time": [
            {"created_from": newest - timedelta(hours=1)},
            {"created_to": newest - timedelta(hours=1)},
            {"created_to": middle},
            {"created_from": middle, "created_to": middle + timedelta(hours=1)},
            {"created_to": newest - timedelta(days=60)},
        ],
        "metadata": [
            {"metadata": text}
            for text in ("order=1042", "shop=s7", "env=test", "env=live", "none=none")
        ],
        "retried": [{"retried": text} for text in ("true", "false")],
        "scheduled": [{"scheduled": text} for text in ("true", "false")],
    }


def combine_filters(newest: datetime, size: int) -> Iterator[JobFilter]:
    """Return every combination of `size` filters with each of their values.

    `newest` is when the newest job that has ended was created.
    """
    values = _values(newest)
    for names in combinations(values, size):
        for chosen in product(*(values[name] for name in names)):
            given = {name: value for one in chosen for name, value in one.items()}
            yield JobFilter(**given)
