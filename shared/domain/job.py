"""A job as both sides see it, and the objects it is made of."""

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
class Job:
    """One request for images and what became of it. A snapshot: it does not change by itself."""

    id: UUID
    account_id: str
    model: str
    task: str
    request: Mapping[str, Any]
    """The fields as validated, with defaults filled in."""
    state: JobState
    reason: str | None
    """Why it is in this state, as a stable word (`shared.domain.lifecycle.Reason`)."""
    message: str | None
    """The same for people, with Kie's own words where there are any."""
    progress: float
    """0 to 1, as Kie last reported."""
    provider_task_id: str | None
    result_urls: tuple[str, ...]
    credits_quoted: Decimal
    """What is held while the job is open."""
    credits_charged: Decimal | None
    """What was deducted; None until it succeeded."""
    attempt: int
    """How many paid POSTs were begun for it."""
    created_at: datetime
    submitted_at: datetime | None
    finished_at: datetime | None
    metadata: Mapping[str, Any]
    priority: str
    run_at: datetime
    quantity: int
    due_at: datetime
    """Not submitted before this moment: `run_at`, or later after a refusal that passes."""
    deadline_at: datetime | None
    """When a task that is still generating is given up, after one last look."""
    attempted_at: datetime | None
    """When the newest attempt was claimed."""
    idempotency_key: str | None
    price_id: int
    webhook_url: str | None
    retry_of: UUID | None
    late_result_urls: tuple[str, ...] | None = None
    """Images that came after the job had ended without them: kept, never charged. None: none."""
    provider_account: str | None = field(default=None, compare=False)
    """Which of our Kie accounts the newest attempt was sent with: the worker reads it with the job,
    nobody else does. It belongs to the attempt, so it makes no difference between jobs."""

    @property
    def is_terminal(self) -> bool:
        """Whether the job has ended; a terminal job never changes."""
        return self.state in TERMINAL


_FIELD_NAMES = tuple(one.name for one in fields(Job))
_FIELD_INDEX = {name: index for index, name in enumerate(_FIELD_NAMES)}
_field_values = attrgetter(*_FIELD_NAMES)


def replace_fields(job: Job, **changes: Any) -> Job:
    """Return the job with these fields changed; raises `KeyError` where there is no such field.

    What `dataclasses.replace` does, in half the time: a worker does it six times per job.
    """
    values = list(_field_values(job))
    for name, value in changes.items():
        values[_FIELD_INDEX[name]] = value
    return Job(*values)
