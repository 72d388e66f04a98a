"""Reads what waits and how fast it is submitted, from Postgres and Redis."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from redis.asyncio import Redis

from producer.waiting.fair_positions import FairOrder, PriorityTurn, WaitingAccount
from producer.waiting.open_slots import OpenSlots
from producer.waiting.submit_pace import KieAccountState, SubmitPace, plan_pace
from shared.adapters.postgres.database import Queries
from shared.adapters.postgres.row_dicts import as_dicts
from shared.adapters.processes.redis_presence import ALIVE_SECONDS
from shared.adapters.redis.redis_errors import translated_redis_errors
from shared.catalog import list_families
from shared.domain.lifecycle import Reason
from shared.errors import RedisDown
from shared.redis_keys import SUBMIT_LOG_PREFIX, brake_key, family_brake_key, submit_log_name

MEASURED_SECONDS = 60.0
"""Over how long submits are counted."""
_LEAST_MEASURED_SECONDS = 25.0
"""Over less time, a window of 10 s that has just begun would change the rate too much."""
_REDIS_TIMEOUT_SECONDS = 0.25
"""Without Redis, the configured limits are used."""


@dataclass(frozen=True, slots=True)
class ActivePause:
    """A pause of an operator."""

    scope: str
    value: str | None
    ends_in_seconds: float
    """Infinite until a person ends it."""


@dataclass(frozen=True, slots=True)
class WaitingSnapshot:
    """What waits and how fast it is submitted, at one time."""

    at: datetime
    """By Postgres's clock."""
    order: FairOrder
    pace: SubmitPace
    pauses: tuple[ActivePause, ...]
    routes: Mapping[str, str]
    """By model: the family by which it is sent, where that is not its own."""
    braked_families: frozenset[str]
    """The families of which one job at a time is submitted, as a probe."""

    def is_braked(self, model: str) -> bool:
        """Return whether one job at a time of the family that carries this model is submitted."""
        return self.routes.get(model, model) in self.braked_families

    def paused_seconds(self, model: str, account_id: str) -> float:
        """Return for how long pauses hold a job back: 0 for none, infinite for no end."""
        named = {("everything", None), ("model", model), ("account", account_id)}
        return max(
            (one.ends_in_seconds for one in self.pauses if (one.scope, one.value) in named),
            default=0.0,
        )


class SnapshotReader:
    """Reads snapshots. Three statements and one round trip to Redis each."""

    def __init__(self, queries: Queries, redis: Redis, kie_accounts: Sequence[str]) -> None:
        self._queries = queries
        self._redis = redis
        self._kie_accounts = tuple(kie_accounts)

    async def read(self) -> WaitingSnapshot:
        """Return a new snapshot. Raises `PostgresDown`; works without Redis."""
        [facts] = as_dicts(
            await self._queries.fetch("submit_pace", ALIVE_SECONDS, MEASURED_SECONDS)
        )
        rows = as_dicts(await self._queries.fetch("waiting_accounts"))
        turns = as_dicts(await self._queries.fetch("priority_turns_now"))
        order = _read_order(rows, turns, facts["run_seconds"])
        pauses = tuple(_read_pause(one) for one in facts["pauses"])
        names = facts["kie_accounts"] or list(self._kie_accounts)
        limit = facts["submits_per_10_seconds"] or 0
        brakes = await self._read_redis(names)
        states = [
            _account_state(name, limit, brakes.of_accounts.get(name), pauses) for name in names
        ]
        measured = _measured_rate(facts, rows)
        pace = plan_pace(states, measured) if facts["workers"] else SubmitPace(stopped="no_worker")
        return WaitingSnapshot(
            facts["at"], order, pace, pauses, facts["routes"], brakes.braked_families
        )

    async def _read_redis(self, names: Sequence[str]) -> _Brakes:
        try:
            async with asyncio.timeout(_REDIS_TIMEOUT_SECONDS):
                return await _read_brakes(self._redis, names)
        except (RedisDown, TimeoutError):
            return _Brakes({}, frozenset())


def _read_order(
    rows: Sequence[Mapping[str, Any]], turns: Sequence[Mapping[str, Any]], run: float | None
) -> FairOrder:
    return FairOrder(
        chosen=sum(row["chosen"] for row in rows),
        priorities=tuple(PriorityTurn(**row) for row in turns),
        accounts=tuple(_waiting_account(row, run) for row in rows),
    )


def _waiting_account(row: Mapping[str, Any], run_seconds: float | None) -> WaitingAccount:
    limit, ages, chosen = row["max_open_jobs"], row["open_seconds"], row["chosen"]
    return WaitingAccount(
        account_id=row["account_id"],
        priority=row["priority"],
        waiting=row["waiting"],
        weight=row["weight"],
        turn=row["turn"] if row["turn"] is not None else 0.0,
        moved_at=row["moved_at"] or datetime.max.replace(tzinfo=UTC),
        is_paused=row["is_paused"],
        slots=OpenSlots.of(limit, ages, chosen, run_seconds)
        if limit is not None and limit - len(ages) - chosen < row["waiting"]
        else None,
        max_open_jobs=limit,
        open_jobs=None if limit is None else len(ages) + chosen,
        oldest_due_at=row["oldest_due_at"],
    )


def _read_pause(row: Mapping[str, Any]) -> ActivePause:
    ends = row["ends_in_seconds"]
    return ActivePause(row["scope"], row["value"], math.inf if ends is None else float(ends))


def _measured_rate(facts: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> float | None:
    """Return the submits per second while jobs waited that nothing held back, or None."""
    waits = [
        row["oldest_due_at"]
        for row in rows
        if row["waiting"] and not row["is_paused"] and row["max_open_jobs"] is None
    ]
    if not waits:
        return None
    waited = (facts["at"] - min(waits)) / timedelta(seconds=1)
    measured = facts["measured_seconds"]
    # The jobs that waited less than the period tell nothing of its beginning.
    if measured < _LEAST_MEASURED_SECONDS or waited < measured or not facts["submitted"]:
        return None
    return float(facts["submitted"] / measured)


@dataclass(frozen=True, slots=True)
class _Brakes:
    of_accounts: Mapping[str, tuple[tuple[float, ...], Mapping[str, str]]]
    """By Kie account: in how many seconds each submit stops counting, and the hash of its brake."""
    braked_families: frozenset[str]


_BRAKE_FIELDS = ["level", "until", "reason", "rate", "rate_limit", "rate_grows_at", "rate_step"]


async def _read_brakes(redis: Redis, names: Sequence[str]) -> _Brakes:
    families = list(list_families())
    with translated_redis_errors():
        pipe = redis.pipeline(transaction=False)
        pipe.time()
        for name in names:
            pipe.zrange(f"{SUBMIT_LOG_PREFIX}:{submit_log_name(name)}", 0, -1, withscores=True)
            pipe.hmget(brake_key(name), _BRAKE_FIELDS)
        for family in families:
            for name in names:
                pipe.hget(family_brake_key(name, family), "level")
        (seconds, microseconds), *found = await pipe.execute()
    now_ms = seconds * 1000 + microseconds / 1000
    of_accounts = {}
    for place, name in enumerate(names):
        entries, values = found[2 * place], found[2 * place + 1]
        texts = {
            field: value.decode()
            for field, value in zip(_BRAKE_FIELDS, values, strict=False)
            if value is not None
        }
        ends = sorted((score - now_ms) / 1000 for _, score in entries if score > now_ms)
        of_accounts[name] = tuple(ends), {**texts, "now": str(now_ms)}
    levels = found[2 * len(names) :]
    braked = {
        family
        for place, family in enumerate(families)
        if names and all(int(one or 0) > 0 for one in levels[place * len(names) :][: len(names)])
    }
    return _Brakes(of_accounts, frozenset(braked))


def _account_state(
    name: str,
    limit: int,
    found: tuple[tuple[float, ...], Mapping[str, str]] | None,
    pauses: Sequence[ActivePause],
) -> KieAccountState:
    paused = max(
        (one.ends_in_seconds for one in pauses if (one.scope, one.value) == ("kie_account", name)),
        default=0.0,
    )
    if found is None:
        return KieAccountState(limit=limit, paused_seconds=paused)
    counted_until, brake = found
    now_ms = float(brake["now"])
    is_braked = int(brake.get("level", "0")) > 0
    if is_braked:
        paused = max(paused, (float(brake.get("until", "0")) - now_ms) / 1000)
    is_slowed = "rate" in brake
    return KieAccountState(
        limit=limit,
        counted_until=counted_until if limit else (),
        rate=float(brake["rate"]) if is_slowed else None,
        rate_limit=float(brake.get("rate_limit", "0")) if is_slowed else 0.0,
        grows_in_seconds=(float(brake["rate_grows_at"]) - now_ms) / 1000 if is_slowed else 0.0,
        grows_per_second=float(brake["rate_step"]) * 1000 if is_slowed else 0.0,
        paused_seconds=paused,
        is_refused=is_braked and brake.get("reason") == Reason.ACCOUNT_REFUSED,
    )
