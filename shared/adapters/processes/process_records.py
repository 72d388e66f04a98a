"""The data of a heartbeat: what a process writes, what it reads, and the rows of the registry."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Literal, Protocol
from uuid import UUID, uuid4

from shared.adapters.postgres.database import Queries
from shared.adapters.processes.redis_presence import ALIVE_SECONDS, Presence
from shared.installed_version import installed_version
from shared.kie_accounts import KieKey

ProcessKind = Literal["worker", "api"]


@dataclass(frozen=True, slots=True)
class Process:
    """The identity of one process."""

    kind: ProcessKind
    redis: str
    """Its Redis without credentials, from `redis_address`."""
    database: str
    """Its Postgres without credentials, from `database_address`."""
    limits: Mapping[str, Any] = field(default_factory=dict)
    """Settings that must be equal on all workers, by environment variable."""
    keys: tuple[KieKey, ...] = field(default=(), repr=False)
    """Its Kie keys. Only their fingerprints leave the process."""
    name: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}")
    version: str = field(default_factory=partial(installed_version, "unknown"))
    id: UUID = field(default_factory=uuid4)


class HeartbeatRequests(Protocol):
    """What the heartbeats of a worker ask and send besides."""

    def take_requests(self) -> tuple[str | None, Mapping[str, Any] | None]:
        """Return the first two arguments of `darkroom_pending_work` for the next heartbeat."""
        ...

    def record(self, found: Mapping[str, Any] | None) -> None:
        """Record what `darkroom_pending_work` has returned; None where nothing is known."""
        ...


@dataclass(frozen=True, slots=True)
class ClockSkew:
    """This machine's clock minus Postgres's."""

    seconds: float
    error_seconds: float
    """The duration of the newest round trip, which bounds the error of `seconds`."""


@dataclass(frozen=True, slots=True)
class LiveWorker:
    """Another live worker of this database, as read at the last heartbeat."""

    id: UUID
    name: str
    redis: str
    limits: Mapping[str, Any]
    key_fingerprints: Mapping[str, str]
    """By Kie account."""
    started: float
    """When it started, by Postgres's clock (epoch seconds)."""
    marked: float
    """When it last wrote its presence to its Redis, by Postgres's clock (epoch seconds)."""


@dataclass(frozen=True, slots=True)
class HeartbeatResult:
    """The result of one heartbeat. Presences were read from Redis before rows from Postgres."""

    presences: tuple[Presence, ...] | None
    """The presences in this process's Redis, including its own. None if Redis did not reply."""
    workers: tuple[LiveWorker, ...]
    """The other live workers of this database, the oldest first."""
    unknown_ids: frozenset[UUID]
    """Presences in this Redis that are no process of this database."""
    started: float
    """When this process started, by Postgres's clock (epoch seconds)."""
    at: float
    """When the rows were read, by Postgres's clock (epoch seconds)."""
    key_fingerprints: Mapping[str, str] = field(default_factory=dict)
    """The fingerprints of this process."""


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """One row of the registry."""

    id: UUID
    kind: ProcessKind
    name: str
    version: str
    redis: str
    started_at: datetime
    seen_at: datetime
    redis_seen_at: datetime | None
    clock_skew_seconds: float | None
    stopped_at: datetime | None
    limits: Mapping[str, Any]
    detail: Mapping[str, Any]
    started_seconds_ago: float
    seen_seconds_ago: float
    redis_seen_seconds_ago: float | None
    is_alive: bool
    """Whether a heartbeat was written within `ALIVE_SECONDS`, and the process has not stopped."""


async def list_processes(
    queries: Queries, *, look_back_seconds: float = 3600.0
) -> list[ProcessRow]:
    """Return the processes with a recent heartbeat, the newest first. Raises `PostgresDown`."""
    rows = await queries.fetch("list_processes", ALIVE_SECONDS, look_back_seconds)
    return [ProcessRow(**dict(row)) for row in rows]
