"""Models of the overview and of the history, which only the OpenAPI document uses.

The handlers build their JSON without these models. A test compares both.
"""

from __future__ import annotations

from datetime import date
from typing import Any, get_args

from pydantic import AwareDatetime, BaseModel, Field

from producer.pauses import PauseScope
from shared.domain.alerts.alert import ALERT_NAMES
from shared.domain.job import Priority, WaitReason

_ID = "019b2f3e-7c1a-7d54-9c3e-2f6d1f0a8b11"
_AT = "2026-01-31T18:04:05.123456Z"
_UUID: dict[str, Any] = {"format": "uuid"}


class Alert(BaseModel):
    """Something that is wrong."""

    name: str = Field(
        description=f"stable; so far: {', '.join(ALERT_NAMES)}", examples=["submits_paused"]
    )
    subject: str = Field(description="the Kie account, worker or receiver", examples=["default"])
    detail: str = Field(description="what is wrong, for people")
    since: AwareDatetime | None = Field(description="null: not known", examples=[_AT])
    fix: str = Field(description="what an operator can do")


class SubmitPause(BaseModel):
    """Why submits of a Kie account are paused, or sent one at a time after a pause."""

    until: AwareDatetime = Field(examples=[_AT])
    level: int = Field(description="each level doubles the pause", examples=[1])
    reason: str = Field(examples=["account_refused"])
    message: str = Field(examples=["402: insufficient credits"])
    since: AwareDatetime | None = Field(examples=[_AT])
    is_on: bool = Field(description="false: one job at a time is sent")


class SubmitRate(BaseModel):
    """How far submits of a Kie account are slowed down, because Kie was too busy for some."""

    rate: int = Field(description="submits per 10 s that workers allow now", examples=[5])
    limit: int = Field(
        description="the configured limit; without one, the rate measured before", examples=[20]
    )
    reason: str = Field(description="of the last refusal", examples=["rate_limited"])
    message: str = Field(examples=["Kie answered 429: Too many requests"])
    since: AwareDatetime = Field(description="below the limit since then", examples=[_AT])
    full_at: AwareDatetime = Field(
        description="at the limit again then, unless Kie refuses another", examples=[_AT]
    )


class ActivePause(BaseModel):
    """A pause of submits that a person has set."""

    id: int = Field(examples=[17])
    scope: PauseScope = Field(description="what is paused", examples=["account"])
    value: str | None = Field(
        description="the model, the account or the Kie account; null: everything",
        examples=["acme"],
    )
    reason: str = Field(examples=["they asked for it"])
    paused_by: str = Field(examples=["api:dk_7JqzW3pXk2Lm"])
    paused_at: AwareDatetime = Field(examples=[_AT])
    until: AwareDatetime | None = Field(
        description="when it ends automatically; null: when it is resumed", examples=[None]
    )


class Pause(ActivePause):
    """A pause of submits, active or ended."""

    is_active: bool = Field(examples=[True])
    resumed_at: AwareDatetime | None = Field(description="when a person ended it", examples=[None])
    resumed_by: str | None = Field(examples=[None])


class PausePage(BaseModel):
    """Pauses, newest first."""

    pauses: list[Pause]
    next_cursor: str | None = Field(description="`cursor` of the next page; null on the last")


class EndedBrake(BaseModel):
    """A brake that was ended."""

    kie_account: str = Field(examples=["default"])
    model: str | None = Field(description="null: of all submits of the account", examples=[None])
    reason: str = Field(description="why workers had applied it", examples=["account_refused"])
    message: str = Field(examples=["402: insufficient credits"])


class EndedBrakes(BaseModel):
    """The brakes that were ended."""

    ended: list[EndedBrake]


class RoutedModel(BaseModel):
    """A model, and how its jobs are sent to Kie."""

    model: str = Field(examples=["gpt-4o-image"])
    tasks: list[str] = Field(examples=[["image-to-image", "text-to-image"]])
    via: str = Field(description="the family that sends it now", examples=["4o-image-api"])
    routes: list[str] = Field(description="other families that can", examples=[["4o-image-api"]])
    since: AwareDatetime | None = Field(
        description="of the newest choice; null: there never was one", examples=[_AT]
    )
    routed_by: str | None = Field(examples=["maria"])
    reason: str | None = Field(examples=["the old endpoint is gone"])


class ModelList(BaseModel):
    """The models by name."""

    models: list[RoutedModel]


class RoutePreview(BaseModel):
    """What a route means for the queued jobs of a model."""

    carried: int = Field(description="jobs that go by it", examples=[198])
    waiting: int = Field(description="jobs that it cannot carry: they wait", examples=[2])
    waiting_by_field: dict[str, int] = Field(
        description="how many each field prevents", examples=[{"quantity": 2}]
    )
    waiting_credits: float = Field(description="what they hold", examples=[14])


class RouteResult(BaseModel):
    """The model as it is sent now, and the meaning of the choice for its queued jobs."""

    dry_run: bool
    model: RoutedModel
    queued: RoutePreview


class KieAccountState(BaseModel):
    """One of our accounts at Kie."""

    name: str = Field(examples=["default"])
    budget: int | None = Field(
        description="submits per 10 s; 0: no limit; null: no worker is alive", examples=[20]
    )
    budget_used: int | None = Field(
        description="submits in the current window; null: Redis is away", examples=[12]
    )
    balance: float | None = Field(description="credits left at Kie", examples=[1250])
    balance_age_seconds: float | None = Field(examples=[31.5])
    submits_paused: SubmitPause | None
    submit_rate: int | None = Field(
        description="submits per 10 s that workers allow: the budget, unless slowed down",
        examples=[20],
    )
    submits_slowed: SubmitRate | None = Field(description="null at the full rate")


class FailedJob(BaseModel):
    """One of the last jobs that failed."""

    id: str = Field(json_schema_extra=_UUID, examples=[_ID])
    account_id: str = Field(examples=["acme"])
    finished_at: AwareDatetime = Field(examples=[_AT])
    reason: str = Field(examples=["provider_failed"])
    message: str | None


class DayTotals(BaseModel):
    """What ended since the day began, in UTC."""

    begins: AwareDatetime = Field(examples=[_AT])
    succeeded: int
    failed: int
    cancelled: int
    credits_charged: float


class LostWorker(BaseModel):
    """A worker that ended without a clean stop."""

    name: str = Field(examples=["host-1:4711"])
    seen_at: AwareDatetime = Field(examples=[_AT])


class Workers(BaseModel):
    """The worker processes."""

    alive: int
    lost: list[LostWorker]


class LateDeliveries(BaseModel):
    """What Kie delivered after the end of its job, within the last day."""

    tasks: int
    provider_credits: float = Field(description="what Kie charged us; no account pays it")


class Durations(BaseModel):
    """Percentiles over the jobs that ended; null where none did."""

    wait_p50_seconds: float | None = Field(description="from due or accepted to the task id")
    wait_p95_seconds: float | None
    run_p50_seconds: float | None = Field(description="from the task id to the end")
    run_p95_seconds: float | None
    lag_p50_seconds: float | None = Field(description="from Kie's completion to the charge")
    lag_p95_seconds: float | None


class QueueFigures(Durations):
    """What waits and runs, and what happened in an interval."""

    queued: int = Field(description="those that wait, and those that are scheduled")
    scheduled: int = Field(description="those of queued whose run_at has not come")
    waiting: int = Field(description="queued less scheduled")
    submitting: int
    unknown: int
    generating: int
    held_for_review: int = Field(description="those of generating that an operator must resolve")
    oldest_waiting_seconds: float = Field(description="of the jobs that no pause holds back")
    accepted: int
    submitted: int
    succeeded: int
    failed: int
    cancelled: int
    credits_held: float = Field(description="by open jobs, now")
    credits_charged: float


class Overview(QueueFigures):
    """The queue now. What happened, and durations, are those of the last five minutes."""

    at: AwareDatetime = Field(examples=[_AT])
    paused: int = Field(description="those of waiting that a pause of a person holds back")
    in_flight: int = Field(description="jobs that have, or may have, a task at Kie")
    accepted_per_minute: float
    ended_per_minute: float
    succeeded_per_minute: float
    failed_per_minute: float
    today: DayTotals
    has_worker: bool
    workers: Workers
    late_deliveries_day: LateDeliveries
    alerts: list[Alert] = Field(description="the most severe first")
    submits_paused: SubmitPause | None = Field(description="null unless every account is paused")
    pauses: list[ActivePause] = Field(description="those that people have set, oldest first")
    kie_accounts: list[KieAccountState]
    redis_error: str | None = Field(description="why alerts and pauses of Redis are missing")
    last_failures: list[FailedJob] = Field(description="the newest first")


class SampledKieAccount(BaseModel):
    """One of our accounts at Kie at the time of a sample; null: not known."""

    budget: int | None
    budget_used: int | None
    brake_level: int | None
    is_paused: bool | None
    submit_rate: int | None = Field(
        default=None, description="submits per 10 s that workers allowed; 0: no limit"
    )
    balance: float | None


class Sample(QueueFigures):
    """One interval. What waits and runs, and accounts, are those shortly after its end."""

    starts_at: AwareDatetime = Field(examples=[_AT])
    polls: int | None = Field(description="null: the interval before was not sampled")
    kie_accounts: dict[str, SampledKieAccount]


class History(BaseModel):
    """Samples, oldest first. An interval that is missing was not sampled: no worker was alive."""

    interval_seconds: int = Field(examples=[15])
    samples: list[Sample]


class KieModel(BaseModel):
    """What Kie's catalogue last said of one of its models."""

    kie_model: str = Field(examples=["4o-image-api"])
    family: str = Field(description="the model here that uses it", examples=["4o-image-api"])
    tasks: list[str] = Field(examples=[["text-to-image"]])
    checked_at: AwareDatetime = Field(examples=[_AT])
    is_listed: bool = Field(description="false: Kie's catalogue no longer has it")
    missing_parts: list[str] = Field(
        description="what requests use and Kie's schema lacks, or newly requires", examples=[[]]
    )
    price_text: str | None = Field(examples=["6 credits per image (~$0.03)"])
    price_credits: list[float] = Field(
        description="the credits that the text names", examples=[[6]]
    )
    rated_at: AwareDatetime | None = Field(description="of the success rate", examples=[_AT])
    success_percent: float | None = Field(description="of the last hour", examples=[98.5])
    usual_success_percent: float | None = Field(description="of about a day", examples=[99.1])


class KieModels(BaseModel):
    """Kie's models that are used here."""

    models: list[KieModel]


class KieSurprise(BaseModel):
    """What Kie's responses contained on one day and Darkroom does not know."""

    day: date = Field(description="in UTC", examples=["2026-01-31"])
    family: str = Field(examples=["4o-image-api"])
    kind: str = Field(description="stable", examples=["field"])
    value: str = Field(
        description="the name of the field, or the word or code", examples=["etaSeconds"]
    )
    seen: int = Field(examples=[310])
    first_seen_at: AwareDatetime = Field(examples=[_AT])
    last_seen_at: AwareDatetime = Field(examples=[_AT])
    example: str = Field(description="a response with it, without private values")


class KieSurprises(BaseModel):
    """The newest first."""

    surprises: list[KieSurprise]


class WaitingAccount(BaseModel):
    """What waits of one account and priority."""

    account_id: str = Field(examples=["acme"])
    priority: str = Field(json_schema_extra={"enum": list(get_args(Priority))})
    waiting: int = Field(description="due jobs that are not chosen yet, of models not paused")
    oldest_waiting_seconds: float
    weight: float = Field(examples=[1])
    share: float = Field(
        description="its part of the submits while all of these wait, before limits of open jobs;"
        " 0 while paused",
        ge=0,
        le=1,
        examples=[0.25],
    )
    max_open_jobs: int | None = Field(description="null: no limit")
    open_jobs: int | None = Field(description="counted only with a limit")
    is_paused: bool
    next_start_at: AwareDatetime | None = Field(
        description="when its next job is expected to be submitted; null with `wait_reason`"
    )
    wait_reason: str | None = Field(
        description="as a job has it", json_schema_extra={"enum": [*get_args(WaitReason), None]}
    )


class Waiting(BaseModel):
    """Which accounts wait, and when the backlog ends."""

    at: AwareDatetime = Field(examples=[_AT])
    waiting: int = Field(description="jobs that wait and that no pause holds back")
    chosen: int = Field(description="jobs that are submitted before all that wait")
    submits_per_second: float | None = Field(
        description="expected; null: nothing limits it and none was measured", examples=[2]
    )
    ends_at: AwareDatetime | None = Field(
        description="when all that waits now is expected to be submitted; null with `wait_reason`"
    )
    wait_reason: str | None = Field(
        description="as a job has it; `submits_refused` also where Kie refuses those of one model",
        json_schema_extra={"enum": [*get_args(WaitReason), None]},
    )
    accounts: list[WaitingAccount] = Field(description="those that are served first come first")
    accounts_in_all: int


MONITORING_MODELS: tuple[type[BaseModel], ...] = (
    *(Overview, History, Pause, PausePage, EndedBrakes, KieModels, KieSurprises),
    *(ModelList, RouteResult, Waiting),
)
"""The models of the document. Pydantic adds the models of their fields."""
