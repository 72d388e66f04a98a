"""The marks of live processes in Redis: one sorted set, written by each process at every beat."""

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
    """One process that is alive in this Redis."""

    process_id: UUID
    since_ms: int
    """When it first marked itself here, by the clock of Redis."""
    seen_ms: int
    """When it last did."""
    kind: str
    name: str
    database: str
    """Where its Postgres is, without a password."""


class RedisPresence:
    """Writes the mark of one process and reads the marks of all."""

    def __init__(
        self, redis: Redis, *, process_id: UUID, kind: str, name: str, database: str
    ) -> None:
        self._redis = redis
        self._script = redis.register_script(load_script("shared", "record_presence").source)
        self._text = orjson.dumps(
            {"id": str(process_id), "kind": kind, "name": name, "database": database}
        )
        self._since = b""

    async def write(self) -> list[Presence]:
        """Write the mark of this process; return all marks, its own among them.

        One command. Raises `RedisDown`.
        """
        with translated_redis_errors():
            self._since, scored = await self._script(
                keys=[PRESENCES_KEY], args=[self._text, self._since, PRESENCE_TTL_MS]
            )
        return read_presences(list(zip(scored[::2], scored[1::2], strict=True)))

    async def remove(self) -> None:
        """Take the mark of this process away. Raises `RedisDown`."""
        if self._since:
            with translated_redis_errors():
                await self._redis.zrem(PRESENCES_KEY, self._since + b" " + self._text)


async def fetch_presences(redis: Redis) -> list[Presence]:
    """Return the marks that have not expired by Redis's clock; writes none. Raises `RedisDown`."""
    with translated_redis_errors():
        pipe = redis.pipeline(transaction=False)
        pipe.time()
        pipe.zrange(PRESENCES_KEY, 0, -1, withscores=True)
        (seconds, microseconds), scored = await pipe.execute()
    since_ms = seconds * 1000 + microseconds // 1000 - PRESENCE_TTL_MS
    return [presence for presence in read_presences(scored) if presence.seen_ms >= since_ms]


def read_presences(scored: Iterable[tuple[bytes, float | bytes]]) -> list[Presence]:
    """Return the marks that these members and scores stand for; what cannot be read is left out."""
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
