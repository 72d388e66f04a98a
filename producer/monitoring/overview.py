"""The overview of the queue: figures, Kie accounts, alerts, workers and the last failures.

`Producer.overview`, `GET /v1/overview` and `darkroom queue` show it. `/metrics` has the figures
from the same statements.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from redis.asyncio import Redis

from producer.monitoring.latest_failures import (
    FailedJob,
    LateDeliveries,
    read_failures,
    read_late_deliveries,
)
from producer.row_json import row_to_json
from shared.adapters.monitoring.alert_monitor import (
    REDIS_TIMEOUT_SECONDS,
    AlertReport,
    alert_to_json,
)
from shared.adapters.monitoring.kie_account_limits import (
    KieAccountLimits,
    read_kie_account_limits,
)
from shared.adapters.monitoring.queue_snapshot import (
    DayTotals,
    QueueSnapshot,
    read_day_totals,
    read_snapshot,
)
from shared.adapters.postgres.database import Queries
from shared.adapters.processes.redis_presence import ALIVE_SECONDS
from shared.domain.alerts.alert import Alert
from shared.domain.alerts.alert_rules import RECENT_JOBS_SECONDS
from shared.domain.alerts.system_state import (
    LostWorker,
    OperatorPause,
    SubmitPause,
    SubmitRate,
)
from shared.errors import RedisDown
from shared.job_json import credits_to_json, timestamp_to_json

FAILURES_SHOWN = 10
CACHE_SECONDS = 1.0
"""How long a read is used for other callers of the same process."""


@dataclass(frozen=True, slots=True)
class KieAccountOverview:
    """A Kie account: its pause, what is left of its limit, and its remaining credits."""

    name: str
    pause: SubmitPause | None
    budget: int | None
    """Submits per 10 s, as the live workers are set. 0 means no limit. None without a worker."""
    budget_used: int | None
    """The submits that count in the current window. None if Redis did not reply."""
    balance: Decimal | None
    """The balance at the last check, or None without a check."""
    balance_age_seconds: float | None
    slowed: SubmitRate | None = None
    """The rate of its submits while it is below the limit, because Kie was too busy."""

    def submit_rate(self, at: datetime) -> int | None:
        """Return the submits per 10 s that workers allow: the budget, unless slowed down."""
        return self.budget if self.slowed is None else self.slowed.in_force(at)


@dataclass(frozen=True, slots=True)
class Overview:
    """The state of the queue at one time. Rates are per minute over the last five minutes."""

    at: datetime
    """By Postgres's clock."""
    snapshot: QueueSnapshot
    today: DayTotals
    failures: tuple[FailedJob, ...]
    """The newest first."""
    accounts: tuple[KieAccountOverview, ...]
    redis_error: str | None
    """The error if the pauses could not be read from Redis."""
    late: LateDeliveries
    alerts: tuple[Alert, ...]
    """What is wrong, the most severe first. Without Redis its alerts are missing."""
    workers_alive: int
    workers_lost: tuple[LostWorker, ...]
    operator_pauses: tuple[OperatorPause, ...]
    """The active pauses that people have set, the oldest first."""

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
        return self.snapshot.accepted * 60 / RECENT_JOBS_SECONDS

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


class OverviewReader:
    """Reads the overview. Concurrent callers of one process share a read."""

    def __init__(
        self,
        queries: Queries,
        redis: Redis,
        accounts: Sequence[str],
        read_alerts: Callable[[], Awaitable[AlertReport]],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queries = queries
        self._redis = redis
        self._accounts = tuple(accounts)
        self._read_alerts = read_alerts
        self._monotonic = monotonic
        self._reading = asyncio.Lock()
        self._last: Overview | None = None
        self._read_at = float("-inf")

    async def read(self) -> Overview:
        """Return the overview, at most one second old. Raises `PostgresDown`.

        If Redis is down, `redis_error` is set.
        """
        async with self._reading:
            if self._last is None or self._monotonic() - self._read_at >= CACHE_SECONDS:
                self._last = None
                self._last = await self._read_now()
                self._read_at = self._monotonic()
            return self._last

    async def _read_now(self) -> Overview:
        snapshot, report, today, failures, late, accounts = await asyncio.gather(
            read_snapshot(self._queries),
            self._read_alerts(),
            read_day_totals(self._queries),
            read_failures(self._queries, FAILURES_SHOWN),
            read_late_deliveries(self._queries),
            self._read_accounts(),
        )
        pauses = dict(report.redis.pauses) if report.redis is not None else {}
        at = report.system_state.at
        stored = report.redis.rates if report.redis is not None else ()
        slowed = {name: rate for name, rate in stored if rate.is_slowed(at)}
        return Overview(
            at=at,
            snapshot=snapshot,
            today=today,
            failures=tuple(failures),
            accounts=tuple(
                replace(one, pause=pauses.get(one.name), slowed=slowed.get(one.name))
                for one in accounts
            ),
            redis_error=report.redis_error,
            late=late,
            alerts=report.alerts,
            workers_alive=report.system_state.workers_alive,
            workers_lost=report.system_state.workers_lost,
            operator_pauses=report.system_state.pauses,
        )

    async def _read_accounts(self) -> list[KieAccountOverview]:
        """Return the Kie accounts of the settings and of the live workers, without their pauses."""
        (known,) = await self._queries.fetch("kie_account_names", ALIVE_SECONDS)
        names = list(dict.fromkeys([*self._accounts, *known["names"]]))
        limits = await self._read_limits(names)
        return [
            KieAccountOverview(
                name=row["name"],
                pause=None,
                budget=known["submits_per_10_seconds"],
                budget_used=limits[row["name"]].budget_used if limits is not None else None,
                balance=row["balance"],
                balance_age_seconds=row["age_seconds"],
            )
            for row in await self._queries.fetch("last_balance_checks", names)
        ]

    async def _read_limits(self, names: Sequence[str]) -> Mapping[str, KieAccountLimits] | None:
        try:
            async with asyncio.timeout(REDIS_TIMEOUT_SECONDS):
                return await read_kie_account_limits(self._redis, names)
        except (RedisDown, TimeoutError):
            return None


def overview_to_json(overview: Overview) -> dict[str, Any]:
    """Return the overview as a JSON object."""
    queue = overview.snapshot
    return {
        "at": timestamp_to_json(overview.at),
        **row_to_json(asdict(queue)),
        "waiting": queue.waiting,
        "in_flight": queue.in_flight,
        "accepted_per_minute": round(overview.accepted_per_minute, 2),
        "ended_per_minute": round(overview.ended_per_minute, 2),
        "succeeded_per_minute": round(overview.succeeded_per_minute, 2),
        "failed_per_minute": round(overview.failed_per_minute, 2),
        "today": row_to_json(asdict(overview.today)),
        "has_worker": overview.has_worker,
        "workers": {
            "alive": overview.workers_alive,
            "lost": [row_to_json(asdict(worker)) for worker in overview.workers_lost],
        },
        "late_deliveries_day": row_to_json(asdict(overview.late)),
        "alerts": [alert_to_json(alert) for alert in overview.alerts],
        "submits_paused": _pause_to_json(overview.pause, overview.at),
        "pauses": [row_to_json(asdict(pause)) for pause in overview.operator_pauses],
        "kie_accounts": [_account_to_json(one, overview.at) for one in overview.accounts],
        "redis_error": overview.redis_error,
        "last_failures": [row_to_json(asdict(failure)) for failure in overview.failures],
    }


def _account_to_json(account: KieAccountOverview, at: datetime) -> dict[str, Any]:
    return {
        "name": account.name,
        "budget": account.budget,
        "budget_used": account.budget_used,
        "balance": credits_to_json(account.balance),
        "balance_age_seconds": account.balance_age_seconds,
        "submits_paused": _pause_to_json(account.pause, at),
        "submit_rate": account.submit_rate(at),
        "submits_slowed": None if account.slowed is None else _rate_to_json(account.slowed, at),
    }


def _rate_to_json(rate: SubmitRate, at: datetime) -> dict[str, Any]:
    return {
        "rate": rate.in_force(at),
        "limit": rate.limit,
        "reason": rate.reason,
        "message": rate.message,
        "since": timestamp_to_json(rate.since),
        "full_at": timestamp_to_json(rate.full_at),
    }


def _pause_to_json(pause: SubmitPause | None, at: datetime) -> dict[str, Any] | None:
    return None if pause is None else {**row_to_json(asdict(pause)), "is_on": pause.is_on(at)}
