"""The cache of the jobs whose tasks a worker polls."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from shared.domain.job import Job
from shared.domain.lifecycle import JobState
from tests.support.example_jobs import example_job
from worker.store.job_cache import JobCache


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
    return example_job(
        request={"prompt": "a very long one"}, metadata={"order": 1042}, provider_task_id="t"
    )
