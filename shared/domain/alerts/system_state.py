"""What is read of a Darkroom at one moment, to judge what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

QUEUED_COUNT_MAX = 10_000
"""Queued jobs are counted up to this: looking must cost the same however many there are."""


@dataclass(frozen=True, slots=True)
class EndedJob:
    """How one job ended lately."""

    state: str
    reason: str | None
    message: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class FailingReceiver:
    """A webhook endpoint that did not take what it was sent."""

    url: str
    messages: int
    since: datetime
    error: str | None


@dataclass(frozen=True, slots=True)
class SkewedProcess:
    """A process on a machine whose clock is wrong."""

    name: str
    seconds: float
    """Its clock minus Postgres's."""


@dataclass(frozen=True, slots=True)
class ProcessWithoutRedis:
    """A process that is alive and cannot write to its Redis."""

    name: str
    error: str | None
    since: datetime


@dataclass(frozen=True, slots=True)
class KeyDifference:
    """A Kie account whose key is not the same at all workers alive, or accounts with one key."""

    account: str
    """Its name; the names, where one key has several."""
    at: str
    """Which workers have which."""
    since: datetime


@dataclass(frozen=True, slots=True)
class LockHolder:
    """A database session that keeps rows of jobs or accounts locked for long."""

    pid: int
    who: str
    since: datetime


@dataclass(frozen=True, slots=True)
class LostWorker:
    """A worker that died without a word."""

    name: str
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class SystemState:
    """What Postgres knows of the system at one moment, `at`, by its own clock."""

    at: datetime
    is_standby: bool
    is_read_only: bool
    connections: int
    connections_most: int
    queued: int
    due: int
    waiting_since: datetime | None
    """Since when the job waits that has waited longest of those whose `run_at` has come."""
    last_submitted_at: datetime | None
    tasks: int
    long: int
    long_since: datetime | None
    held: int
    """Successes whose images cannot be read."""
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
    """Late tasks that succeeded without it being certain with which images, or for which job."""
    in_doubt_since: datetime | None
    in_doubt_job: UUID | None
    """The job of the one that has been in doubt longest."""
    skewed: tuple[SkewedProcess, ...]
    without_redis: tuple[ProcessWithoutRedis, ...]
    differing_keys: tuple[KeyDifference, ...]
    """Of accounts whose workers have different keys."""
    renamed_keys: tuple[KeyDifference, ...]
    """Of keys that have several names."""
    dead_webhooks: int
    dead_since: datetime | None
    workers_alive: int
    worker_seen_at: datetime | None
    workers_lost: tuple[LostWorker, ...]
    unpriced: tuple[str, ...]

    @property
    def queued_text(self) -> str:
        """How many jobs are queued, in words."""
        return _count_text(self.queued)

    @property
    def due_text(self) -> str:
        """How many of them may be submitted now, in words."""
        return _count_text(self.due)


def _count_text(jobs: int) -> str:
    return f"{jobs} jobs" if jobs < QUEUED_COUNT_MAX else f"{QUEUED_COUNT_MAX} jobs or more"


@dataclass(frozen=True, slots=True)
class SubmitPause:
    """Why no worker submits at the moment, or submits with care, by one Kie account."""

    until: datetime
    level: int
    reason: str
    message: str
    since: datetime | None = None

    def is_on(self, now: datetime) -> bool:
        """Whether nothing is submitted at that moment; after it, one job feels the way."""
        return self.until > now


@dataclass(frozen=True, slots=True)
class RedisState:
    """What Redis says about itself, and about the brakes."""

    pauses: tuple[tuple[str, SubmitPause], ...] = ()
    """By the name of the Kie account."""
    family_pauses: tuple[tuple[str, str, SubmitPause], ...] = ()
    """By the name of the Kie account and the model."""
    is_replica: bool = False
    policy: str = "noeviction"
    memory_share: float = 0.0
    """0 to 1; 0 where there is no limit."""
    saves: bool = True
    wiped_at: datetime | None = None
    """When a running worker last found that Redis had lost its keys, within the last hour."""
