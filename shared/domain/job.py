"""The job, as the producer and the worker see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from decimal import Decimal
from operator import attrgetter
from typing import Any
from uuid import UUID

from shared.domain.lifecycle import TERMINAL, JobState


@dataclass(frozen=True, slots=True)
class PublicJobFields:
    """The fields of the job object of the public API, in its order.

    The JSON of a job and the reading of rows follow from this list. A new field needs a column of
    `jobs`, a line here, and its first value in `producer.orders.insert_parameters`.
    """

    id: UUID
    account_id: str
    model: str
    task: str
    request: Mapping[str, Any]
    """The validated fields, including defaults."""
    state: JobState
    reason: str | None
    """Why the job is in this state, as a stable code (`shared.domain.lifecycle.Reason`)."""
    message: str | None
    """The reason as a sentence, with Kie's message if there is one."""
    progress: float
    """0 to 1, from Kie's newest response."""
    provider_task_id: str | None
    result_urls: tuple[str, ...]
    late_result_urls: tuple[str, ...] | None
    """Images that Kie delivered after the end of the job: stored, never charged."""
    credits_quoted: Decimal
    """The credits held while the job is open."""
    credits_charged: Decimal | None
    """The credits deducted. None until the job succeeds."""
    attempt: int
    """The number of paid POSTs that were started."""
    created_at: datetime
    submitted_at: datetime | None
    finished_at: datetime | None
    metadata: Mapping[str, Any]
    priority: str
    run_at: datetime


@dataclass(frozen=True, slots=True)
class Job(PublicJobFields):
    """One request for images and its result. An immutable snapshot."""

    quantity: int
    due_at: datetime
    """The job is not submitted before this time: `run_at`, or later after a temporary refusal."""
    deadline_at: datetime | None
    """When a task that is still generating is abandoned, after a final poll."""
    attempted_at: datetime | None
    """When the newest attempt was claimed."""
    idempotency_key: str | None
    price_id: int
    webhook_url: str | None
    retry_of: UUID | None
    provider_account: str | None = field(default=None, compare=False)
    """The Kie account of the newest attempt. Only the worker reads it. Comparisons of jobs ignore
    it."""

    @property
    def is_terminal(self) -> bool:
        """Whether the job has ended. A terminal job never changes."""
        return self.state in TERMINAL


_FIELD_NAMES = tuple(one.name for one in fields(Job))
_FIELD_INDEX = {name: index for index, name in enumerate(_FIELD_NAMES)}
_field_values = attrgetter(*_FIELD_NAMES)


def replace_fields(job: Job, **changes: Any) -> Job:
    """Return a copy of the job with these fields replaced. Raises `KeyError` for an unknown field.

    Takes half the time of `dataclasses.replace`. A worker calls it six times per job.
    """
    values = list(_field_values(job))
    for name, value in changes.items():
        values[_FIELD_INDEX[name]] = value
    return Job(*values)
