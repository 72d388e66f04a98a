"""What a process says about itself at each beat, and what it finds."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal
from uuid import UUID, uuid4

from shared import PROJECT
from shared.adapters.postgres.database import Queries
from shared.adapters.processes.redis_presence import ALIVE_SECONDS, Presence
from shared.kie_accounts import KieKey

ProcessKind = Literal["worker", "api"]


def own_version() -> str:
    """Return the version of Darkroom that runs here."""
    try:
        return version(PROJECT)
    except PackageNotFoundError:
        return "unknown"


@dataclass(frozen=True, slots=True)
class Process:
    """One process, as it introduces itself."""

    kind: ProcessKind
    redis: str
    """Its Redis without a password, as `redis_address` writes it."""
    database: str
    """Its Postgres without a password, as `database_address` writes it."""
    limits: Mapping[str, Any] = field(default_factory=dict)
    """Settings that all workers should have alike, by the names of the environment variables."""
    keys: tuple[KieKey, ...] = field(default=(), repr=False)
    """Its keys at Kie; only fingerprints of them leave it."""
    name: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}")
    version: str = field(default_factory=own_version)
    id: UUID = field(default_factory=uuid4)


@dataclass(frozen=True, slots=True)
class ClockSkew:
    """This machine's clock minus Postgres's."""

    seconds: float
    error_seconds: float
    """The newest round trip: the true skew is at most this far away."""


@dataclass(frozen=True, slots=True)
class LiveWorker:
    """Another worker of this database that was alive, and its Redis with it, at the last beat."""

    id: UUID
    name: str
    redis: str
    limits: Mapping[str, Any]
    key_fingerprints: Mapping[str, str]
    """By the name of the Kie account."""
    started: float
    """When it started; by Postgres's clock (epoch, seconds)."""
    marked: float
    """When it had last written its mark in its Redis; by Postgres's clock (epoch, seconds)."""


@dataclass(frozen=True, slots=True)
class HeartbeatResult:
    """What one beat found: the marks in Redis were read before the rows in Postgres."""

    presences: tuple[Presence, ...] | None
    """The marks in this process's Redis, its own among them; None where Redis did not answer."""
    workers: tuple[LiveWorker, ...]
    """The other live workers of this database, oldest first."""
    unknown_ids: frozenset[UUID]
    """Marked in this Redis, but no process of this database."""
    started: float
    """When this process started; by Postgres's clock (epoch, seconds)."""
    at: float
    """When the rows were read; by Postgres's clock (epoch, seconds)."""
    key_fingerprints: Mapping[str, str] = field(default_factory=dict)
    """Those of this process."""


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """One row of the registry, for people and gauges."""

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
    """Seen within `ALIVE_SECONDS` and not stopped."""


async def list_processes(
    queries: Queries, *, look_back_seconds: float = 3600.0
) -> list[ProcessRow]:
    """Return the processes seen lately, newest first. Raises `PostgresDown`."""
    rows = await queries.fetch("list_processes", ALIVE_SECONDS, look_back_seconds)
    return [ProcessRow(**dict(row)) for row in rows]
