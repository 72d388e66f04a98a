"""The alert, and all alert names."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

ALERT_NAMES = (
    "clock_skew",
    "connections_nearly_used_up",
    "images_come_late",
    "images_not_stored",
    "jobs_fail",
    "jobs_wait",
    "kie_balance_drifts",
    "kie_model_changed",
    "kie_model_unreliable",
    "kie_price_moved",
    "keys_differ",
    "late_tasks_in_doubt",
    "nothing_is_submitted",
    "no_worker",
    "paused_by_operator",
    "postgres_is_read_only",
    "price_missing",
    "process_without_redis",
    "redis_cannot_save",
    "redis_evicts",
    "redis_is_full",
    "redis_is_replica",
    "redis_of_another_database",
    "redis_was_wiped",
    "results_unreadable",
    "route_unfit",
    "rows_locked",
    "submits_paused",
    "submits_slowed",
    "tasks_run_long",
    "unknown_submissions",
    "webhooks_dead",
    "webhooks_fail",
    "worker_lost",
    "writes_lost",
)
"""All alert names. They are stable, and labels of a metric."""
REDIS_OF_ANOTHER_DATABASE = "redis_of_another_database"
REDIS_ALERT_NAMES = frozenset(
    {
        *("nothing_is_submitted", "redis_cannot_save", "redis_evicts", "redis_is_full"),
        *("redis_is_replica", REDIS_OF_ANOTHER_DATABASE, "redis_was_wiped"),
        *("submits_paused", "submits_slowed", "writes_lost"),
    }
)
"""Alerts whose state is unknown while Redis is unavailable."""


class AcknowledgedAlert(StrEnum):
    """Alerts whose evidence Redis keeps until an operator acknowledges it."""

    REDIS_WAS_WIPED = "redis_was_wiped"
    """Without an operator, the evidence expires after an hour."""
    WRITES_LOST = "writes_lost"


@dataclass(frozen=True, slots=True)
class Alert:
    """One problem of a running deployment."""

    name: str
    detail: str
    fix: str
    """What an operator can do."""
    since: datetime | None = None
    """When the problem began. None if unknown."""
    subject: str = ""
    """The account, worker or receiver. Empty if the alert has no subject."""
    job_id: UUID | None = None
    """The job to look at first, if the alert is about jobs that no filter finds."""
