"""Delivers jobs through arq: one of the two files that know arq (the other is the worker's claim).

Redis holds nothing that Postgres does not know: a lost delivery is made again by the reconciler,
and a delivery made twice is the same delivery, because its arq id is the job's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast
from uuid import UUID

import orjson
from arq.connections import ArqRedis
from arq.constants import job_key_prefix
from arq.jobs import serialize_job
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.client import PubSub
from redis.asyncio.connection import ConnectionPool
from redis.exceptions import RedisError

from shared.domain.lifecycle import JobState
from shared.errors import RedisDown

CONNECT_TIMEOUT_SECONDS = 2.0
ANSWER_TIMEOUT_SECONDS = 5.0
PIPELINE_LENGTH = 500
LISTEN_SECONDS = 5.0
"""How long one look for messages lasts where none comes."""
# arq drops a job whose payload has expired. The reconciler would deliver it again; a month makes
# that the exception.
PAYLOAD_TTL_MS = 30 * 24 * 3600 * 1000

HASTEN_PREFIX = "darkroom:hasten:"
HASTEN_TTL_MS = 60_000

WAKE_CHANNEL = "darkroom:wake"
"""A message here says: something may be due now, look."""
END_CHANNEL = "darkroom:ended"
"""A message here is the id of a job that has just become terminal."""


class Lane(StrEnum):
    """The two arq queues. The value is the queue's key and the arq function's name follows."""

    SUBMIT = "darkroom:submit"
    POLL = "darkroom:poll"

    @property
    def function(self) -> str:
        """The name of the arq function that this lane runs."""
        return f"{self.name.lower()}_job"

    def arq_id(self, job_id: UUID) -> str:
        """Return the id under which arq knows this job's delivery in this lane."""
        return f"{self.name.lower()}:{job_id}"


def lane_of(state: JobState) -> Lane | None:
    """Return the lane in which a job of this state must have a delivery, if any."""
    if state in {JobState.QUEUED, JobState.SUBMITTING}:
        return Lane.SUBMIT
    return Lane.POLL if state is JobState.GENERATING else None


@dataclass(frozen=True, slots=True)
class Parcel:
    """One delivery to make: this job, in this lane, not before this moment (epoch, ms)."""

    job_id: UUID
    lane: Lane
    due_ms: int


def serialize(value: dict[str, Any]) -> bytes:
    """Encode arq's own dictionaries as JSON: unlike pickle, reading it runs nobody's code."""
    return orjson.dumps(value, default=repr)


def deserialize(data: bytes) -> dict[str, Any]:
    """Decode what `serialize` encoded."""
    return cast("dict[str, Any]", orjson.loads(data))


def now_ms() -> int:
    """Return the machine's time in arq's unit."""
    return int(time.time() * 1000)


@contextmanager
def translated_redis_errors() -> Iterator[None]:
    """Turn the client's errors into `RedisDown`, with the cause kept."""
    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
        raise RedisDown(f"Redis does not answer: {str(error) or type(error).__name__}") from error


def stop_if_cancelled() -> None:
    """Raise a cancellation that was lost; every loop around Redis needs it to be stoppable.

    The client sends through `asyncio.wait_for`, which before Python 3.12 swallows a cancellation
    that comes at the moment when the sending is done.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def open_redis(url: str, *, connections: int = 50) -> ArqRedis:
    """Return a client for that URL. Nothing is sent before the first command."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=ANSWER_TIMEOUT_SECONDS,
        socket_connect_timeout=CONNECT_TIMEOUT_SECONDS,
        # A peer that is gone without a word must not hang a worker.
        socket_timeout=ANSWER_TIMEOUT_SECONDS,
        health_check_interval=30,
    )
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


class Delivery:
    """Puts jobs into arq's queues and spreads the news about them."""

    def __init__(self, redis: ArqRedis) -> None:
        self.redis = redis

    async def deliver(self, parcels: Sequence[Parcel]) -> None:
        """Make these deliveries; those already there stay as they are. Raises `RedisDown`.

        Writes what arq's own `enqueue_job` writes, with NX instead of WATCH, so that any number
        of deliveries is one round trip per 500.
        """
        with translated_redis_errors():
            for start in range(0, len(parcels), PIPELINE_LENGTH):
                await self._deliver_page(parcels[start : start + PIPELINE_LENGTH])

    async def _deliver_page(self, parcels: Sequence[Parcel]) -> None:
        moment = now_ms()
        async with self.redis.pipeline(transaction=True) as pipe:
            for parcel in parcels:
                arq_id = parcel.lane.arq_id(parcel.job_id)
                payload = serialize_job(
                    parcel.lane.function,
                    (str(parcel.job_id),),
                    {},
                    None,
                    moment,
                    serializer=serialize,
                )
                ttl_ms = max(parcel.due_ms - moment, 0) + PAYLOAD_TTL_MS
                pipe.set(job_key_prefix + arq_id, payload, px=ttl_ms, nx=True)
                pipe.zadd(parcel.lane.value, {arq_id: max(parcel.due_ms, 1)}, nx=True)
            pipe.publish(WAKE_CHANNEL, "")
            await pipe.execute()

    async def hasten(self, job_id: UUID, lane: Lane) -> None:
        """Make an existing delivery due now, or again at once where it is running now.

        Raises `RedisDown`.
        """
        arq_id = lane.arq_id(job_id)
        with translated_redis_errors():
            async with self.redis.pipeline(transaction=True) as pipe:
                pipe.set(HASTEN_PREFIX + arq_id, b"1", px=HASTEN_TTL_MS)
                pipe.zadd(lane.value, {arq_id: now_ms()}, xx=True, lt=True)
                pipe.publish(WAKE_CHANNEL, "")
                await pipe.execute()

    async def missing(self, parcels: Sequence[Parcel]) -> list[Parcel]:
        """Return those of the parcels that have no delivery in Redis. Raises `RedisDown`."""
        lacking: list[Parcel] = []
        with translated_redis_errors():
            for lane in Lane:
                wanted = [parcel for parcel in parcels if parcel.lane is lane]
                if not wanted:
                    continue
                ids = [lane.arq_id(parcel.job_id) for parcel in wanted]
                scores = await self.redis.zmscore(lane.value, ids)
                lacking += [
                    parcel for parcel, score in zip(wanted, scores, strict=True) if score is None
                ]
        return lacking

    async def announce_ends(self, job_ids: Sequence[UUID]) -> None:
        """Tell whoever waits that these jobs are terminal. Raises `RedisDown`."""
        with translated_redis_errors():
            async with self.redis.pipeline(transaction=False) as pipe:
                for job_id in job_ids:
                    pipe.publish(END_CHANNEL, str(job_id))
                await pipe.execute()

    async def ping(self) -> None:
        """Raise `RedisDown` unless the server answers."""
        with translated_redis_errors():
            await self.redis.ping()


@asynccontextmanager
async def listening(redis: ArqRedis, channel: str) -> AsyncIterator[AsyncIterator[str]]:
    """Subscribe to a channel on a connection of its own; yields its messages.

    Raises `RedisDown`, also from the iteration.
    """
    pubsub = redis.pubsub()
    try:
        with translated_redis_errors():
            await pubsub.subscribe(channel)
        yield _messages(pubsub)
    finally:
        with suppress(RedisError, OSError):
            await pubsub.aclose()  # type: ignore[no-untyped-call]


async def _messages(pubsub: PubSub) -> AsyncIterator[str]:
    while True:
        stop_if_cancelled()
        with translated_redis_errors():
            message = await pubsub.get_message(
                ignore_subscribe_messages=True, timeout=LISTEN_SECONDS
            )
        if message is not None:
            yield message["data"].decode(errors="replace")
