"""The state of a deployment at one time, as the alert rules need it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from math import floor
from uuid import UUID

from shared.domain.counted import counted

QUEUED_COUNT_MAX = 10_000
"""Queued jobs are counted up to this number, so that the query has a bounded cost."""


@dataclass(frozen=True, slots=True)
class EndedJob:
    """A job that ended recently."""

    state: str
    reason: str | None
    message: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class FailingReceiver:
    """A webhook endpoint whose messages are not accepted."""

    url: str
    messages: int
    since: datetime
    error: str | None


@dataclass(frozen=True, slots=True)
class SkewedProcess:
    """A process whose clock differs from Postgres's."""

    name: str
    seconds: float
    """Its clock minus Postgres's."""


@dataclass(frozen=True, slots=True)
class ProcessWithoutRedis:
    """A live process that cannot write to its Redis."""

    name: str
    error: str | None
    since: datetime


@dataclass(frozen=True, slots=True)
class KeyDifference:
    """A Kie account with different keys on live workers, or a key with several account names."""

    account: str
    """The account name, or all names of the key."""
    at: str
    """Which workers have which key or name."""
    since: datetime


@dataclass(frozen=True, slots=True)
class BalanceDrift:
    """A Kie account whose balance our attempts do not explain."""

    account: str
    credits: Decimal
    """What Kie took beyond what our attempts explain, at the newest drift. Below 0: less."""
    since: datetime


@dataclass(frozen=True, slots=True)
class KieModelState:
    """What Kie's catalogue last said of a model that a family uses."""

    kie_model: str
    family: str
    checked_at: datetime
    is_listed: bool | None
    """None if Kie was not asked."""
    missing_parts: tuple[str, ...]
    success_percent: Decimal | None
    usual_success_percent: Decimal | None
    moved_prices: tuple[str, ...]
    """Rows of pricing whose `provider_credits` Kie's price text does not name, as text."""
    price_credits: tuple[str, ...]
    """The credits that Kie's price text names."""


@dataclass(frozen=True, slots=True)
class LockHolder:
    """A database session that has locked rows of jobs or accounts for a long time."""

    pid: int
    who: str
    since: datetime


@dataclass(frozen=True, slots=True)
class LostWorker:
    """A worker that ended without a clean stop."""

    name: str
    seen_at: datetime


def describe_pause(scope: str, value: str | None) -> str:
    """Return what a pause applies to, as text."""
    name = scope.replace("kie_account", "Kie account")
    return name if value is None else f"{name} {value}"


@dataclass(frozen=True, slots=True)
class OperatorPause:
    """An active pause of submits that a person has set."""

    id: int
    scope: str
    value: str | None
    reason: str
    paused_by: str
    paused_at: datetime
    until: datetime | None

    @property
    def subject(self) -> str:
        """What it applies to, as text."""
        return describe_pause(self.scope, self.value)


@dataclass(frozen=True, slots=True)
class ActiveRoute:
    """A model that is sent by another family than its own."""

    model: str
    via: str
    unfit: int
    """Queued jobs that this route cannot carry."""
    unfit_credits: Decimal
    """What they hold."""
    unfit_since: datetime | None


@dataclass(frozen=True, slots=True)
class SystemState:
    """What Postgres knows, at the time `at` of its own clock. Field names are SQL column names."""

    at: datetime
    is_standby: bool
    is_read_only: bool
    connections: int
    connections_most: int
    queued: int
    due: int
    """Queued jobs that are due and that no pause holds back."""
    paused: int
    """Queued jobs to which a pause applies."""
    pauses: tuple[OperatorPause, ...]
    routes: tuple[ActiveRoute, ...]
    other_routes: Mapping[str, tuple[str, ...]]
    """By model: the families beside its own that can send it."""
    waiting_since: datetime | None
    """Since when the longest waiting due job has waited."""
    last_submitted_at: datetime | None
    tasks: int
    long: int
    long_since: datetime | None
    held: int
    """Jobs held because their images cannot be read."""
    held_since: datetime | None
    unknown: int
    unknown_since: datetime | None
    ended: tuple[EndedJob, ...]
    """The newest first."""
    failing: tuple[FailingReceiver, ...]
    lockers: tuple[LockHolder, ...]
    late: int
    """Tasks that delivered after the end of their job, within the last hour."""
    late_credits: Decimal
    late_since: datetime | None
    in_doubt: int
    """Late tasks that succeeded, but whose images or job are not certain."""
    in_doubt_since: datetime | None
    in_doubt_job: UUID | None
    """The job of the oldest of them."""
    drifting: tuple[BalanceDrift, ...]
    """Kie accounts whose balance drifted within the last hour."""
    kie_models: tuple[KieModelState, ...]
    """Kie's models about which something is to be said."""
    skewed: tuple[SkewedProcess, ...]
    without_redis: tuple[ProcessWithoutRedis, ...]
    differing_keys: tuple[KeyDifference, ...]
    """Accounts with different keys on different workers."""
    renamed_keys: tuple[KeyDifference, ...]
    """Keys with several account names."""
    images_waiting: int
    """Images that have waited long for their copy."""
    images_since: datetime | None
    images_error: str | None
    """Why the copy of the oldest of them failed last."""
    images_given_up: int
    """Images whose copies were given up, of jobs of the last two days."""
    images_given_up_since: datetime | None
    dead_webhooks: int
    dead_since: datetime | None
    process_ids: frozenset[UUID]
    """The processes of this database that were seen within an hour."""
    workers_alive: int
    worker_seen_at: datetime | None
    workers_lost: tuple[LostWorker, ...]
    unpriced: tuple[str, ...]


def count_jobs(jobs: int, does: str, do: str) -> str:
    """Return a number of queued jobs with its verb: `1 job waits`, `2 jobs wait`."""
    if jobs >= QUEUED_COUNT_MAX:
        return f"{QUEUED_COUNT_MAX:,} jobs or more {do}"
    return counted(jobs, f"job {does}", f"jobs {do}")


@dataclass(frozen=True, slots=True)
class SubmitPause:
    """Why submits of one Kie account are paused or limited."""

    until: datetime
    level: int
    reason: str
    message: str
    since: datetime | None = None

    def is_on(self, now: datetime) -> bool:
        """Return whether submits are paused at that time. Later, one job at a time is sent."""
        return self.until > now


@dataclass(frozen=True, slots=True)
class SubmitRate:
    """How far the submits of one Kie account are slowed down, because Kie was too busy for some.

    The claim script computes the rate in force in the same way.
    """

    rate_after_refusal: float
    """Submits per window of 10 s, from the last refusal until `grows_at`."""
    limit: int
    """The configured limit per window, or the measured rate where there is none."""
    grows_at: datetime
    growth_per_second: float
    reason: str
    """Why Kie refused the last one, such as `rate_limited`."""
    message: str
    since: datetime
    """Since when the rate has been below the limit."""

    @property
    def full_at(self) -> datetime:
        """When the rate is the limit again, without another refusal."""
        if self.growth_per_second <= 0:
            return self.grows_at
        missing = max(self.limit - self.rate_after_refusal, 0)
        return self.grows_at + timedelta(seconds=missing / self.growth_per_second)

    def is_slowed(self, now: datetime) -> bool:
        """Return whether the rate is below the limit at that time."""
        return now < self.full_at

    def in_force(self, now: datetime) -> int:
        """Return how many submits a window may have at that time."""
        if not self.is_slowed(now):
            return self.limit
        grown_seconds = max((now - self.grows_at).total_seconds(), 0)
        grown = self.rate_after_refusal + grown_seconds * self.growth_per_second
        return min(floor(grown), self.limit)


@dataclass(frozen=True, slots=True)
class RedisUser:
    """A process, of this database or another one, by its mark in Redis."""

    process_id: UUID
    kind: str
    name: str
    database: str
    """Its Postgres, without credentials."""
    since: datetime
    """When it first marked itself, by Redis's clock."""


@dataclass(frozen=True, slots=True)
class RedisState:
    """The state of Redis, and of the brakes stored in it."""

    pauses: tuple[tuple[str, SubmitPause], ...] = ()
    """By Kie account."""
    rates: tuple[tuple[str, SubmitRate], ...] = ()
    """By Kie account, as the last refusal left it. The rate may have recovered since."""
    family_pauses: tuple[tuple[str, str, SubmitPause], ...] = ()
    """By Kie account and model."""
    is_replica: bool = False
    policy: str = "noeviction"
    memory_share: float = 0.0
    """0 to 1. 0 if there is no limit."""
    saves: bool = True
    wiped_at: datetime | None = None
    """When a worker last found that Redis had lost its keys, within the last hour."""
    lost_writes: int = 0
    """The number of pieces of evidence that Postgres has lost writes."""
    first_user: RedisUser | None = None
    """The live process that has used this Redis for longest."""
