"""What can happen to a job: one frozen class per event, with exactly the facts it stores.

Names are past participles. A wrong combination of facts cannot be built: only `Submitted`
carries a task id, only `Completed` carries images.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a job."""


@dataclass(frozen=True, slots=True)
class Claimed(Event):
    """A worker committed the intent to POST, under an unguessable token, before it POSTs."""

    token: str
    worker: str
    provider_account: str
    """By which of our accounts at Kie; its key alone can ask about the task."""


@dataclass(frozen=True, slots=True)
class Cancelled(Event):
    """The caller took the job back while it waited."""

    message: str


@dataclass(frozen=True, slots=True)
class Submitted(Event):
    """Kie gave a task id."""

    provider_task_id: str
    deadline_seconds: float


@dataclass(frozen=True, slots=True)
class Deferred(Event):
    """The attempt certainly created nothing; the job waits again, for at least the delay."""

    reason: str
    message: str
    delay_seconds: float


@dataclass(frozen=True, slots=True)
class Rejected(Event):
    """Kie refused the request as such; sending it again would be refused again."""

    message: str


@dataclass(frozen=True, slots=True)
class OutcomeUnknown(Event):
    """The POST may have created a paid task, but no task id came back."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class SubmissionLost(Event):
    """No evidence of a task turned up within the limit."""

    message: str


@dataclass(frozen=True, slots=True)
class Progressed(Event):
    """Kie reports progress, 0 to 1."""

    progress: float


@dataclass(frozen=True, slots=True)
class HeldForReview(Event):
    """Kie reports a success whose images are not certain; the hold stays, an operator decides."""

    reason: str
    message: str
    answer: str
    """What Kie answered, for the operator: without prompts, keys and callback URLs."""


@dataclass(frozen=True, slots=True)
class Completed(Event):
    """Kie delivered at least one image."""

    result_urls: tuple[str, ...]
    message: str | None = None


@dataclass(frozen=True, slots=True)
class ProviderFailed(Event):
    """Kie gave its verdict: no images."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class DeadlineExceeded(Event):
    """The deadline passed, and a last look found the task still not done."""

    message: str
