"""Models of the response with everything that is stored about a job, for the OpenAPI document."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, Field, JsonValue

from producer.api.openapi.response_models import Job
from shared.domain.lifecycle import JobState

_UUID: dict[str, Any] = {"format": "uuid"}
_STATE: dict[str, Any] = {"enum": list(JobState)}


class TimelineEvent(BaseModel):
    """What happened to a job."""

    id: int
    at: AwareDatetime
    event: str = Field(description="as in docs/lifecycle.md")
    detail: dict[str, JsonValue]


class Attempt(BaseModel):
    """One paid POST to Kie."""

    number: int
    worker: str
    provider_account: str = Field(description="the Kie account, by its name")
    route: str | None = Field(description="the family that sent it; null: that of the model")
    sent_at: AwareDatetime
    answered_at: AwareDatetime | None
    outcome: Literal["accepted", "deferred", "rejected", "unknown", "lost"] | None = Field(
        description="null: no answer yet"
    )
    provider_task_id: str | None
    message: str | None
    consumed_credits: float | None = Field(
        description="what Kie says that the task cost us; null: it did not say"
    )
    expected_credits: float | None = Field(
        description="what it costs us by the price of the job; null: a later attempt decides"
    )


class JobLedgerEntry(BaseModel):
    """What a job did to the credits of its account."""

    id: int
    kind: str
    credits: float
    balance_after: float
    held_after: float
    price_id: int | None
    created_at: AwareDatetime


class LateTask(BaseModel):
    """A task at Kie that the job does not wait for any more."""

    attempt: int
    provider_task_id: str
    noted_at: AwareDatetime
    next_check_at: AwareDatetime | None = Field(description="null: it is not checked any more")
    checks: int
    outcome: str | None
    ended_at: AwareDatetime | None
    provider_credits: float | None = Field(description="what its images cost us")
    in_doubt_since: AwareDatetime | None = Field(description="since when it can be resolved")
    answer: str | None = Field(description="Kie's answer when the task became doubtful")


class WebhookDelivery(BaseModel):
    """A webhook message and the tries to deliver it."""

    id: str = Field(description="the `webhook-id` that receivers get", examples=["msg_0198"])
    job_id: str = Field(json_schema_extra=_UUID)
    account_id: str
    event: str
    state: Literal["pending", "delivered", "dead"]
    endpoint: str = Field(description="the URL without its query")
    created_at: AwareDatetime
    tries: int
    next_try_at: AwareDatetime
    retry_until: AwareDatetime
    last_try_at: AwareDatetime | None
    last_status: int | None
    last_error: str | None
    delivered_at: AwareDatetime | None
    replayed_at: AwareDatetime | None


class WebhookTry(BaseModel):
    """One try to deliver a webhook message."""

    at: AwareDatetime
    status: int | None = Field(description="the HTTP status; null: no answer came")
    error: str | None = Field(description="why it was not accepted; null: it was")
    seconds: float


class WebhookWithTries(WebhookDelivery):
    """A webhook message with each of its tries."""

    history: list[WebhookTry] = Field(
        description="the newest 100 tries, newest first, those before a replay included"
    )


class WebhookPage(BaseModel):
    """Webhook messages, newest first."""

    webhooks: list[WebhookDelivery]
    next_cursor: str | None = Field(description="`cursor` of the next page; null on the last")


class RevokedWebhookSecret(BaseModel):
    """The secret of an account that was ended, without it."""

    account_id: str
    created_at: AwareDatetime
    rotated_at: AwareDatetime | None


class WebhookSecret(RevokedWebhookSecret):
    """A secret that signs webhooks."""

    url: str | None = Field(description="whose messages it signs; null: all of the account")
    secret: str = Field(examples=["whsec_"])
    previous_secret_until: AwareDatetime | None = Field(
        description="until when the secret before signs as well"
    )


class RetryOfJob(BaseModel):
    """The job that repeats the request of this one."""

    id: str = Field(json_schema_extra=_UUID)
    state: str = Field(json_schema_extra=_STATE)
    reason: str | None
    created_at: AwareDatetime
    credits_quoted: float
    credits_charged: float | None


class JobDetails(BaseModel):
    """A job with everything that is stored about it. Every list is oldest first."""

    job: Job
    idempotency_key: str | None
    retry_of: str | None = Field(
        description="the job whose request this one repeats", json_schema_extra=_UUID
    )
    price_id: int = Field(description="the price version that holds for it")
    events: list[TimelineEvent]
    attempts: list[Attempt]
    entries: list[JobLedgerEntry]
    late_tasks: list[LateTask]
    webhooks: list[WebhookDelivery]
    retries: list[RetryOfJob]


DETAIL_MODELS: tuple[type[BaseModel], ...] = (
    *(JobDetails, WebhookWithTries, WebhookPage, WebhookSecret, RevokedWebhookSecret),
)
