"""The outcomes of Kie's responses: what a response to a submit or a poll means for a job.

The outcome of a submit says whether a paid task may exist. The outcome of a poll says whether the
task has ended. All decisions about money depend on these two facts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

# --- outcomes of a submit -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Accepted:
    """A task was created, with this id."""

    task_id: str


@dataclass(frozen=True, slots=True)
class TryLater:
    """Certainly no task. The same request may succeed later (429, 455, 550, no connection)."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class AccountBlocked:
    """Certainly no task. The Kie account cannot submit until it is fixed (401, 402, 403, 433)."""

    message: str
    code: int


@dataclass(frozen=True, slots=True)
class Refused:
    """Certainly no task. The request itself is wrong (400, 404, 422, 505)."""

    message: str
    code: int


@dataclass(frozen=True, slots=True)
class WrongEndpoint:
    """Certainly no task: the response is not from Kie's endpoint.

    Every job would get the same response (404 without an envelope, a redirect, a certificate of
    another host).
    """

    message: str


@dataclass(frozen=True, slots=True)
class ModelGone:
    """Certainly no task: Kie makes no images with this model, or not now.

    Every job of the model would get the same response.
    """

    message: str


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """A paid task may exist. The request must never be sent again."""

    reason: str
    message: str
    wrong_endpoint: bool = False
    """Whether the response seems to be from another server (a web page, foreign JSON)."""


SubmitOutcome = (
    Accepted | TryLater | AccountBlocked | Refused | WrongEndpoint | ModelGone | Ambiguous
)

# --- outcomes of a poll -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pending:
    """The task is not finished. `progress` is 0 to 1."""

    progress: float


@dataclass(frozen=True, slots=True)
class Delivered:
    """Kie reports success with at least one image URL. Only this outcome is charged."""

    result_urls: tuple[str, ...]
    """The distinct URLs."""
    finished_at: datetime | None = None
    """When Kie finished the task. Used to measure delays, never to decide anything."""
    consumed_credits: Decimal | None = None
    """What Kie says that the task cost it. None if the record does not say it."""


@dataclass(frozen=True, slots=True)
class TaskFailed:
    """Kie reports that the task failed and has no images."""

    reason: str
    message: str
    is_request_fault: bool = field(default=False, compare=False)
    """Whether the request caused the failure (its content or its input images)."""
    image_not_fetched: bool = field(default=False, compare=False)
    """Whether Kie could not download an input image."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Kie reports success, but the images are not certain. Nothing is charged or released."""

    message: str
    answer: str
    """The task record as JSON text, without prompts, keys and callback URLs."""


@dataclass(frozen=True, slots=True)
class NoVerdict:
    """Nothing is decided (5xx, timeout, invalid body, 404, 422, 429). Poll again later."""

    message: str
    has_record: bool = False
    """Kie returned the record of the task, but it says neither success nor failure. A final poll
    with this outcome is complete."""
    slow_down: bool = False
    """Kie asked for fewer requests (429, 455)."""
    account_blocked: bool = False
    """The Kie account is at fault (401, 402, 403, 433)."""
    lacks_record: bool = False
    """Kie has no record of the task."""
    wrong_endpoint: bool = False
    """The response is not from Kie's endpoint, so it says nothing about the task."""


PollOutcome = Pending | Delivered | TaskFailed | Unreadable | NoVerdict


@dataclass(frozen=True, slots=True)
class TaskLookup:
    """What Kie reports about a task that a callback or an operator attributes to us."""

    outcome: PollOutcome
    callback_url: str | None
    """The callback URL of the task, as Kie echoes it. None if Kie does not echo it."""
