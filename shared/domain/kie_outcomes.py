"""What Kie's answers mean for a job: the words that catalog and Kie client speak to the worker.

A submit's verdict says above all whether a paid task may exist; a poll's verdict says whether
the task has ended. Money depends on nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

# --- the answer to a submit ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Accepted:
    """A task exists, and this is its id."""

    task_id: str


@dataclass(frozen=True, slots=True)
class TryLater:
    """Certainly no task; the same request may succeed later (429, 455, 550, never connected)."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class AccountBlocked:
    """Certainly no task; nobody can submit until the Kie account is mended (401, 402, 403, 433)."""

    message: str
    code: int


@dataclass(frozen=True, slots=True)
class Refused:
    """Certainly no task; the request itself is at fault (400, 404, 422, 505)."""

    message: str
    code: int


@dataclass(frozen=True, slots=True)
class WrongEndpoint:
    """Certainly no task: not the endpoint that makes tasks has answered, so each job would be
    answered alike (404 without an envelope, a redirect, a certificate of another host).
    """

    message: str


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """A task may exist, and may have been paid for: never send the request again."""

    reason: str
    message: str
    wrong_endpoint: bool = False
    """Whether not Kie seems to have answered (a web page, another service's JSON)."""


SubmitOutcome = Accepted | TryLater | AccountBlocked | Refused | WrongEndpoint | Ambiguous

# --- the answer to a poll -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pending:
    """Still generating; `progress` is 0 to 1."""

    progress: float


@dataclass(frozen=True, slots=True)
class Delivered:
    """A success verdict and at least one URL: the only thing that may be charged for."""

    result_urls: tuple[str, ...]
    """Each image once."""
    finished_at: datetime | None = None
    """When Kie says it was done; for measuring our lag, never for deciding anything."""


@dataclass(frozen=True, slots=True)
class TaskFailed:
    """Kie's own verdict that there will be no images."""

    reason: str
    message: str
    is_request_fault: bool = field(default=False, compare=False)
    """Whether the request is at fault (its content, its input images), not Kie."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Kie reports a success, and which images it made is not certain: charge nothing, give up
    nothing.
    """

    message: str
    answer: str
    """The task record as JSON text, without prompts, keys and callback URLs."""


@dataclass(frozen=True, slots=True)
class NoVerdict:
    """The answer decides nothing (5xx, timeout, garbage, 404 and 422, 429): ask again later.

    `wrong_endpoint` is set where not Kie's endpoint has answered, which says nothing of the task;
    `slow_down` where Kie asked for fewer questions (429, 455), `account_blocked` where
    the account is at fault (401, 402, 403, 433), `has_record` where Kie did show the task's record
    but it says neither yes nor no: a last look that gets one has seen all there is to see.
    `lacks_record` is set where Kie itself says that it has no such record.
    """

    message: str
    has_record: bool = False
    slow_down: bool = False
    account_blocked: bool = False
    lacks_record: bool = False
    wrong_endpoint: bool = False


PollOutcome = Pending | Delivered | TaskFailed | Unreadable | NoVerdict


@dataclass(frozen=True, slots=True)
class TaskLookup:
    """What Kie says of a task that somebody claims is ours."""

    outcome: PollOutcome
    callback_url: str | None
    """The callback URL with which the task was made, as Kie echoes it; None where it does not."""
