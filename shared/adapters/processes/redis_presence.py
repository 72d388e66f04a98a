"""The presence of live processes in Redis: a sorted set that each heartbeat updates."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

import orjson
from redis.asyncio import Redis

from shared.adapters.redis.lua_scripts import load_script
from shared.adapters.redis.redis_errors import translated_redis_errors
from shared.redis_keys import PRESENCES_KEY

ALIVE_SECONDS = 15.0
"""A process counts as alive this long after its newest heartbeat, in Postgres and in Redis."""
PRESENCE_TTL_MS = int(1000 * ALIVE_SECONDS)


@dataclass(frozen=True, slots=True)
class Presence:
    """One live process in this Redis."""

    process_id: UUID
    since_ms: int
    """When it first wrote its presence, by Redis's clock."""
    seen_ms: int
    """When it last wrote its presence, by Redis's clock."""
    kind: str
    name: str
    database: str
    """Its Postgres, without credentials."""


class RedisPresence:
    """Writes the presence of one process, and reads those of all."""

    def __init__(
        self, redis: Redis, *, process_id: UUID, kind: str, name: str, database: str
    ) -> None:
        self._redis = redis
        self._script = redis.register_script(load_script("shared", "record_presence").source)
        self._text = orjson.dumps(
            {"id": str(process_id), "kind": kind, "name": name, "database": database}
        )
        self._since = b""
        self._has_begun = False

    async def write(self) -> list[Presence]:
        """Write the presence of this process. Returns all presences, including its own.

        Uses one command. Raises `RedisDown`.
        """
        self._has_begun = True
        with translated_redis_errors():
            self._since, scored = await self._script(
                keys=[PRESENCES_KEY], args=[self._text, self._since, PRESENCE_TTL_MS]
            )
        return read_presences(list(zip(scored[::2], scored[1::2], strict=True)))

    async def remove(self) -> None:
        """Remove its presence, also where the reply to the write was lost. Raises `RedisDown`."""
        if not self._has_begun:
            return
        with translated_redis_errors():
            members = await self._redis.zrange(PRESENCES_KEY, 0, -1)
            own = [member for member in members if member.partition(b" ")[2] == self._text]
            if own:
                await self._redis.zrem(PRESENCES_KEY, *own)


def first_presence(presences: Iterable[Presence]) -> Presence | None:
    """Return the one that has been there for longest, or None."""
    return min(
        presences, key=lambda presence: (presence.since_ms, presence.process_id), default=None
    )


def read_presences(scored: Iterable[tuple[bytes, float | bytes]]) -> list[Presence]:
    """Parse members and scores of the sorted set. Invalid members are skipped."""
    presences = []
    for member, score in scored:
        since, _, text = member.partition(b" ")
        try:
            value = orjson.loads(text)
            presences.append(
                Presence(
                    UUID(value["id"]),
                    int(since),
                    int(float(score)),
                    str(value["kind"]),
                    str(value["name"]),
                    str(value["database"]),
                )
            )
        except (ValueError, KeyError, TypeError):
            continue
    return presences
