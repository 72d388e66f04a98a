"""One alert, and the names that alerts can have."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

ALERT_NAMES = (
    "clock_skew",
    "connections_nearly_used_up",
    "images_come_late",
    "jobs_fail",
    "jobs_wait",
    "keys_differ",
    "late_tasks_in_doubt",
    "nothing_is_submitted",
    "no_worker",
    "postgres_is_read_only",
    "price_missing",
    "process_without_redis",
    "redis_cannot_save",
    "redis_evicts",
    "redis_is_full",
    "redis_is_replica",
    "redis_was_wiped",
    "results_unreadable",
    "rows_locked",
    "submits_paused",
    "tasks_run_long",
    "unknown_submissions",
    "webhooks_dead",
    "webhooks_fail",
    "worker_lost",
)
"""Every name that an alert can have: labels of a metric, and stable."""
REDIS_ALERT_NAMES = frozenset(
    {
        *("nothing_is_submitted", "redis_cannot_save", "redis_evicts", "redis_is_full"),
        *("redis_is_replica", "redis_was_wiped", "submits_paused"),
    }
)
"""The names about which nothing is known while Redis is away."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing that is wrong."""

    name: str
    detail: str
    fix: str
    """What an operator does about it."""
    since: datetime | None = None
    """When it began; None where nothing tells."""
    subject: str = ""
    """Which account, worker or receiver; empty where there is one only."""
