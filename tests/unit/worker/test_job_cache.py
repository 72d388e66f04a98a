"""A worker remembers the jobs that it watches, and only those."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from uuid import uuid4

from shared.domain.job import Job
from shared.domain.lifecycle import JobState
from worker.store.job_cache import JobCache

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_it_remembers_a_generating_job_without_its_request() -> None:
    memory, job = JobCache(), generating()
    memory.store(job)
    known = memory.get(job.id)
    assert known == replace(job, request={}, metadata={})


def test_it_forgets_a_job_that_is_seen_in_another_state() -> None:
    memory, job = JobCache(), generating()
    memory.store(job)
    memory.store(replace(job, state=JobState.FAILED))
    assert memory.get(job.id) is None


def test_it_forgets_the_oldest_when_it_is_full() -> None:
    memory = JobCache(most=2)
    jobs = [generating() for _ in range(3)]
    for job in jobs:
        memory.store(job)
    assert [memory.get(job.id) is not None for job in jobs] == [False, True, True]


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
