"""Reads the state for the alert rules: one Postgres statement and one round trip to Redis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from shared.adapters.monitoring.kie_account_limits import decode_hash, parse_submit_rate
from shared.adapters.postgres.database import Queries
from shared.adapters.postgres.server_clock import SKEW_LIMIT_SECONDS
from shared.adapters.processes.redis_presence import (
    ALIVE_SECONDS,
    Presence,
    first_presence,
    read_presences,
)
from shared.adapters.redis.redis_errors import translated_redis_errors
from shared.catalog import list_families, list_routes
from shared.domain.alerts.alert_rules import (
    ENDED_JOBS_MAX,
    IMAGE_WAITS_SECONDS,
    LOCKED_SECONDS,
    LOST_WORKER_SECONDS,
    RECENT_JOBS_SECONDS,
    SLOW_TASK_FACTOR,
    SLOW_TASK_SECONDS_DEFAULT,
    SLOW_TASK_SECONDS_MIN,
)
from shared.domain.alerts.system_state import (
    QUEUED_COUNT_MAX,
    ActiveRoute,
    BalanceDrift,
    EndedJob,
    FailingReceiver,
    KeyDifference,
    KieModelState,
    LockHolder,
    LostWorker,
    OperatorPause,
    ProcessWithoutRedis,
    RedisState,
    RedisUser,
    SkewedProcess,
    SubmitPause,
    SystemState,
)
from shared.errors import DatabaseRefused
from shared.redis_keys import (
    LOST_WRITES_KEY,
    PRESENCES_KEY,
    WIPED_KEY,
    brake_key,
    family_brake_key,
)

_LISTS = (
    *(
        "differing_keys",
        "drifting",
        "ended",
        "failing",
        "kie_models",
        "lockers",
        "pauses",
        "renamed_keys",
        "routes",
        "skewed",
    ),
    *("process_ids", "unpriced", "without_redis", "workers_lost"),
)

_MOMENT_OUT_OF_RANGE = "22008"


async def read_system_state(queries: Queries) -> SystemState:
    """Return the state in Postgres.

    Raises `PostgresDown`, or `DatabaseRefused` for a timestamp outside Python's range.
    """
    try:
        (row,) = await queries.fetch(
            "read_situation",
            RECENT_JOBS_SECONDS,
            ENDED_JOBS_MAX,
            SLOW_TASK_SECONDS_DEFAULT,
            SLOW_TASK_FACTOR,
            SLOW_TASK_SECONDS_MIN,
            ALIVE_SECONDS,
            LOST_WORKER_SECONDS,
            LOCKED_SECONDS,
            SKEW_LIMIT_SECONDS,
            QUEUED_COUNT_MAX,
            IMAGE_WAITS_SECONDS,
        )
    except OverflowError as error:
        # Only pools with `clamps_timestamps` read such timestamps.
        raise DatabaseRefused(
            f"a time in some row cannot be read: {error}", sqlstate=_MOMENT_OUT_OF_RANGE
        ) from error
    return _system_state(dict(row))


def _system_state(row: Mapping[str, Any]) -> SystemState:
    values = {name: value for name, value in row.items() if name not in _LISTS}
    return SystemState(
        **values,
        ended=tuple(
            EndedJob(state, reason, message, _timestamp(at))
            for state, reason, message, at in row["ended"]
        ),
        failing=tuple(
            FailingReceiver(url, messages, _timestamp(since), error)
            for url, messages, since, error in row["failing"]
        ),
        pauses=_operator_pauses(row["pauses"]),
        routes=_active_routes(row["routes"]),
        other_routes={model: list_routes(model) for model in list_families()},
        lockers=tuple(
            LockHolder(pid, who, _timestamp(since)) for pid, who, since in row["lockers"]
        ),
        drifting=_balance_drifts(row["drifting"]),
        kie_models=_kie_models(row["kie_models"]),
        skewed=tuple(SkewedProcess(name, seconds) for name, seconds in row["skewed"]),
        without_redis=_processes_without_redis(row["without_redis"]),
        differing_keys=_key_differences(row["differing_keys"]),
        renamed_keys=_key_differences(row["renamed_keys"]),
        workers_lost=tuple(LostWorker(name, _timestamp(at)) for name, at in row["workers_lost"]),
        unpriced=tuple(row["unpriced"]),
        process_ids=frozenset(row["process_ids"]),
    )


def _operator_pauses(rows: Sequence[Sequence[Any]]) -> tuple[OperatorPause, ...]:
    return tuple(
        OperatorPause(
            *(pause_id, scope, value, reason, paused_by, _timestamp(at)),
            until=None if until is None else _timestamp(until),
        )
        for pause_id, scope, value, reason, paused_by, at, until in rows
    )


def _active_routes(rows: Sequence[Sequence[Any]]) -> tuple[ActiveRoute, ...]:
    return tuple(
        ActiveRoute(
            *(model, via, unfit, Decimal(credits)),
            unfit_since=None if since is None else _timestamp(since),
        )
        for model, via, unfit, credits, since in rows
    )


def _balance_drifts(rows: Sequence[tuple[str, str, float]]) -> tuple[BalanceDrift, ...]:
    return tuple(
        BalanceDrift(account, Decimal(credits), _timestamp(since))
        for account, credits, since in rows
    )


def _processes_without_redis(
    rows: Sequence[tuple[str, str | None, float]],
) -> tuple[ProcessWithoutRedis, ...]:
    return tuple(ProcessWithoutRedis(name, error, _timestamp(since)) for name, error, since in rows)


def _kie_models(rows: Sequence[Sequence[Any]]) -> tuple[KieModelState, ...]:
    return tuple(
        KieModelState(
            *(kie_model, family, _timestamp(at), is_listed, tuple(missing)),
            success_percent=None if percent is None else Decimal(percent),
            usual_success_percent=None if usual is None else Decimal(usual),
            moved_prices=tuple(moved),
            price_credits=tuple(told),
        )
        for kie_model, family, at, is_listed, missing, percent, usual, moved, told in rows
    )


def _key_differences(rows: Sequence[tuple[str, str, float]]) -> tuple[KeyDifference, ...]:
    return tuple(KeyDifference(account, at, _timestamp(since)) for account, at, since in rows)


async def read_redis_state(redis: Redis, accounts: Sequence[str]) -> RedisState:
    """Return the state in Redis. Raises `RedisDown`."""
    with translated_redis_errors():
        pipe = redis.pipeline(transaction=False)
        for name in accounts:
            pipe.hgetall(brake_key(name))
        account_models = [(name, model) for name in accounts for model in list_families()]
        for account_model in account_models:
            pipe.hgetall(family_brake_key(*account_model))
        for section in ("memory", "replication", "persistence"):
            pipe.info(section)
        pipe.get(WIPED_KEY)
        pipe.hlen(LOST_WRITES_KEY)
        # Each heartbeat removes marks of dead processes.
        pipe.zrange(PRESENCES_KEY, 0, -1, withscores=True)
        replies = await pipe.execute(raise_on_error=False)
        _raise_unless_forbidden(replies)
    *brakes, memory, replication, persistence, wiped_ms, lost_writes, marks = [
        {} if isinstance(reply, NoPermissionError) else reply for reply in replies
    ]
    pauses = [_read_pause(fields) for fields in brakes]
    rates = [parse_submit_rate(decode_hash(fields)) for fields in brakes[: len(accounts)]]
    of_accounts = zip(accounts, pauses, strict=False)
    of_families = zip(account_models, pauses[len(accounts) :], strict=True)
    limit = int(memory.get("maxmemory", 0))
    return RedisState(
        pauses=tuple((name, pause) for name, pause in of_accounts if pause is not None),
        rates=tuple(
            (name, rate) for name, rate in zip(accounts, rates, strict=True) if rate is not None
        ),
        family_pauses=tuple(
            (*account_model, pause) for account_model, pause in of_families if pause is not None
        ),
        is_replica=replication.get("role", "master") != "master",
        # Without a limit nothing is evicted, whatever the policy.
        policy=str(memory.get("maxmemory_policy", "noeviction")) if limit else "noeviction",
        memory_share=int(memory.get("used_memory", 0)) / limit if limit else 0.0,
        saves=persistence.get("rdb_last_bgsave_status", "ok") == "ok"
        and persistence.get("aof_last_write_status", "ok") == "ok",
        wiped_at=_timestamp(int(wiped_ms) / 1000) if wiped_ms else None,
        lost_writes=int(lost_writes),
        first_user=_first_user(read_presences(marks)),
    )


def _first_user(presences: Sequence[Presence]) -> RedisUser | None:
    first = first_presence(presences)
    if first is None:
        return None
    return RedisUser(
        *(first.process_id, first.kind, first.name, first.database),
        since=_timestamp(first.since_ms / 1000),
    )


def _raise_unless_forbidden(replies: Sequence[Any]) -> None:
    """Raise the first error that is not about `INFO`, which some managed servers forbid."""
    for reply in replies:
        is_forbidden_info = isinstance(reply, NoPermissionError) and "'info'" in str(reply)
        if isinstance(reply, Exception) and not is_forbidden_info:
            raise reply


def _read_pause(values: Mapping[bytes, bytes]) -> SubmitPause | None:
    """Return the pause of a brake's hash, or None if the brake is off."""
    fields = decode_hash(values)
    if int(fields.get("level", "0")) == 0:
        return None
    since = fields.get("since")
    return SubmitPause(
        until=_timestamp(float(fields.get("until", "0")) / 1000),
        level=int(fields["level"]),
        reason=fields.get("reason", ""),
        message=fields.get("message", ""),
        since=_timestamp(float(since) / 1000) if since else None,
    )


def _timestamp(epoch_seconds: float) -> datetime:
    return datetime.fromtimestamp(epoch_seconds, UTC)
