"""Adds deliveries of jobs to arq's queues. Only this module and the worker's claim use arq.

Redis holds no data that Postgres does not have. The reconciler replaces lost deliveries. A delivery
that is added twice exists once, because its arq id contains the job id.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast
from uuid import UUID

import orjson
from arq.connections import ArqRedis
from arq.constants import in_progress_key_prefix, job_key_prefix
from arq.jobs import serialize_job
from redis.asyncio.connection import ConnectionPool

from shared.adapters.redis.change_messages import Change, encode_changes
from shared.adapters.redis.connection_pool import ReconnectingPool
from shared.adapters.redis.lua_scripts import load_script
from shared.adapters.redis.redis_errors import translated_redis_errors
from shared.adapters.redis.server_check import check_server_at_start
from shared.adapters.redis.server_pool import open_pool
from shared.errors import ConfigurationError
from shared.redis_keys import (
    ARQ_PROBE_KEY,
    CHANGES_CHANNEL,
    JOBS_WAIT,
    RERUN_KEY_PREFIX,
    WAKE_UP_CHANNEL,
    WRITE_PROBE_KEY,
)
from shared.redis_url.redis_url import read_redis_url

DELIVERIES_PER_SCRIPT = 500
"""The maximum number of deliveries in one script, during which Redis runs nothing else."""
# arq drops a delivery whose payload has expired. The reconciler then adds it again.
PAYLOAD_TTL_MS = 30 * 24 * 3600 * 1000

WAKE_UP_WINDOW_MS = 500
"""Workers are woken for deliveries that are due within this time."""

PROBE_TTL_MS = 60_000

RERUN_TTL_MS = 60_000

_ID_PLACEHOLDER = "@"


class Lane(StrEnum):
    """The queues of arq. The value is the Redis key of the queue."""

    SUBMIT = "darkroom:submit"
    POLL = "darkroom:poll"
    WEBHOOK = "darkroom:webhook"

    @property
    def function(self) -> str:
        """The name of the arq function of this lane."""
        return f"{self.name.lower()}_job"

    def arq_id(self, job_id: UUID) -> str:
        """Return the arq id of the delivery of this job or webhook message."""
        return f"{self.name.lower()}:{job_id}"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery: a job, a lane, and a delay by Redis's clock."""

    job_id: UUID
    """In the webhook lane, the id of the webhook message."""
    lane: Lane
    delay_ms: float = 0
    """A negative delay means overdue. Overdue deliveries are claimed first."""


def serialize(value: dict[str, Any]) -> bytes:
    """Encode a dictionary of arq as JSON. Unlike pickle, decoding cannot run code."""
    return orjson.dumps(value, default=repr)


def deserialize(data: bytes) -> dict[str, Any]:
    """Decode a result of `serialize`."""
    return cast("dict[str, Any]", orjson.loads(data))


def lease_and_rerun_keys(arq_id: str) -> tuple[str, str]:
    """Return the key of the lease of a delivery, and the key that makes it run once more."""
    return in_progress_key_prefix + arq_id, RERUN_KEY_PREFIX + arq_id


def _payload_around_id(lane: Lane, time_ms: int) -> list[bytes]:
    """Return arq's payload as the parts before and after the job id."""
    payload = serialize_job(
        lane.function, (_ID_PLACEHOLDER,), {}, None, time_ms, serializer=serialize
    )
    return payload.split(_ID_PLACEHOLDER.encode())


def local_now_ms() -> int:
    """Return this machine's time in milliseconds. It may be wrong. Due times use Redis's clock."""
    return int(time.time() * 1000)


def open_redis(url: str, *, connections: int = 50) -> ArqRedis:
    """Return a client for that URL. It connects at the first command.

    Raises `ConfigurationError` for a URL that cannot be read.
    """
    try:
        read = read_redis_url(url)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    return ArqRedis(
        cast("ConnectionPool", open_pool(read, connections=connections)),
        job_serializer=serialize,
        job_deserializer=deserialize,
        default_queue_name=Lane.SUBMIT.value,
        expires_extra_ms=PAYLOAD_TTL_MS,
    )


@asynccontextmanager
async def connect_redis(
    url: str, *, connections: int = 50, checks_server: bool = False
) -> AsyncIterator[ArqRedis]:
    """Open a client. Closes the client and its pool at the end.

    With `checks_server` the server is checked as `check_server_at_start` does.
    """
    redis = open_redis(url, connections=connections)
    try:
        if checks_server:
            await check_server_at_start(redis)
        yield redis
    finally:
        await cast("ReconnectingPool", redis.connection_pool).close()


class DeliveryQueue:
    """Adds deliveries to arq's queues, and publishes changes of jobs."""

    def __init__(self, redis: ArqRedis) -> None:
        self.redis = redis
        self._deliver_script = redis.register_script(load_script("shared", "deliver").source)
        self._make_due_now_script = redis.register_script(
            load_script("shared", "make_due_now").source
        )
        self._probe_script = redis.register_script(load_script("shared", "write_probe").source)

    async def deliver(
        self,
        deliveries: Sequence[Delivery],
        *,
        changes: Sequence[Change] = (),
        rerun_if_running: bool = False,
        others_wait: bool = False,
    ) -> None:
        """Add these deliveries. Existing deliveries are not changed. Raises `RedisDown`.

        Writes the same keys as arq's `enqueue_job`, in one round trip per 500 deliveries. The same
        script publishes `changes`. With `rerun_if_running`, a delivery that is running now runs
        once more afterwards, because its run may have read older data. With `others_wait`, workers
        are told that jobs wait in Postgres to be chosen.
        """
        with translated_redis_errors():
            length = max(len(deliveries), len(changes))
            for start in range(0, length, DELIVERIES_PER_SCRIPT):
                page = slice(start, start + DELIVERIES_PER_SCRIPT)
                await self._deliver_page(
                    deliveries[page],
                    changes[page],
                    rerun_if_running=rerun_if_running,
                    others_wait=others_wait and start + DELIVERIES_PER_SCRIPT >= length,
                )

    async def _deliver_page(
        self,
        deliveries: Sequence[Delivery],
        changes: Sequence[Change],
        *,
        rerun_if_running: bool,
        others_wait: bool,
    ) -> None:
        time_ms = local_now_ms()
        groups: dict[tuple[Lane, float], list[str]] = {}
        for delivery in deliveries:
            groups.setdefault((delivery.lane, delivery.delay_ms), []).append(str(delivery.job_id))
        keys = [WAKE_UP_CHANNEL, CHANGES_CHANNEL]
        arguments: list[str | float | bytes] = [
            # A lane with deliveries claims twice a second, which finds later ones in time.
            WAKE_UP_WINDOW_MS,
            encode_changes(changes),
            "1" if rerun_if_running else "",
            RERUN_TTL_MS,
            JOBS_WAIT if others_wait else "",
        ]
        for (lane, delay_ms), job_ids in groups.items():
            keep_ms = int(max(delay_ms, 0)) + PAYLOAD_TTL_MS
            keys.append(lane.value)
            name = f"{lane.name.lower()}:"
            for job_id in job_ids:
                keys.append(job_key_prefix + name + job_id)
                if rerun_if_running:
                    keys += lease_and_rerun_keys(name + job_id)
            arguments += [lane.value, name, *_payload_around_id(lane, time_ms)]
            arguments += [keep_ms, delay_ms, "".join(job_ids)]
        await self._deliver_script(keys=keys, args=arguments)

    async def make_due_now(self, job_id: UUID, lane: Lane) -> None:
        """Make an existing delivery due now. A running delivery runs once more afterwards.

        Raises `RedisDown`.
        """
        arq_id = lane.arq_id(job_id)
        with translated_redis_errors():
            await self._make_due_now_script(
                keys=[lane.value, RERUN_KEY_PREFIX + arq_id, WAKE_UP_CHANNEL],
                args=[arq_id, RERUN_TTL_MS, lane.value],
            )

    async def find_missing(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Return the deliveries that are not in Redis. Raises `RedisDown`."""
        lacking: list[Delivery] = []
        with translated_redis_errors():
            for lane in Lane:
                wanted = [delivery for delivery in deliveries if delivery.lane is lane]
                if not wanted:
                    continue
                ids = [lane.arq_id(delivery.job_id) for delivery in wanted]
                scores = await self.redis.zmscore(lane.value, ids)
                lacking += [
                    delivery
                    for delivery, score in zip(wanted, scores, strict=True)
                    if score is None
                ]
        return lacking

    async def publish_changes(self, changes: Sequence[Change]) -> None:
        """Publish that these jobs have new events. Raises `RedisDown`."""
        with translated_redis_errors():
            await self.redis.publish(CHANGES_CHANNEL, encode_changes(changes))

    async def ping(self) -> None:
        """Raise `RedisDown` if the server does not reply or refuses writes."""
        with translated_redis_errors():
            await self._probe_script(keys=[WRITE_PROBE_KEY, ARQ_PROBE_KEY], args=[PROBE_TTL_MS])
