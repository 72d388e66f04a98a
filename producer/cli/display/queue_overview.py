"""Reads the queue overview: counts, Kie accounts, recent failures, alerts and workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from producer.cli.command_runner import CommandContext
from shared.adapters.monitoring.alert_monitor import read_alerts
from shared.adapters.monitoring.queue_snapshot import (
    FailedJob,
    LateDeliveries,
    QueueSnapshot,
    read_failures,
    read_late_deliveries,
    read_snapshot,
)
from shared.adapters.postgres.database import Database
from shared.adapters.redis.deliveries import connect_redis
from shared.domain.alerts.alert import Alert
from shared.domain.alerts.alert_rules import RECENT_JOBS_SECONDS
from shared.domain.alerts.system_state import LostWorker, SubmitPause

_FAILURES_SHOWN = 5


@dataclass(frozen=True, slots=True)
class KieAccountOverview:
    """A Kie account: its pause and its remaining credits."""

    name: str
    pause: SubmitPause | None
    balance: Decimal | None
    """The balance at the last check, or None without a check."""
    balance_age_seconds: float | None


@dataclass(frozen=True, slots=True)
class QueueOverview:
    """The state of the queue at one time. Rates are per minute over the last five minutes."""

    at: datetime
    snapshot: QueueSnapshot
    accepted: int
    failures: tuple[FailedJob, ...]
    accounts: tuple[KieAccountOverview, ...]
    redis_error: str | None
    """The error if the pauses could not be read from Redis."""
    late: LateDeliveries
    alerts: tuple[Alert, ...]
    workers_alive: int
    workers_lost: tuple[LostWorker, ...]

    @property
    def has_worker(self) -> bool:
        """Whether any worker is alive."""
        return self.workers_alive > 0

    @property
    def pause(self) -> SubmitPause | None:
        """The pause that ends first, if every account has one. It stops all submits."""
        pauses = [account.pause for account in self.accounts]
        known = [pause for pause in pauses if pause is not None]
        return min(known, key=lambda one: one.until) if len(known) == len(pauses) else None

    @property
    def accepted_per_minute(self) -> float:
        """The number of accepted jobs per minute."""
        return self.accepted * 60 / RECENT_JOBS_SECONDS

    @property
    def succeeded_per_minute(self) -> float:
        """The number of succeeded jobs per minute."""
        return self.snapshot.succeeded * 60 / RECENT_JOBS_SECONDS

    @property
    def failed_per_minute(self) -> float:
        """The number of failed jobs per minute."""
        return self.snapshot.failed * 60 / RECENT_JOBS_SECONDS

    @property
    def ended_per_minute(self) -> float:
        """The number of ended jobs per minute."""
        cancelled = self.snapshot.cancelled * 60 / RECENT_JOBS_SECONDS
        return self.succeeded_per_minute + self.failed_per_minute + cancelled


async def read_queue_overview(context: CommandContext, now: datetime) -> QueueOverview:
    """Return the overview. Raises `PostgresDown`. If Redis is down, `redis_error` is set."""
    database = context.database
    names = context.settings.kie_account_names
    snapshot = await read_snapshot(database)
    failures = await read_failures(database, _FAILURES_SHOWN)
    accepted = await _read_accepted(database, now)
    async with connect_redis(context.servers.redis_url, connections=1) as redis:
        found = await read_alerts(database, redis, names)
    pauses = dict(found.redis.pauses) if found.redis is not None else {}
    return QueueOverview(
        at=now,
        snapshot=snapshot,
        accepted=accepted,
        failures=tuple(failures),
        accounts=tuple(await _read_accounts(database, names, pauses)),
        redis_error=found.redis_error,
        late=await read_late_deliveries(database),
        alerts=found.alerts,
        workers_alive=found.system_state.workers_alive,
        workers_lost=found.system_state.workers_lost,
    )


async def _read_accounts(
    database: Database, names: Sequence[str], pauses: Mapping[str, SubmitPause]
) -> list[KieAccountOverview]:
    rows = await database.fetch("last_balance_checks", list(names))
    return [
        KieAccountOverview(row["name"], pauses.get(row["name"]), row["balance"], row["age_seconds"])
        for row in rows
    ]


async def _read_accepted(database: Database, now: datetime) -> int:
    since_ms = int((now - timedelta(seconds=RECENT_JOBS_SECONDS)).timestamp() * 1000)
    # A version-7 UUID begins with its creation time, in 48 bits of milliseconds.
    row = await database.fetch_row("accepted_since", UUID(int=since_ms << 80))
    return int(row["accepted"]) if row is not None else 0
