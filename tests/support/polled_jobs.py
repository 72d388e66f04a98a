"""A job as a worker caches it, whatever its state is, for tests of guarded writes."""

from __future__ import annotations

from shared.domain.job import Job, replace_fields
from shared.domain.lifecycle import JobState
from worker.store.job_cache import GeneratingJob


def polled(job: Job) -> GeneratingJob:
    """Return what a worker that polls the task of this job has in its cache."""
    generating = replace_fields(
        job,
        state=JobState.GENERATING,
        provider_task_id=job.provider_task_id or f"no-task-of-{job.id}",
    )
    cached = GeneratingJob.of(generating)
    assert cached is not None
    return cached
