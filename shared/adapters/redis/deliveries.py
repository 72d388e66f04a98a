"""Delivers jobs through arq: one of the two files that know arq (the other is the worker's claim).

Redis holds nothing that Postgres does not know: a lost delivery is made again by the reconciler,
and a delivery made twice is the same delivery, because its arq id is the job's.
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
from shared.adapters.redis.sentinel import primary_pool
from shared.adapters.tcp_keepalive import tcp_options
from shared.domain.lifecycle import JobState
from shared.redis_keys import (
    ARQ_PROBE_KEY,
    CHANGES_CHANNEL,
    RERUN_KEY_PREFIX,
    WAKE_UP_CHANNEL,
    WRITE_PROBE_KEY,
)
from shared.server_urls import is_sentinel_url, read_sentinel_url

CONNECT_TIMEOUT_SECONDS = 2.0
ANSWER_TIMEOUT_SECONDS = 5.0
DELIVERIES_PER_SCRIPT = 500
"""Deliveries made in one script: Redis does nothing else meanwhile."""
# arq drops a job whose payload has expired. The reconciler would deliver it again; a month makes
# that the exception.
PAYLOAD_TTL_MS = 30 * 24 * 3600 * 1000

WAKE_UP_WINDOW_MS = 500
"""Workers are woken for what is due within this time."""

PROBE_TTL_MS = 60_000

RERUN_TTL_MS = 60_000

_PLACE = "@"


class Lane(StrEnum):
    """The arq queues. The value is the queue's key and the arq function's name follows."""

    SUBMIT = "darkroom:submit"
    POLL = "darkroom:poll"
    WEBHOOK = "darkroom:webhook"

    @property
    def function(self) -> str:
        """The name of the arq function that this lane runs."""
        return f"{self.name.lower()}_job"

    def arq_id(self, job_id: UUID) -> str:
        """Return the id under which arq knows the delivery of this job, or webhook message."""
        return f"{self.name.lower()}:{job_id}"


def lane_of(state: JobState) -> Lane | None:
    """Return the lane in which a job of this state must have a delivery, if any."""
    if state in {JobState.QUEUED, JobState.SUBMITTING}:
        return Lane.SUBMIT
    return Lane.POLL if state is JobState.GENERATING else None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery to make: this job, in this lane, due after a delay that Redis counts."""

    job_id: UUID
    """In the webhook lane, the id of the webhook message."""
    lane: Lane
    delay_ms: int = 0
    """Below 0: it has been due for so long, and comes before what is due later."""


def serialize(value: dict[str, Any]) -> bytes:
    """Encode arq's own dictionaries as JSON: unlike pickle, reading it runs nobody's code."""
    return orjson.dumps(value, default=repr)


def deserialize(data: bytes) -> dict[str, Any]:
    """Decode what `serialize` encoded."""
    return cast("dict[str, Any]", orjson.loads(data))


def _payload_around_id(lane: Lane, moment_ms: int) -> list[bytes]:
    """Return what arq's payload has before the job id and after it."""
    payload = serialize_job(lane.function, (_PLACE,), {}, None, moment_ms, serializer=serialize)
    return payload.split(_PLACE.encode())


def local_now_ms() -> int:
    """Return this machine's time in arq's unit. It may be wrong: no delivery is due by it."""
    return int(time.time() * 1000)


def open_redis(url: str, *, connections: int = 50) -> ArqRedis:
    """Return a client for that URL. Nothing is sent before the first command."""
    options: dict[str, Any] = {
        "max_connections": connections,
        "timeout": ANSWER_TIMEOUT_SECONDS,
        "socket_connect_timeout": CONNECT_TIMEOUT_SECONDS,
        # A peer that is gone without a word must not hang a worker.
        "socket_timeout": ANSWER_TIMEOUT_SECONDS,
        "health_check_interval": 30,
    }
    if not url.startswith("unix:"):  # for Unix sockets the client refuses these
        options |= {"socket_keepalive": True, "socket_keepalive_options": tcp_options()}
    if is_sentinel_url(url):
        pool = primary_pool(read_sentinel_url(url), **options)
    else:
        pool = ReconnectingPool.from_url(url, **options)
    return ArqRedis(
        cast("ConnectionPool", pool),
        job_serializer=serialize,
        job_deserializer=deserialize,
        default_queue_name=Lane.SUBMIT.value,
        expires_extra_ms=PAYLOAD_TTL_MS,
    )


@asynccontextmanager
async def connect_redis(url: str, *, connections: int = 50) -> AsyncIterator[ArqRedis]:
    """Open a client and close it with its pool at the end."""
    redis = open_redis(url, connections=connections)
    try:
        yield redis
    finally:
        await redis.aclose(close_connection_pool=True)


class DeliveryQueue:
    """Puts jobs into arq's queues and spreads the news about them."""

    def __init__(self, redis: ArqRedis) -> None:
        self.redis = redis
        self._deliver_script = redis.register_script(load_script("shared", "deliver").source)
        self._hasten_script = redis.register_script(load_script("shared", "make_due_now").source)
        self._probe_script = redis.register_script(load_script("shared", "write_probe").source)

    async def deliver(
        self,
        deliveries: Sequence[Delivery],
        *,
        changes: Sequence[Change] = (),
        rerun_if_running: bool = False,
    ) -> None:
        """Make these deliveries; those already there stay as they are. Raises `RedisDown`.

        Writes what arq's own `enqueue_job` writes, in one script and round trip per 500. The
        changes are announced by the way. With `rerun_if_running`, what is running now will run
        once more, at once: for what may have changed after that run looked.
        """
        with translated_redis_errors():
            for start in range(0, max(len(deliveries), len(changes)), DELIVERIES_PER_SCRIPT):
                page = slice(start, start + DELIVERIES_PER_SCRIPT)
                await self._deliver_page(deliveries[page], changes[page], rerun_if_running)

    async def _deliver_page(
        self, deliveries: Sequence[Delivery], changes: Sequence[Change], rerun_if_running: bool
    ) -> None:
        moment = local_now_ms()
        groups: dict[tuple[Lane, int], list[str]] = {}
        for delivery in deliveries:
            groups.setdefault((delivery.lane, delivery.delay_ms), []).append(str(delivery.job_id))
        arguments: list[str | int | bytes] = [
            job_key_prefix,
            WAKE_UP_CHANNEL,
            # What is due later is found in time by the look that every lane takes twice a second.
            WAKE_UP_WINDOW_MS,
            CHANGES_CHANNEL if changes else "",
            encode_changes(changes),
            in_progress_key_prefix if rerun_if_running else "",
            RERUN_KEY_PREFIX,
            RERUN_TTL_MS,
        ]
        for (lane, delay_ms), job_ids in groups.items():
            keep_ms = max(delay_ms, 0) + PAYLOAD_TTL_MS
            arguments += [f"{lane.name.lower()}:", *_payload_around_id(lane, moment)]
            arguments += [keep_ms, delay_ms, "".join(job_ids)]
        await self._deliver_script(keys=[lane.value for lane, _ in groups], args=arguments)

    async def make_due_now(self, job_id: UUID, lane: Lane) -> None:
        """Make an existing delivery due now, or again at once where it is running now.

        Raises `RedisDown`.
        """
        arq_id = lane.arq_id(job_id)
        with translated_redis_errors():
            await self._hasten_script(
                keys=[lane.value, RERUN_KEY_PREFIX + arq_id],
                args=[arq_id, RERUN_TTL_MS, WAKE_UP_CHANNEL],
            )

    async def find_missing(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Return those of the parcels that have no delivery in Redis. Raises `RedisDown`."""
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
        """Tell whoever listens that these jobs have new events. Raises `RedisDown`."""
        with translated_redis_errors():
            await self.redis.publish(CHANGES_CHANNEL, encode_changes(changes))

    async def ping(self) -> None:
        """Raise `RedisDown` unless the server answers and takes what is written to it."""
        with translated_redis_errors():
            await self._probe_script(
                keys=[WRITE_PROBE_KEY, ARQ_PROBE_KEY], args=[PROBE_TTL_MS, WRITE_PROBE_KEY]
            )
