"""Hides what a job is about: its prompt, its images, its metadata and its webhook URL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shared.domain.job import Job, replace_fields

MASK = "(masked)"
"""Stands for a prompt, as in the view `jobs_masked`."""
MASKED_FILTERS = frozenset({"metadata", "idempotency_key"})
"""Filters by which a guess would find out what is masked."""
_IMAGE_FIELDS = frozenset({"image_urls", "mask_url"})


def mask_job(job: Job) -> Job:
    """Return the job without prompt, images, metadata and webhook URL."""
    request = {name: value for name, value in job.request.items() if name not in _IMAGE_FIELDS}
    if "prompt" in request:
        request["prompt"] = MASK
    return replace_fields(
        job,
        request=request,
        metadata={},
        result_urls=(),
        late_result_urls=None if job.late_result_urls is None else (),
        images=(),
        webhook_url=None,
    )


def mask_details(
    details: Mapping[str, Sequence[Mapping[str, Any]]],
) -> dict[str, Sequence[Mapping[str, Any]]]:
    """Return the details of a job without Kie's answers, which may repeat prompt and images."""
    hidden = {"attempts": "message", "late_tasks": "answer"}
    masked = {
        kind: [{**row, field: None if row[field] is None else MASK} for row in details[kind]]
        for kind, field in hidden.items()
    }
    return {**details, **masked}
