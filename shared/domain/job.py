"""The job, as the producer and the worker see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from decimal import Decimal
from operator import attrgetter
from typing import Any, Literal
from uuid import UUID

from shared.domain.lifecycle import TERMINAL, JobState, Reason

Priority = Literal["high", "normal", "low"]
WaitReason = Literal["paused", "no_worker", "submits_refused", "account_limit"]
"""Why it is not known when a queued job is submitted."""

FROM_ORDER = object()
"""The first value of a field that depends on the order."""
_TIME = "2026-01-31T18:04:05.123456Z"
_ID = "019b2f3e-7c1a-7d54-9c3e-2f6d1f0a8b11"
_URL = "https://example.com/{}.png"


def _public(
    description: str, *, example: Any, first: Any = FROM_ORDER, **rules: Any
) -> dict[str, Any]:
    """Return what the API's documents say of a field, and its value in a job that is inserted.

    `rules` are keywords of JSON Schema beside those of its type.
    """
    return {"description": description, "example": example, "first": first, "rules": rules}


@dataclass(frozen=True, slots=True)
class JobImage:
    """One image of a job, where images are copied into a store."""

    url: str
    """Where to get it: the copy, or Kie's link while there is no copy."""
    width: int | None
    """In pixels. This and the fields to `sha256` are None until the image is stored."""
    height: int | None
    bytes: int | None
    content_type: str | None
    """`image/png`, `image/jpeg` or `image/webp`."""
    sha256: str | None
    """The SHA-256 of its bytes, as 64 hexadecimal digits."""
    kie_url: str
    """Kie's own link."""
    expires_at: datetime | None
    """When `url` stops to answer. None for a copy, which is kept until it is pruned."""

    @property
    def is_stored(self) -> bool:
        """Whether `url` is that of a copy."""
        return self.sha256 is not None


@dataclass(frozen=True, slots=True)
class PublicJobFields:
    """The fields of the job object of the public API, in its order.

    The JSON of a job, the reading of rows, the first values of a new job, the OpenAPI document and
    the types for TypeScript follow from this list. A new field needs a column of `jobs` and a line
    here, or a name in `ESTIMATED`. One whose first value depends on the order also needs it in
    `producer.orders.insert_parameters`.
    """

    id: UUID = field(metadata=_public("", example=_ID))
    account_id: str = field(metadata=_public("The account that pays.", example="acme"))
    model: str = field(metadata=_public("", example="gpt-4o-image"))
    task: str = field(metadata=_public("", example="text-to-image"))
    variant: str = field(
        metadata=_public(
            "What moves the price besides the quantity, such as `2K`. Empty if nothing does.",
            example="",
        )
    )
    request: Mapping[str, Any] = field(
        metadata=_public(
            "The validated fields, including defaults.",
            example={"prompt": "a lighthouse at dusk", "aspect_ratio": "3:2", "quantity": 2},
        )
    )
    state: JobState = field(
        metadata=_public(
            f"Terminal are {', '.join(one for one in JobState if one in TERMINAL)}.",
            example="succeeded",
            first=JobState.QUEUED,
        )
    )
    reason: str | None = field(
        metadata=_public(
            f"Why the job is in this state, as a stable code. So far: {', '.join(Reason)}.",
            example=None,
            first=None,
        )
    )
    message: str | None = field(
        metadata=_public(
            "The reason as a sentence, with Kie's message if there is one.",
            example=None,
            first=None,
        )
    )
    progress: float = field(
        metadata=_public("From Kie's newest response.", example=1, first=0.0, minimum=0, maximum=1)
    )
    provider_task_id: str | None = field(
        metadata=_public("The task at Kie.", example="task12345", first=None)
    )
    result_urls: tuple[str, ...] = field(
        metadata=_public(
            "The images. Kie keeps them for 14 days. A copy, if there is one, lasts.",
            example=[_URL.format(1), _URL.format(2)],
            first=(),
        )
    )
    late_result_urls: tuple[str, ...] | None = field(
        metadata=_public(
            "Images that Kie delivered after the end of the job: stored, never charged.",
            example=None,
            first=None,
        )
    )
    images: tuple[JobImage, ...] = field(
        metadata=_public(
            "The images of `result_urls` and `late_result_urls` with what is known of them. Empty"
            " where no store is configured.",
            example=[
                {
                    "url": f"https://darkroom.example.com/v1/jobs/{_ID}/images/1",
                    "width": 1536,
                    "height": 1024,
                    "bytes": 2_481_733,
                    "content_type": "image/png",
                    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                    "kie_url": _URL.format(1),
                    "expires_at": None,
                }
            ],
            first=(),
        )
    )
    credits_quoted: Decimal = field(
        metadata=_public("The credits held while the job is open.", example=7)
    )
    credits_charged: Decimal | None = field(
        metadata=_public(
            "The credits deducted. Null until the job succeeds.", example=7, first=None
        )
    )
    attempt: int = field(
        metadata=_public("The number of paid POSTs that were started.", example=1, first=0)
    )
    created_at: datetime = field(metadata=_public("", example=_TIME))
    submitted_at: datetime | None = field(
        metadata=_public("When Kie accepted the task.", example=_TIME, first=None)
    )
    finished_at: datetime | None = field(
        metadata=_public("When the job ended.", example=_TIME, first=None)
    )
    cancel_requested_at: datetime | None = field(
        metadata=_public(
            "When a cancel was requested while the job was at Kie, which takes no task back. Nobody"
            " waits for it any more, and it ends by Kie's outcome: a success is charged.",
            example=None,
            first=None,
        )
    )
    pruned_at: datetime | None = field(
        metadata=_public(
            "When request, metadata and message were deleted. It cannot be retried since.",
            example=None,
            first=None,
        )
    )
    metadata: Mapping[str, Any] = field(
        metadata=_public("The notes of the order.", example={"order": 1042})
    )
    priority: Priority = field(metadata=_public("", example="normal"))
    run_at: datetime = field(
        metadata=_public(
            "The job is not submitted before. While it is later than now, a queued job is scheduled"
            " and does not wait. A time in the past means now.",
            example=_TIME,
        )
    )
    route: str | None = field(
        metadata=_public(
            "The family by which the newest attempt was sent. Null: that of the model.",
            example=None,
            first=None,
        )
    )
    position: int | None = field(
        compare=False,
        metadata=_public(
            "The place of a queued job in the fair order: 1 is submitted next. Null when it is not"
            " queued or is scheduled.",
            example=None,
            first=None,
            minimum=1,
        ),
    )
    estimated_start_at: datetime | None = field(
        compare=False,
        metadata=_public(
            "When a queued job is expected to be submitted. Null when it is not queued, or with"
            " `wait_reason`.",
            example=None,
            first=None,
        ),
    )
    wait_reason: WaitReason | None = field(
        compare=False,
        metadata=_public(
            "Why `estimated_start_at` of a queued job is null: `paused` by an operator without an"
            " end, `no_worker` is alive, `submits_refused` by Kie until a person acts or a probe"
            " succeeds, `account_limit`: the account's open jobs must end first, and none has ended"
            " yet.",
            example=None,
            first=None,
        ),
    )


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
    images_due_at: datetime | None = None
    """Set while the end of the job waits for copies of its images to be announced, at most until
    this time."""
    provider_account: str | None = field(default=None, compare=False)
    """The Kie account of the newest attempt. Only the worker reads it. Comparisons of jobs ignore
    it."""

    @property
    def family_name(self) -> str:
        """The family by which the newest attempt was sent."""
        return self.route or self.model

    @property
    def is_terminal(self) -> bool:
        """Whether the job has ended. A terminal job never changes."""
        return self.state in TERMINAL

    def is_scheduled(self, now: datetime) -> bool:
        """Whether the job is queued and its `run_at` has not come, so that it does not wait yet."""
        return self.state is JobState.QUEUED and self.run_at > now

    @property
    def kie_result_urls(self) -> tuple[str, ...]:
        """The images at Kie: links that answer without a key, until Kie deletes them."""
        kie_urls = {image.url: image.kie_url for image in self.images}
        return tuple(kie_urls.get(url, url) for url in self.result_urls)

    @property
    def is_cancel_requested(self) -> bool:
        """Whether the job is open and its cancel was requested."""
        return self.cancel_requested_at is not None and not self.is_terminal

    @property
    def is_announced(self) -> bool:
        """Whether the job has ended, and its end waits for no copy of an image."""
        return self.is_terminal and self.images_due_at is None


ESTIMATED = ("position", "estimated_start_at", "wait_reason")
"""The fields that are calculated when a job is read for a caller. They have no columns."""
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


def copy_estimate(job: Job, *, to: Job) -> Job:
    """Return `to` with the calculated fields of `job`."""
    return replace_fields(to, **{name: getattr(job, name) for name in ESTIMATED})
