"""Checks whether Redis answers, takes writes, and keeps its keys."""

from __future__ import annotations

from collections.abc import AsyncIterator

from producer.doctor.finding import Finding
from shared.adapters.monitoring.incident_log import FIXES, REDIS
from shared.adapters.redis.deliveries import DeliveryQueue, connect_redis
from shared.adapters.redis.server_check import (
    CLUSTER_REFUSED,
    EVICTION_FIX,
    keys_have_one_slot,
    read_server,
)
from shared.errors import DarkroomError

_KEEPS_KEYS = "redis keeps its keys"


async def check_redis(redis_url: str) -> AsyncIterator[Finding]:
    """Yield the findings about the Redis of that URL. Errors of the server become findings."""
    async with connect_redis(redis_url, connections=2) as redis:
        try:
            server = await read_server(redis)
        except DarkroomError as error:
            server, unknown = None, str(error)
        if server is not None and server.is_cluster and not keys_have_one_slot(redis):
            yield Finding("redis", False, CLUSTER_REFUSED, "set REDIS_PREFIX")
            return
        try:
            await DeliveryQueue(redis).ping()
        except DarkroomError as error:
            yield Finding("redis", False, str(error), FIXES[REDIS])
            return
    if server is None:
        yield Finding("redis", True, "Redis or Valkey answers and takes writes")
        yield Finding(_KEEPS_KEYS, True, f"cannot be known: {unknown}")
        return
    kind = ", as a cluster" if server.is_cluster else ""
    yield Finding("redis", True, f"Redis or Valkey {server.version} answers{kind}")
    limit = "" if server.memory_limit_bytes else ", and no maxmemory is set"
    yield Finding(
        _KEEPS_KEYS,
        not server.evicts,
        f"maxmemory-policy is {server.policy}{limit}",
        EVICTION_FIX if server.evicts else None,
    )
    # No fault: Postgres has everything, and deliveries that a restart loses are added again.
    yield Finding(
        "redis survives a restart",
        True,
        "append-only file is on"
        if server.has_append_only_file
        else "append-only file is off: a restart costs seconds of redelivery, and no job",
    )
