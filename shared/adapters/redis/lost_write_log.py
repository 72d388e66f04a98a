"""Stores evidence in Redis that Postgres has lost writes, for example after a failover.

Postgres cannot detect its lost writes. But Redis still has deliveries of lost jobs, and workers
still know task ids. Workers store this evidence here for operators, until one acknowledges it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson
from redis.asyncio import Redis

from shared.adapters.redis.deliveries import Lane
from shared.adapters.redis.lua_scripts import load_script
from shared.adapters.redis.redis_errors import translated_redis_errors
from shared.redis_keys import LOST_WRITES_KEY, NEWEST_EVENT_KEY

MOST_KEPT = 10_000
_WRITES = "writes"
_PAGE_LENGTH = 5_000
_DELETED_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class LostJob:
    """A job that Postgres has lost, or whose task Postgres has lost."""

    job_id: str
    task_id: str | None
    """Its paid task at Kie. None if no worker knows one."""
    account: str | None
    """The Kie account of the task."""
    is_known: bool = False
    """Whether Postgres has the job, but not the task."""


@dataclass(frozen=True, slots=True)
class EventPosition:
    """The position of one event of `job_events`."""

    event_id: int
    at: str
    """The time of the event, in Postgres's text format."""


@dataclass(frozen=True, slots=True)
class LostWriteEvidence:
    """All stored evidence."""

    jobs: Sequence[LostJob]
    missing_events: Sequence[tuple[EventPosition, EventPosition | None]]
    """Each event that disappeared, with the newest event that existed instead."""
    fields: Mapping[bytes, bytes] = field(default_factory=dict, repr=False)
    """The same, as Redis has it."""


class LostWriteLog:
    """The evidence in one Redis. All methods raise `RedisDown`."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def count(self) -> int:
        """Return the number of pieces of evidence."""
        with translated_redis_errors():
            return int(await self._redis.hlen(LOST_WRITES_KEY))  # type: ignore[misc]

    async def add_jobs(self, jobs: Sequence[LostJob]) -> None:
        """Store these jobs. A stored task id is not overwritten by None."""
        if not jobs or await self.count() >= MOST_KEPT:
            return
        with translated_redis_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                for job in jobs:
                    write = pipe.hsetnx if job.task_id is None else pipe.hset
                    write(LOST_WRITES_KEY, job.job_id, orjson.dumps(asdict(job)).decode())
                await pipe.execute()

    async def newest_event(self) -> EventPosition | None:
        """Return the newest event of the last comparison, or None."""
        with translated_redis_errors():
            value = await self._redis.get(NEWEST_EVENT_KEY)
        return None if value is None else EventPosition(**orjson.loads(value))

    async def set_newest_event(self, newest_event: EventPosition) -> None:
        """Store the newest event."""
        with translated_redis_errors():
            await self._redis.set(NEWEST_EVENT_KEY, orjson.dumps(asdict(newest_event)))

    async def add_missing_event(self, gone: EventPosition, newest: EventPosition | None) -> None:
        """Store that an event has disappeared, and which event is the newest now."""
        value = {"gone": asdict(gone), "newest": None if newest is None else asdict(newest)}
        with translated_redis_errors():
            field = f"{_WRITES}:{gone.event_id}"
            await self._redis.hset(LOST_WRITES_KEY, field, orjson.dumps(value).decode())  # type: ignore[misc]

    async def read(self) -> LostWriteEvidence:
        """Return all evidence."""
        with translated_redis_errors():
            found: dict[bytes, bytes] = await self._redis.hgetall(LOST_WRITES_KEY)  # type: ignore[misc]
        jobs, missing_events = [], []
        for name, text in sorted(found.items()):
            value: dict[str, Any] = orjson.loads(text)
            if name.startswith(_WRITES.encode()):
                newest = value["newest"]
                missing_events.append(
                    (
                        EventPosition(**value["gone"]),
                        None if newest is None else EventPosition(**newest),
                    )
                )
            else:
                jobs.append(LostJob(**value))
        return LostWriteEvidence(jobs, missing_events, found)

    async def delete(self, seen: LostWriteEvidence) -> tuple[int, int]:
        """Delete this evidence, and return how many pieces were deleted and how many are left.

        What has been added or changed since it was read is left.
        """
        script = self._redis.register_script(load_script("shared", "delete_same_fields").source)
        names, deleted = list(seen.fields), 0
        with translated_redis_errors():
            for start in range(0, len(names), _DELETED_AT_ONCE):
                page = names[start : start + _DELETED_AT_ONCE]
                pairs = [part for name in page for part in (name, seen.fields[name])]
                deleted += int(await script(keys=[LOST_WRITES_KEY], args=pairs))
        return deleted, await self.count()

    async def delivered_jobs(self) -> list[str]:
        """Return the ids of jobs with a delivery, up to 5,000 of each lane."""
        names = []
        with translated_redis_errors():
            for lane in (Lane.SUBMIT, Lane.POLL):
                found = await self._redis.zrange(lane.value, 0, _PAGE_LENGTH - 1)
                names += [name.decode().partition(":")[2] for name in found]
        return names
