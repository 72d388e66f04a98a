"""Jobs without a database: one of any values, and one as a worker caches it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

from shared.domain.job import Job, replace_fields
from shared.domain.lifecycle import JobState
from worker.store.job_cache import GeneratingJob

NOW = datetime(2026, 1, 1, tzinfo=UTC)
_VALUES: dict[str, Callable[[], Any]] = {
    "UUID": uuid4,
    "str": lambda: "some",
    "Priority": lambda: "normal",
    "JobState": lambda: JobState.GENERATING,
    "int": lambda: 1,
    "float": lambda: 0.5,
    "Decimal": lambda: Decimal(6),
    "datetime": lambda: NOW,
    "tuple[str, ...]": tuple,
    "tuple[JobImage, ...]": tuple,
    "Mapping[str, Any]": dict,
}
"""A value for each type of a field."""


def example_job(**values: Any) -> Job:
    """Return a generating job with these values. Fields that may be None are None."""
    others = {
        one.name: None if "None" in str(one.type) else _VALUES[str(one.type)]()
        for one in fields(Job)
    }
    return Job(**{**others, **values})


def polled(job: Job) -> GeneratingJob:
    """Return what a worker that polls the task of this job has in its cache.

    The job may be in any state: writes of an outdated cache must be refused.
    """
    generating = replace_fields(
        job,
        state=JobState.GENERATING,
        provider_task_id=job.provider_task_id or f"no-task-of-{job.id}",
    )
    cached = GeneratingJob.of(generating)
    assert cached is not None
    return cached
