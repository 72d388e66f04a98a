"""Models of the responses, which only the OpenAPI document uses.

The handlers build their JSON without these models. A test compares both. The schema of a job
follows from `shared.domain.job.PublicJobFields`.
"""

from __future__ import annotations

from dataclasses import Field as JobField
from dataclasses import fields
from datetime import datetime
from typing import Any, Literal, get_args

from pydantic import AwareDatetime, BaseModel, Field, GetJsonSchemaHandler, JsonValue
from pydantic_core import CoreSchema

from producer.audit_entries import Act
from producer.orders.field_limits import DEFAULT_MODEL
from shared.domain.job import Priority, PublicJobFields, WaitReason
from shared.domain.late_results import DELIVERED_LATE_WEBHOOK
from shared.domain.lifecycle import TERMINAL, JobState

_ID = "019b2f3e-7c1a-7d54-9c3e-2f6d1f0a8b11"
_AT = "2026-01-31T18:04:05.123456Z"
_UUID: dict[str, Any] = {"format": "uuid"}
_STATE: dict[str, Any] = {"enum": [state.value for state in JobState]}
_Kinds = Literal["grant", "hold", "release", "capture", "adjustment"]


# By type of a field of a job.
_JOB_TYPES: dict[str, dict[str, Any]] = {
    "UUID": {"type": "string", **_UUID},
    "str": {"type": "string"},
    "JobState": {"type": "string", **_STATE},
    "Priority": {"type": "string", "enum": list(get_args(Priority))},
    "WaitReason": {"type": "string", "enum": [*get_args(WaitReason), None]},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "Decimal": {"type": "number"},
    "datetime": {"type": "string", "format": "date-time"},
    "tuple[str, ...]": {"type": "array", "items": {"type": "string"}},
    "Mapping[str, Any]": {"type": "object"},
    "tuple[JobImage, ...]": {"type": "array", "items": {"$ref": "#/components/schemas/JobImage"}},
}


class JobImage(BaseModel):
    """One image of a job, where images are copied into a store."""

    url: str = Field(description="the copy, or Kie's link while there is none")
    width: int | None = Field(description="in pixels; null until the image is stored")
    height: int | None = Field(description="in pixels; null until the image is stored")
    bytes: int | None = Field(description="its size; null until the image is stored")
    content_type: str | None = Field(
        description="told from its bytes; null until the image is stored",
        examples=["image/png", "image/jpeg", "image/webp"],
    )
    sha256: str | None = Field(description="of its bytes; null until the image is stored")
    kie_url: str = Field(description="Kie's own link")
    expires_at: AwareDatetime | None = Field(
        description="when `url` stops to answer; null for a copy, which stays until it is pruned"
    )


class Job(BaseModel):
    """One request for images and its result."""

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Return the schema of the fields of `PublicJobFields`."""
        reference = handler(core_schema)
        handler.resolve_ref_schema(reference).update(
            properties={one.name: _job_field_schema(one) for one in fields(PublicJobFields)},
            required=[one.name for one in fields(PublicJobFields)],
        )
        return reference


def _job_field_schema(one: JobField[Any]) -> dict[str, Any]:
    name, _, null = str(one.type).partition(" | ")
    schema = {**_JOB_TYPES[name], **one.metadata["rules"], "examples": [one.metadata["example"]]}
    if null:
        schema["type"] = [schema["type"], "null"]
    if one.metadata["description"]:
        schema["description"] = one.metadata["description"]
    return schema


class Jobs(BaseModel):
    """The jobs of a batch, in the order given."""

    jobs: list[Job]


class JobPage(BaseModel):
    """Jobs, newest first."""

    jobs: list[Job] = Field(json_schema_extra={"items": {"$ref": "#/components/schemas/ShownJob"}})
    next_cursor: str | None = Field(
        description="`cursor` of the next page; null on the last", json_schema_extra=_UUID
    )


class JobCount(BaseModel):
    """How many jobs are in one state for one reason."""

    state: str = Field(json_schema_extra={"enum": list(JobState)})
    reason: str | None = Field(description="null: for no reason")
    jobs: int = Field(ge=1)


class JobCounts(BaseModel):
    """How many jobs match the filters."""

    jobs: int = Field(ge=0, description="all of them")
    counts: list[JobCount] = Field(description="by state and reason")


class Price(BaseModel):
    """A price in force."""

    model: str = Field(examples=[DEFAULT_MODEL])
    task: str = Field(examples=["text-to-image"])
    quantity: int = Field(examples=[2])
    variant: str = Field(description="empty: the price has none", examples=[""])
    credits: float = Field(description="charged for the whole job", examples=[7])
    provider_credits: float = Field(description="what Kie charges for it", examples=[7])
    updated_at: AwareDatetime = Field(examples=[_AT])
    updated_by: str = Field(examples=["api:dk_7JqzW3pXk2Lm"])
    price_id: int = Field(description="the version in force", examples=[2])


class Quote(BaseModel):
    """What a job would cost, and when it would be submitted."""

    model: str = Field(examples=[DEFAULT_MODEL])
    task: str = Field(examples=["text-to-image"])
    quantity: int = Field(examples=[2])
    credits: float = Field(description="held by an enqueue now", examples=[7])
    price_id: int = Field(description="the version in force", examples=[2])
    variant: str = Field(description="of the price; empty: it has none", examples=[""])
    account_id: str = Field(examples=["acme"])
    priority: str = Field(json_schema_extra={"enum": list(get_args(Priority))})
    available: float = Field(description="credits that new jobs may hold", examples=[120])
    position: int | None = Field(description="that the job would have; null: it is scheduled")
    estimated_start_at: AwareDatetime | None = Field(
        description="when it would be submitted; null with `wait_reason`"
    )
    expected_wait_seconds: float | None = Field(description="from now to `estimated_start_at`")
    wait_reason: str | None = Field(
        description="as a job has it", json_schema_extra={"enum": [*get_args(WaitReason), None]}
    )


class Prices(BaseModel):
    """Every price in force."""

    prices: list[Price]


class Account(BaseModel):
    """An account's credits at one time, and its limits. A limit of null is no limit."""

    id: str = Field(examples=["acme"])
    balance: float = Field(description="owned, holds included", examples=[100])
    held: float = Field(description="set aside for open jobs", examples=[7])
    available: float = Field(description="balance less held", examples=[93])
    created_at: AwareDatetime = Field(examples=[_AT])
    weight: float = Field(description="its share of the submits while others wait", examples=[1])
    max_open_jobs: int | None = Field(
        description="how many jobs may be submitting, unknown or generating at once",
        examples=[None],
    )
    max_queued_jobs: int | None = Field(
        description="how many jobs may be queued, scheduled ones included", examples=[500]
    )
    max_credits_per_day: float | None = Field(
        description="what the jobs placed in one day (UTC) may hold and cost", examples=[None]
    )
    max_priority: Priority = Field(
        description="the highest priority that its service keys may ask for", examples=["high"]
    )
    credits_today: float = Field(
        description="what the jobs placed since midnight (UTC) hold or were charged; failed and"
        " cancelled ones do not count",
        examples=[12],
    )


class LedgerEntry(BaseModel):
    """One movement of credits."""

    id: int = Field(examples=[4711])
    account_id: str = Field(examples=["acme"])
    job_id: str | None = Field(json_schema_extra=_UUID, examples=[_ID])
    kind: _Kinds = Field(examples=["hold"])
    credits: float = Field(description="only an adjustment may be negative", examples=[7])
    balance_after: float = Field(examples=[100])
    held_after: float = Field(examples=[7])
    price_id: int | None = Field(examples=[2])
    reason: str | None = Field(examples=[None])
    created_at: AwareDatetime = Field(examples=[_AT])
    granted_by: str | None = Field(
        description="who granted, adjusted or refunded; null for jobs, and for a service",
        examples=[None],
    )


class LedgerPage(BaseModel):
    """Movements of credits, newest first."""

    entries: list[LedgerEntry]
    next_cursor: str | None = Field(description="`cursor` of the next page; null on the last")


class AuditEntry(BaseModel):
    """Who did what: one act of an operator, an admin or a login of the database."""

    id: int = Field(examples=[17])
    at: AwareDatetime = Field(examples=[_AT])
    act: Act = Field(examples=["credits_granted"])
    actor: str = Field(
        description="as our services name him; otherwise the login",
        examples=["api:dk_7JqzW3pXk2Lm"],
    )
    via: Literal["api", "cli", "console", "python", "sql", "schedule"] = Field(examples=["api"])
    key_prefix: str | None = Field(examples=["dk_7JqzW3pXk2Lm"])
    key_role: str | None = Field(examples=["admin"])
    os_user: str | None = Field(description="who typed the command, as stated", examples=[None])
    origin: str | None = Field(
        description="the HTTP peer, or the host of the command line, as stated",
        examples=["203.0.113.7"],
    )
    database_role: str = Field(
        description="the login of the database session", examples=["darkroom_api_1"]
    )
    client_address: str | None = Field(
        description="of the database session; null: a socket", examples=["10.0.0.5"]
    )
    account_id: str | None = Field(examples=["acme"])
    job_id: str | None = Field(json_schema_extra=_UUID, examples=[None])
    subject: str = Field(description="the table and the key", examples=["ledger_entries 4711"])
    before: dict[str, JsonValue] | None = Field(examples=[{"balance": 0}])
    after: dict[str, JsonValue] | None = Field(examples=[{"balance": 100, "credits": 100}])
    reason: str | None = Field(examples=["invoice 17"])


class AuditPage(BaseModel):
    """What was done, newest first."""

    entries: list[AuditEntry]
    next_cursor: str | None = Field(description="`cursor` of the next page; null on the last")


class Event(BaseModel):
    """The `data` of one event of a stream."""

    id: int = Field(description="the same for a repeated event", examples=[99])
    job_id: str = Field(json_schema_extra=_UUID, examples=[_ID])
    account_id: str = Field(examples=["acme"])
    at: AwareDatetime = Field(examples=[_AT])
    event: str = Field(description="what happened, in docs/lifecycle.md", examples=["progressed"])
    state: str = Field(
        description="where it led the job", json_schema_extra=_STATE, examples=["generating"]
    )
    detail: dict[str, JsonValue] = Field(examples=[{"progress": 0.5}])


class FaultOfField(BaseModel):
    """One thing wrong with a request."""

    field: str = Field(description="its path, like jobs.3.prompt", examples=["aspect_ratio"])
    message: str = Field(examples=["is '4:3'; allowed: 1:1, 3:2, 2:3"])


class Problem(BaseModel):
    """Why a request was refused, in the format of RFC 9457. Nothing was stored."""

    type: str = Field(
        description="stable, for programs", examples=["urn:darkroom:problem:invalid_request"]
    )
    title: str
    status: int = Field(json_schema_extra={"minimum": 400, "maximum": 599})
    detail: str = Field(description="what was given and what is allowed, for people")
    errors: list[FaultOfField] = Field(
        default_factory=list,
        description="with 422, and with a priority that is not allowed: every fault at once",
    )
    account_id: str = Field(
        default_factory=str, description="with too few credits, or a limit that is reached: whose"
    )
    needed: float = Field(
        default_factory=float, description="with too few credits: what the jobs cost"
    )
    available: float = Field(
        default_factory=float, description="with too few credits: what there is"
    )
    held: float = Field(
        default_factory=float, description="with too few credits: what open jobs hold"
    )
    limit: str = Field(
        default_factory=str,
        description="with a limit of the account: its name, such as `max_queued_jobs`",
    )
    allowed: float | Priority = Field(
        default_factory=float, description="with a limit of the account: the limit"
    )
    used: float = Field(
        default_factory=float, description="with a limit that is reached: what counts already"
    )
    asked: float = Field(
        default_factory=float, description="with a limit that is reached: what was asked for"
    )
    resets_at: AwareDatetime = Field(
        default_factory=datetime.now,
        description="with the limit of the day: when the count starts again",
    )
    job_id: str = Field(
        default_factory=str, description="with 409: the job that caused the conflict"
    )
    differs: list[str] = Field(
        default_factory=list, description="with a key that was used: the fields that differ"
    )
    state: str = Field(
        default_factory=str, description="with a job that cannot be cancelled: its state"
    )


class WebhookMessage(BaseModel):
    """What is posted to `webhook_url` when a job has ended, or images came after its end.

    Signed by Standard Webhooks.
    """

    type: str = Field(
        json_schema_extra={
            "enum": [*(f"job.{one}" for one in JobState if one in TERMINAL), DELIVERED_LATE_WEBHOOK]
        }
    )
    timestamp: AwareDatetime = Field(
        description="when the job ended, or the late images were stored", examples=[_AT]
    )
    data: Job


RESPONSE_MODELS: tuple[type[BaseModel], ...] = (
    *(
        Job,
        JobImage,
        Jobs,
        JobPage,
        JobCounts,
        Price,
        Prices,
        Quote,
        Account,
        LedgerPage,
        AuditPage,
        Event,
    ),
    *(Problem, WebhookMessage),
)
"""The models of the document. Pydantic adds the models of their fields."""
