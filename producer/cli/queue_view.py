"""Reads what the queue's first screen shows: the snapshot, the brake, failures, workers."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import cast
from uuid import UUID

from producer.cli.running import Desk
from shared.adapters.delivery import connect_redis, translated_redis_errors
from shared.adapters.postgres import Database
from shared.adapters.queue_stats import (
    RECENT_SECONDS,
    Failure,
    QueueSnapshot,
    read_failures,
    read_snapshot,
)
from shared.errors import RedisDown
from shared.kie_accounts import brake_key

_FAILURES_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Pause:
    """Why no worker submits at the moment, or submits with care, by one Kie account."""

    until: datetime
    level: int
    reason: str
    message: str

    def is_on(self, now: datetime) -> bool:
        """Whether nothing is submitted at that moment; after it, one job feels the way."""
        return self.until > now


@dataclass(frozen=True, slots=True)
class AccountView:
    """One of our accounts at Kie: what holds it back, and what is left on it."""

    name: str
    pause: Pause | None
    balance: Decimal | None
    """As of the newest check; None where there was none."""
    balance_age_seconds: float | None


@dataclass(frozen=True, slots=True)
class QueueView:
    """The first screen at one moment; rates are per minute over the last five."""

    at: datetime
    snapshot: QueueSnapshot
    accepted: int
    failures: tuple[Failure, ...]
    accounts: tuple[AccountView, ...]
    redis_error: str | None
    """Why no pause could be read, if so."""
    has_worker: bool

    @property
    def pause(self) -> Pause | None:
        """What holds all submits back: where every account has a pause, that which ends first."""
        pauses = [account.pause for account in self.accounts]
        known = [pause for pause in pauses if pause is not None]
        return min(known, key=lambda one: one.until) if len(known) == len(pauses) else None

    @property
    def accepted_per_minute(self) -> float:
        """How many jobs came in."""
        return self.accepted * 60 / RECENT_SECONDS

    @property
    def ended_per_minute(self) -> float:
        """How many jobs ended, well or not."""
        recent = self.snapshot
        return (recent.succeeded + recent.failed + recent.cancelled) * 60 / RECENT_SECONDS


async def read_view(desk: Desk, now: datetime) -> QueueView:
    """Return the queue as it is. Raises `PostgresDown`; Redis being down is part of the view."""
    database = desk.database
    names = desk.settings.kie_account_names
    pauses: dict[str, Pause | None] = {}
    redis_error: str | None = None
    snapshot = await read_snapshot(database)
    failures = await read_failures(database, _FAILURES_SHOWN)
    accepted = await _read_accepted(database, now)
    workers = await database.fetch_row("worker_is_connected")
    try:
        pauses = await read_pauses(desk.servers.redis_url, names)
    except RedisDown as error:
        redis_error = str(error)
    return QueueView(
        at=now,
        snapshot=snapshot,
        accepted=accepted,
        failures=tuple(failures),
        accounts=tuple(await _read_accounts(database, names, pauses)),
        redis_error=redis_error,
        has_worker=bool(workers and workers["is_connected"]),
    )


async def _read_accounts(
    database: Database, names: Sequence[str], pauses: Mapping[str, Pause | None]
) -> list[AccountView]:
    rows = await database.fetch("last_balance_checks", list(names))
    return [
        AccountView(row["name"], pauses.get(row["name"]), row["balance"], row["age_seconds"])
        for row in rows
    ]


async def read_pauses(redis_url: str, names: Sequence[str]) -> dict[str, Pause | None]:
    """Return the brakes that workers share, None where one is off. Raises `RedisDown`."""
    async with connect_redis(redis_url, connections=1) as redis:
        with translated_redis_errors():
            brakes = [
                await cast("Awaitable[dict[bytes, bytes]]", redis.hgetall(brake_key(name)))
                for name in names
            ]
    return {name: _pause(values) for name, values in zip(names, brakes, strict=True)}


def _pause(values: Mapping[bytes, bytes]) -> Pause | None:
    fields = {name.decode(): value.decode(errors="replace") for name, value in values.items()}
    if int(fields.get("level", "0")) == 0:
        return None
    return Pause(
        until=datetime.fromtimestamp(float(fields.get("until", "0")) / 1000, UTC),
        level=int(fields["level"]),
        reason=fields.get("reason", ""),
        message=fields.get("message", ""),
    )


async def _read_accepted(database: Database, now: datetime) -> int:
    since_ms = int((now - timedelta(seconds=RECENT_SECONDS)).timestamp() * 1000)
    # A version-7 id begins with its moment: 48 bits of milliseconds.
    row = await database.fetch_row("accepted_since", UUID(int=since_ms << 80))
    return int(row["accepted"]) if row is not None else 0
