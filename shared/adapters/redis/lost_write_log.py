"""Keeps in Redis what shows that Postgres has lost writes, as a standby that lagged has.

Postgres cannot know what it has lost. Redis still has deliveries of jobs that Postgres does not
know, and workers remember tasks at Kie. What they notice is kept here for the doctor, until an
operator deletes the key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson
from redis.asyncio import Redis

from shared.adapters.redis.deliveries import Lane
from shared.adapters.redis.redis_errors import translated_redis_errors
from shared.redis_keys import LOST_WRITES_KEY, NEWEST_EVENT_KEY

MOST_KEPT = 10_000
_WRITES = "writes"
_PAGE_LENGTH = 5_000


@dataclass(frozen=True, slots=True)
class LostJob:
    """A job that Postgres does not know any more, or knows only as it was before its task."""

    job_id: str
    task_id: str | None
    """Its task at Kie, which is paid for; None where no worker remembers one."""
    account: str | None
    """The account at Kie that the task belongs to."""
    is_known: bool = False
    """Whether Postgres knows the job, though not the task."""


@dataclass(frozen=True, slots=True)
class EventPosition:
    """One event of `job_events`."""

    event_id: int
    at: str
    """When it happened, as Postgres writes a moment."""


@dataclass(frozen=True, slots=True)
class LostWriteEvidence:
    """All that was noticed."""

    jobs: Sequence[LostJob]
    missing_events: Sequence[tuple[EventPosition, EventPosition | None]]
    """An event that was there and is gone, with the newest one that was there instead."""


class LostWriteLog:
    """The evidence in one Redis. Every method raises `RedisDown`."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def count(self) -> int:
        """Return how many pieces of evidence there are."""
        with translated_redis_errors():
            return int(await self._redis.hlen(LOST_WRITES_KEY))  # type: ignore[misc]

    async def add_jobs(self, jobs: Sequence[LostJob]) -> None:
        """Keep what is known of these jobs; a task id that was kept before stays."""
        if not jobs or await self.count() >= MOST_KEPT:
            return
        with translated_redis_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                for job in jobs:
                    write = pipe.hsetnx if job.task_id is None else pipe.hset
                    write(LOST_WRITES_KEY, job.job_id, orjson.dumps(asdict(job)).decode())
                await pipe.execute()

    async def newest_event(self) -> EventPosition | None:
        """Return the newest event of the last look."""
        with translated_redis_errors():
            value = await self._redis.get(NEWEST_EVENT_KEY)
        return None if value is None else EventPosition(**orjson.loads(value))

    async def set_newest_event(self, newest_event: EventPosition) -> None:
        """Remember the newest event."""
        with translated_redis_errors():
            await self._redis.set(NEWEST_EVENT_KEY, orjson.dumps(asdict(newest_event)))

    async def add_missing_event(self, gone: EventPosition, newest: EventPosition | None) -> None:
        """Keep that an event is gone, and which was the newest one instead."""
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
        return LostWriteEvidence(jobs, missing_events)

    async def delivered_jobs(self) -> list[str]:
        """Return the ids of the jobs that have a delivery, the first thousands of each lane."""
        names = []
        with translated_redis_errors():
            for lane in (Lane.SUBMIT, Lane.POLL):
                found = await self._redis.zrange(lane.value, 0, _PAGE_LENGTH - 1)
                names += [name.decode().partition(":")[2] for name in found]
        return names
