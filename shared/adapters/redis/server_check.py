"""Checks at the start of a process what kind of Redis it has."""

from __future__ import annotations

from dataclasses import dataclass

import structlog
from redis.asyncio import Redis

from shared.adapters.redis.redis_errors import translated_redis_errors
from shared.errors import ConfigurationError, RedisDown
from shared.redis_url.redis_url import has_hash_tag

log = structlog.get_logger(__name__)

EVICTION_FIX = (
    "set maxmemory-policy to noeviction, at managed servers in their parameter group; until then"
    " deliveries are added again by the reconciler, and Kie's limits may be exceeded"
)
CLUSTER_REFUSED = (
    "REDIS_URL leads to a Redis Cluster, which takes only commands whose keys have one slot. Set"
    " REDIS_PREFIX to a hash tag, such as `{darkroom}:`, for all processes; all keys then have one"
    " slot, and Darkroom follows it from node to node"
)


@dataclass(frozen=True, slots=True)
class RedisServer:
    """What a server says of itself."""

    version: str
    is_cluster: bool
    policy: str
    """What it does when `maxmemory` is reached."""
    memory_limit_bytes: int
    """0 means none."""
    has_append_only_file: bool

    @property
    def evicts(self) -> bool:
        """Whether it may remove keys that have not expired."""
        return self.policy != "noeviction" and self.memory_limit_bytes > 0


async def read_server(redis: Redis) -> RedisServer:
    """Return what the server says of itself. Needs `INFO` alone, not `CONFIG`.

    Raises `RedisDown`, also where the user may not run `INFO`.
    """
    with translated_redis_errors():
        pipe = redis.pipeline(transaction=False)
        for section in ("server", "cluster", "memory", "persistence"):
            pipe.info(section)
        server, cluster, memory, persistence = await pipe.execute()
    return RedisServer(
        version=str(server.get("valkey_version") or server.get("redis_version")),
        is_cluster=bool(cluster.get("cluster_enabled")),
        policy=str(memory.get("maxmemory_policy", "noeviction")),
        memory_limit_bytes=int(memory.get("maxmemory", 0)),
        has_append_only_file=bool(persistence.get("aof_enabled")),
    )


async def check_server_at_start(redis: Redis) -> None:
    """Log a warning for a server that evicts. A server that does not answer is no fault here.

    Raises `ConfigurationError` for a cluster without a hash tag in REDIS_PREFIX.
    """
    try:
        server = await read_server(redis)
    except RedisDown as error:
        log.info("redis_not_checked", error=str(error))
        return
    if server.is_cluster and not keys_have_one_slot(redis):
        raise ConfigurationError(CLUSTER_REFUSED)
    if server.evicts:
        log.warning("redis_evicts_keys", policy=server.policy, fix=EVICTION_FIX)


def keys_have_one_slot(redis: Redis) -> bool:
    """Return whether the keys of this client have one slot of a cluster."""
    return has_hash_tag(getattr(redis.connection_pool, "prefix", ""))
