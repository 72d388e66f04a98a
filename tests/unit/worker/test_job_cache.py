"""The cache of the jobs whose tasks a worker polls."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from shared.domain.job import Job
from shared.domain.lifecycle import JobState
from worker.store.job_cache import JobCache

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_it_stores_what_a_poll_needs_of_a_generating_job() -> None:
    cache, job = JobCache(), generating()
    stored = cache.update(job)
    assert stored is not None
    assert cache.get(job.id) == stored
    for one in fields(stored):
        assert getattr(stored, one.name) == getattr(job, one.name), one.name
    assert not hasattr(stored, "request")


@pytest.mark.parametrize(
    "change",
    [
        {"state": JobState.FAILED},
        {"state": JobState.SUBMITTING},
        {"state": JobState.SUCCEEDED},
        {"provider_task_id": None},
    ],
    ids=str,
)
def test_it_removes_a_job_without_a_task_to_poll(change: dict[str, Any]) -> None:
    cache, job = JobCache(), generating()
    cache.update(job)
    assert cache.update(replace(job, **change)) is None
    assert cache.get(job.id) is None


def test_it_removes_the_oldest_when_it_is_full() -> None:
    cache = JobCache(most=2)
    jobs = [generating() for _ in range(3)]
    for job in jobs:
        cache.update(job)
    assert [cache.get(job.id) is not None for job in jobs] == [False, True, True]


def generating() -> Job:
    return Job(
        id=uuid4(),
        account_id="acme",
        model="gpt-4o-image",
        task="text-to-image",
        request={"prompt": "a very long one"},
        state=JobState.GENERATING,
        reason=None,
        message=None,
        progress=0.5,
        provider_task_id="t",
        result_urls=(),
        late_result_urls=None,
        credits_quoted=Decimal(6),
        credits_charged=None,
        attempt=1,
        created_at=NOW,
        submitted_at=NOW,
        finished_at=None,
        metadata={"order": 1042},
        priority="normal",
        run_at=NOW,
        quantity=1,
        due_at=NOW,
        deadline_at=NOW,
        attempted_at=NOW,
        idempotency_key=None,
        price_id=1,
        webhook_url=None,
        retry_of=None,
    )
