"""Sentences about the wait of a queued job."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from shared.domain.job import Job, WaitReason
from shared.job_json import in_utc

if TYPE_CHECKING:
    from producer.billing import Quote

WAIT_REASONS: Mapping[WaitReason, str] = {
    "paused": "not known: paused by an operator, without an end",
    "no_worker": "not known: no worker is alive",
    "submits_refused": "not known: Kie refuses submits; see the alerts",
    "account_limit": "not known: open jobs of its account must end first (max_open_jobs)",
}


def wait_text(job: Job | Quote, now: datetime, format_duration: Callable[[float], str]) -> str:
    """Return the position of a job and when it is submitted, as far as that is known."""
    position = "" if job.position is None else f"position {job.position:,}, "
    if job.estimated_start_at is None:
        return position + (WAIT_REASONS[job.wait_reason] if job.wait_reason else "not known")
    seconds = (job.estimated_start_at - now).total_seconds()
    if seconds < 1:
        return f"{position}submitted now"
    start = f"{in_utc(job.estimated_start_at):%Y-%m-%d %H:%M:%S}Z"
    return f"{position}submitted in about {format_duration(seconds)} ({start})"
