"""The events of a job: one immutable class per event, with the facts that the event stores.

A wrong combination of facts cannot be built: only `Submitted` has a task id, and only `Completed`
has images. The class names are stored in `job_events.event`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Event:
    """The base class of all events."""


@dataclass(frozen=True, slots=True)
class Claimed(Event):
    """A worker has committed its intent to POST, with an unguessable token, before the POST."""

    token: str
    worker: str
    provider_account: str
    """The Kie account of the attempt. Only its key can query the task."""
    route: str | None = None
    """The family by which the attempt is sent. None for the model's own family."""


@dataclass(frozen=True, slots=True)
class Cancelled(Event):
    """The job was cancelled while it was queued."""

    message: str


@dataclass(frozen=True, slots=True)
class CancelledOnDeferral(Event):
    """The attempt certainly created no task, and the cancel of the job had been requested.

    `Deferred` becomes this event in the statement that would queue the job again.
    """


@dataclass(frozen=True, slots=True)
class RouteUnfit(Event):
    """The route in force for the model cannot carry the request. The job waits in the queue."""

    route: str
    message: str
    delay_seconds: float


@dataclass(frozen=True, slots=True)
class Submitted(Event):
    """Kie accepted the task and returned its id."""

    provider_task_id: str
    deadline_seconds: float


@dataclass(frozen=True, slots=True)
class Deferred(Event):
    """The attempt certainly created no task. The job is queued again, for at least the delay."""

    reason: str
    message: str
    delay_seconds: float


@dataclass(frozen=True, slots=True)
class Rejected(Event):
    """Kie refused the request. The same request would be refused again."""

    message: str


@dataclass(frozen=True, slots=True)
class OutcomeUnknown(Event):
    """The POST may have created a paid task, but no task id was received."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class SubmissionLost(Event):
    """No evidence of a task was found within the limit."""

    message: str


@dataclass(frozen=True, slots=True)
class Progressed(Event):
    """Kie reported progress, 0 to 1."""

    progress: float


@dataclass(frozen=True, slots=True)
class HeldForReview(Event):
    """Kie reported success, but the images are not certain. An operator decides; the hold stays."""

    reason: str
    message: str
    answer: str
    """Kie's response for the operator, without prompts, keys and callback URLs."""


@dataclass(frozen=True, slots=True)
class Completed(Event):
    """Kie delivered at least one image."""

    result_urls: tuple[str, ...]
    message: str | None = None
    provider_finished_at: datetime | None = None
    """When Kie was done, by its clock. None if Kie did not say."""
    consumed_credits: Decimal | None = None
    """What Kie says that the task cost it. None if Kie did not say."""


@dataclass(frozen=True, slots=True)
class ProviderFailed(Event):
    """Kie reported that the task failed."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class DeadlineExceeded(Event):
    """The deadline passed, and a final poll found the task unfinished."""

    message: str
