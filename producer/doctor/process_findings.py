"""Checks which processes are alive, and whether they share one Redis and one set of settings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from redis.asyncio import Redis

from producer.doctor.finding import Finding
from shared.adapters.postgres.database import Queries
from shared.adapters.processes.process_records import ProcessRow, list_processes
from shared.adapters.processes.process_registry import HEARTBEAT_SECONDS, KEEP_SECONDS
from shared.adapters.processes.redis_presence import (
    ALIVE_SECONDS,
    PRESENCE_TTL_MS,
    Presence,
    read_presences,
)
from shared.adapters.redis.deliveries import connect_redis
from shared.adapters.redis.redis_errors import translated_redis_errors
from shared.domain.alerts.process_alert_rules import OWN_REDIS_FIX
from shared.errors import RedisDown
from shared.redis_keys import PRESENCES_KEY
from shared.redis_url.redis_url import redis_address

_SECOND_READ_SECONDS = HEARTBEAT_SECONDS + 1
"""The time in which every live process writes its row and its mark again."""
_SAME_REDIS = "give all workers and APIs the same REDIS_URL, and the doctor as well"


@dataclass(frozen=True, slots=True)
class _Comparison:
    """The live processes of a database compared with the marks in one Redis."""

    unmarked: tuple[ProcessRow, ...]
    """Processes that have marked their Redis, while this Redis has no mark of them."""
    unknown: tuple[Presence, ...]
    """Marks of processes that do not belong to this database."""


async def check_processes(queries: Queries, redis_url: str | None) -> AsyncIterator[Finding]:
    """Yield findings about live processes, their Redis and their settings.

    Takes 6 s if something seems wrong. Raises `PostgresDown`.
    """
    rows = await list_processes(queries)
    yield _check_alive(rows)
    alive = [row for row in rows if row.is_alive]
    if redis_url:
        try:
            async for finding in _check_redis_sharing(queries, redis_url):
                yield finding
        except RedisDown:
            pass  # another finding reports it
    yield _compare_settings([row for row in alive if row.kind == "worker"])


def _check_alive(rows: Sequence[ProcessRow]) -> Finding:
    alive = [row for row in rows if row.is_alive]
    workers = [row for row in alive if row.kind == "worker"]
    seen = min((row.seen_seconds_ago for row in workers), default=None)
    detail = f"workers alive: {len(workers)}"
    detail += f", last seen {max(0, seen):.0f} s ago" if seen is not None else ""
    detail += f"; APIs alive: {len(alive) - len(workers)}"
    without_redis = [row for row in alive if not _reaches_redis(row)]
    for row in without_redis:
        detail += f"; {row.name} is alive and cannot write to its Redis {row.redis}"
        if row.detail.get("redis_error"):
            detail += f" ({row.detail['redis_error']})"
    return Finding(
        "processes",
        not without_redis,
        detail,
        "start Redis or Valkey, or correct REDIS_URL of that process" if without_redis else None,
    )


def _reaches_redis(row: ProcessRow) -> bool:
    ago = row.redis_seen_seconds_ago
    # A process that has just started has not marked its Redis yet.
    return row.started_seconds_ago < ALIVE_SECONDS if ago is None else ago < ALIVE_SECONDS


async def _check_redis_sharing(queries: Queries, redis_url: str) -> AsyncIterator[Finding]:
    async with connect_redis(redis_url, connections=1) as redis:

        async def compare() -> _Comparison:
            # Read the rows first, because a process writes its mark before its row.
            rows = await list_processes(queries, look_back_seconds=KEEP_SECONDS)
            presences = await _fetch_presences(redis)
            return _compare(rows, presences)

        first = seen = await compare()
        if first.unmarked or first.unknown:
            # Read again, as Redis may have been emptied, or a process may have started or ended.
            await asyncio.sleep(_SECOND_READ_SECONDS)
            seen = await compare()
    wrote_before = {row.id: row.redis_seen_at for row in first.unmarked}
    unmarked = [
        row for row in seen.unmarked if wrote_before.get(row.id) not in {None, row.redis_seen_at}
    ]
    marked_before = {presence.process_id: presence.seen_ms for presence in first.unknown}
    unknown = [
        presence
        for presence in seen.unknown
        if marked_before.get(presence.process_id, presence.seen_ms) < presence.seen_ms
    ]
    here = redis_address(redis_url)
    unmarked_text = ", ".join(f"{row.kind} {row.name} uses {row.redis}" for row in unmarked)
    yield Finding(
        "workers share one redis",
        not unmarked,
        f"{unmarked_text}; the doctor uses {here}"
        if unmarked
        else f"all processes alive use {here}",
        _SAME_REDIS if unmarked else None,
    )
    unknown_text = ", ".join(
        f"{presence.kind} {presence.name} of the database {presence.database}"
        for presence in unknown
    )
    yield Finding(
        "redis serves this database alone",
        not unknown,
        f"{unknown_text} uses this Redis, {here}, as well"
        if unknown
        else "all processes in it are of this database",
        OWN_REDIS_FIX if unknown else None,
    )


def _compare(rows: Sequence[ProcessRow], presences: Sequence[Presence]) -> _Comparison:
    marked: set[UUID] = {presence.process_id for presence in presences}
    known = {row.id for row in rows}
    return _Comparison(
        tuple(
            row
            for row in rows
            if row.is_alive
            and row.id not in marked
            and row.redis_seen_at is not None
            and _reaches_redis(row)
        ),
        tuple(presence for presence in presences if presence.process_id not in known),
    )


def _compare_settings(workers: Sequence[ProcessRow]) -> Finding:
    values: dict[str, dict[str, list[str]]] = {}
    for worker in workers:
        for setting, value in worker.limits.items():
            values.setdefault(setting, {}).setdefault(str(value), []).append(worker.name)
    differences = [
        f"{setting} is " + ", ".join(f"{value} at {' and '.join(at)}" for value, at in by.items())
        for setting, by in sorted(values.items())
        if len(by) > 1
    ]
    return Finding(
        "workers have the same settings",
        not differences,
        "; ".join(differences) or "limits, prices and deadlines are the same at all workers alive",
        "set them alike and restart the workers: of a limit the highest holds"
        if differences
        else None,
    )


async def _fetch_presences(redis: Redis) -> list[Presence]:
    """Return the presences that have not expired. Writes nothing. Raises `RedisDown`."""
    with translated_redis_errors():
        pipe = redis.pipeline(transaction=False)
        pipe.time()
        pipe.zrange(PRESENCES_KEY, 0, -1, withscores=True)
        (seconds, microseconds), scored = await pipe.execute()
    since_ms = seconds * 1000 + microseconds // 1000 - PRESENCE_TTL_MS
    return [presence for presence in read_presences(scored) if presence.seen_ms >= since_ms]
