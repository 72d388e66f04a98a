"""What the API returns. Written by `make types` from the OpenAPI document."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

JobState = Literal[
    "queued", "submitting", "unknown", "generating", "succeeded", "failed", "cancelled"
]
Priority = Literal["high", "normal", "low"]


@dataclass(frozen=True, kw_only=True)
class Account:
    """An account's credits at one time, and its limits. A limit of null is no limit."""

    id: str
    balance: Decimal
    """Owned, holds included."""
    held: Decimal
    """Set aside for open jobs."""
    available: Decimal
    """Balance less held."""
    created_at: datetime
    weight: Decimal
    """Its share of the submits while others wait."""
    max_open_jobs: int | None
    """How many jobs may be submitting, unknown or generating at once."""
    max_queued_jobs: int | None
    """How many jobs may be queued, scheduled ones included."""
    max_credits_per_day: Decimal | None
    """What the jobs placed in one day (UTC) may hold and cost."""
    max_priority: Literal["high", "normal", "low"]
    """The highest priority that its service keys may ask for."""
    credits_today: Decimal
    """What the jobs placed since midnight (UTC) hold or were charged; failed and cancelled ones do
    not count."""


@dataclass(frozen=True, kw_only=True)
class BulkAccount:
    """What the call means for the credits of one account."""

    account_id: str
    jobs: int
    credits: Decimal
    """What retries hold, or what cancels release at once."""
    available: Decimal | None
    """What the account has; null after the act."""
    lacking: Decimal
    """What it lacks for retrying all of these jobs."""
    jobs_without_price: int
    """Jobs that have no price, and are refused."""


@dataclass(frozen=True, kw_only=True)
class BulkDone:
    """A job that was cancelled or retried, or whose cancel was requested: then `state` is open."""

    id: str
    """The job that was selected."""
    job_id: str
    """The job that retries it; of a cancel, the same."""
    account_id: str
    state: JobState
    """Of the job `job_id`."""
    is_new: bool
    """Whether this call did it; false: it was done before."""


@dataclass(frozen=True, kw_only=True)
class BulkRefused:
    """A job that was not cancelled or retried."""

    id: str
    code: str
    """The word that the `type` of an error ends with."""
    detail: str
    """Why, for people."""


@dataclass(frozen=True, kw_only=True)
class BulkResult:
    """What a call did to many jobs, or would do."""

    action: Literal["cancel", "retry"]
    dry_run: bool
    matched: int
    """The jobs that the action was possible for."""
    remaining: int
    """Those beyond `limit`, for the next call."""
    requested: int
    """Those of the cancels whose jobs are at Kie: they end by its outcome."""
    next_cursor: str | None
    """`cursor` of the next call; null if nothing remains."""
    credits: Decimal
    """The sum over the accounts."""
    accounts: tuple[BulkAccount, ...]
    """In a dry run of all that matched, up to 100,000 jobs; else of what was done."""
    done: tuple[BulkDone, ...]
    refused: tuple[BulkRefused, ...]


@dataclass(frozen=True, kw_only=True)
class Event:
    """The `data` of one event of a stream."""

    id: int
    """The same for a repeated event."""
    job_id: str
    account_id: str
    at: datetime
    event: str
    """What happened, in docs/lifecycle.md."""
    state: JobState
    """Where it led the job."""
    detail: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class FieldFault:
    """One thing wrong with a request."""

    field: str
    """Its path, like jobs.3.prompt."""
    message: str


@dataclass(frozen=True, kw_only=True)
class File:
    """An uploaded image."""

    id: str
    account_id: str
    """Whose jobs it is for."""
    url: str
    """For `image_urls` and `mask_url`; who knows it can read the image."""
    sha256: str
    bytes: int
    content_type: Literal["image/png", "image/jpeg", "image/webp"]
    width: int
    """In pixels."""
    height: int
    """In pixels."""
    created_at: datetime
    expires_at: datetime
    """Until when `url` is served, unless a queued job names it."""


@dataclass(frozen=True, kw_only=True)
class JobImage:
    """One image of a job, where images are copied into a store."""

    url: str
    """The copy, or Kie's link while there is none."""
    width: int | None
    """In pixels; null until the image is stored."""
    height: int | None
    """In pixels; null until the image is stored."""
    bytes: int | None
    """Its size; null until the image is stored."""
    content_type: str | None
    """Told from its bytes; null until the image is stored."""
    sha256: str | None
    """Of its bytes; null until the image is stored."""
    kie_url: str
    """Kie's own link."""
    expires_at: datetime | None
    """When `url` stops to answer; null for a copy, which stays until it is pruned."""


@dataclass(frozen=True, kw_only=True)
class JobFields:
    """One request for images and its result."""

    id: str
    account_id: str
    """The account that pays."""
    model: str
    task: str
    variant: str
    """What moves the price besides the quantity, such as `2K`. Empty if nothing does."""
    request: dict[str, Any]
    """The validated fields, including defaults."""
    state: JobState
    """Terminal are succeeded, failed, cancelled."""
    reason: str | None
    """Why the job is in this state, as a stable code. So far: rate_limited, maintenance,
    provider_full, unreachable, account_refused, wrong_endpoint, model_gone, route_unfit,
    reply_lost, server_error, worker_lost, result_unreadable, rejected, provider_failed,
    content_policy, submission_lost, deadline_exceeded, cancelled_by_caller,
    cancelled_by_operator."""
    message: str | None
    """The reason as a sentence, with Kie's message if there is one."""
    progress: float
    """From Kie's newest response."""
    provider_task_id: str | None
    """The task at Kie."""
    result_urls: tuple[str, ...]
    """The images. Kie keeps them for 14 days. A copy, if there is one, lasts."""
    late_result_urls: tuple[str, ...] | None
    """Images that Kie delivered after the end of the job: stored, never charged."""
    images: tuple[JobImage, ...]
    """The images of `result_urls` and `late_result_urls` with what is known of them. Empty where no
    store is configured."""
    credits_quoted: Decimal
    """The credits held while the job is open."""
    credits_charged: Decimal | None
    """The credits deducted. Null until the job succeeds."""
    attempt: int
    """The number of paid POSTs that were started."""
    created_at: datetime
    submitted_at: datetime | None
    """When Kie accepted the task."""
    finished_at: datetime | None
    """When the job ended."""
    cancel_requested_at: datetime | None
    """When a cancel was requested while the job was at Kie, which takes no task back. Nobody waits
    for it any more, and it ends by Kie's outcome: a success is charged."""
    pruned_at: datetime | None
    """When request, metadata and message were deleted. It cannot be retried since."""
    metadata: dict[str, Any]
    """The notes of the order."""
    priority: Priority
    run_at: datetime
    """The job is not submitted before. While it is later than now, a queued job is scheduled and
    does not wait. A time in the past means now."""
    route: str | None
    """The family by which the newest attempt was sent. Null: that of the model."""
    position: int | None
    """The place of a queued job in the fair order: 1 is submitted next. Null when it is not queued
    or is scheduled."""
    estimated_start_at: datetime | None
    """When a queued job is expected to be submitted. Null when it is not queued, or with
    `wait_reason`."""
    wait_reason: Literal["paused", "no_worker", "submits_refused", "account_limit"] | None
    """Why `estimated_start_at` of a queued job is null: `paused` by an operator without an end,
    `no_worker` is alive, `submits_refused` by Kie until a person acts or a probe succeeds,
    `account_limit`: the account's open jobs must end first, and none has ended yet."""


@dataclass(frozen=True, kw_only=True)
class JobCount:
    """How many jobs are in one state for one reason."""

    state: JobState
    reason: str | None
    """Null: for no reason."""
    jobs: int


@dataclass(frozen=True, kw_only=True)
class JobCounts:
    """How many jobs match the filters."""

    jobs: int
    """All of them."""
    counts: tuple[JobCount, ...]
    """By state and reason."""


@dataclass(frozen=True, kw_only=True)
class LedgerEntry:
    """One movement of credits."""

    id: int
    account_id: str
    job_id: str | None
    kind: Literal["grant", "hold", "release", "capture", "adjustment"]
    credits: Decimal
    """Only an adjustment may be negative."""
    balance_after: Decimal
    held_after: Decimal
    price_id: int | None
    reason: str | None
    created_at: datetime
    granted_by: str | None
    """Who granted, adjusted or refunded; null for jobs, and for a service."""


@dataclass(frozen=True, kw_only=True)
class Price:
    """A price in force."""

    model: str
    task: str
    quantity: int
    variant: str
    """Empty: the price has none."""
    credits: Decimal
    """Charged for the whole job."""
    provider_credits: Decimal
    """What Kie charges for it."""
    updated_at: datetime
    updated_by: str
    price_id: int
    """The version in force."""


@dataclass(frozen=True, kw_only=True)
class Quote:
    """What a job would cost, and when it would be submitted."""

    model: str
    task: str
    quantity: int
    credits: Decimal
    """Held by an enqueue now."""
    price_id: int
    """The version in force."""
    variant: str
    """Of the price; empty: it has none."""
    account_id: str
    priority: Priority
    available: Decimal
    """Credits that new jobs may hold."""
    position: int | None
    """That the job would have; null: it is scheduled."""
    estimated_start_at: datetime | None
    """When it would be submitted; null with `wait_reason`."""
    expected_wait_seconds: Decimal | None
    """From now to `estimated_start_at`."""
    wait_reason: Literal["paused", "no_worker", "submits_refused", "account_limit"] | None
    """As a job has it."""


@dataclass(frozen=True, kw_only=True)
class StatementTotals:
    """What each kind of line changed the balance by."""

    grant: Decimal
    refund: Decimal
    adjustment: Decimal
    capture: Decimal
    """Negative."""


@dataclass(frozen=True, kw_only=True)
class StatementMonth:
    """One month of a statement, in UTC."""

    month: str
    opening_balance: Decimal
    closing_balance: Decimal
    totals: StatementTotals
    lines: int


@dataclass(frozen=True, kw_only=True)
class StatementLine:
    """One change of the balance."""

    id: int
    """Of the entry in the ledger."""
    created_at: datetime
    job_id: str | None
    credits: Decimal
    """The change of the balance."""
    balance_after: Decimal
    kind: Literal["grant", "refund", "adjustment", "capture"]
    model: str | None
    task: str | None
    quantity: int | None
    variant: str | None
    """Empty: the price has none."""
    reason: str | None


@dataclass(frozen=True, kw_only=True)
class Statement:
    """What changed an account's balance in a period. Holds and releases are not in it."""

    account_id: str
    from_: datetime
    to: datetime
    """Not part of the period."""
    opening_balance: Decimal
    closing_balance: Decimal
    totals: StatementTotals
    lines: int
    """Of the whole period."""
    months: tuple[StatementMonth, ...]
    entries: tuple[StatementLine, ...]
    """One page of the lines, oldest first."""
    next_cursor: str | None
    """`cursor` of the next page; null on the last."""


@dataclass(frozen=True, kw_only=True)
class WebhookMessage:
    """What is posted to `webhook_url` when a job has ended, or images came after its end. Signed by
    Standard Webhooks."""

    type: Literal["job.succeeded", "job.failed", "job.cancelled", "job.delivered_late"]
    timestamp: datetime
    """When the job ended, or the late images were stored."""
    data: JobFields
