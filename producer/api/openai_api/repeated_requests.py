"""Recognises a request that an SDK sends again, so that it does not buy images twice.

OpenAI's SDKs send no Idempotency-Key. After a timeout, a broken connection, 408, 409, 429 or 5xx
they send the same body again, with the number of the retry in `x-stainless-retry-count`. Such a
retry gets the jobs of an equal request of the same account that was placed in the time in which the
first one can have been sent. Each job serves each retry number once, so that equal requests that
were sent side by side each get jobs of their own.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import orjson
from aiohttp import web

from producer.client import Producer
from producer.jobs.job_filter import JobFilter
from shared.adapters.monitoring.incident_log import REDIS, incidents
from shared.adapters.redis.redis_errors import translated_redis_errors
from shared.domain.job import Job
from shared.errors import RedisDown

FINGERPRINT_FIELD = "openai_request"
"""The metadata of a job that identifies the request for it."""
RETRY_COUNT = "x-stainless-retry-count"
_TIMEOUT_HEADERS = ("x-stainless-read-timeout", "x-stainless-timeout")
"""The seconds after which the SDK for Python, and that for Node, gives up."""
DEFAULT_TIMEOUT_SECONDS = 600.0
"""The default of both SDKs."""
_PAUSE_SECONDS = 130.0
"""The longest pause of an SDK before a retry is two minutes."""
_WINDOW_SECONDS_MAX = 7_200.0
_RETRIES_MAX = 20
_KEY_PREFIX = "openai-"
_CLAIM_KEY = "darkroom:openai_retry"
_JOBS_READ = 200
_COUNT = re.compile(r"[0-9]{1,3}", re.ASCII)
_SECONDS = re.compile(r"[0-9]{1,6}(\.[0-9]{1,9})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class SentRequest:
    """What is known about the sending of a request."""

    fingerprint: str
    """Equal for equal requests, of whatever account."""
    retry: int
    """0 for the first time."""
    timeout_seconds: float | None
    """After how long the client gives up; None if it does not say so."""

    @property
    def window_seconds(self) -> float:
        """How long ago the first one can have been sent."""
        seconds = (self.timeout_seconds or DEFAULT_TIMEOUT_SECONDS) + _PAUSE_SECONDS
        return min(self.retry * seconds, _WINDOW_SECONDS_MAX)


def read_sent_request(request: web.Request, content: Mapping[str, Any]) -> SentRequest:
    """Return how the request was sent. `content` is what makes two requests equal."""
    text = orjson.dumps([request.path, content], option=orjson.OPT_SORT_KEYS)
    count = request.headers.get(RETRY_COUNT, "")
    timeouts = [
        float(found[0])
        for name in _TIMEOUT_HEADERS
        if (found := _SECONDS.fullmatch(request.headers.get(name, "")))
    ]
    return SentRequest(
        hashlib.sha256(text).hexdigest(),
        min(int(count), _RETRIES_MAX) if _COUNT.fullmatch(count) else 0,
        timeouts[0] if timeouts else None,
    )


def new_key() -> str:
    """Return the idempotency key of a request that has none."""
    return f"{_KEY_PREFIX}{uuid4().hex}"


def key_of_job(key: str, index: int, jobs: int) -> str:
    """Return the idempotency key of one job of a request, as in a batch."""
    return key if jobs == 1 else f"{key}/{index}"


async def find_first_jobs(producer: Producer, account_id: str, sent: SentRequest) -> Sequence[Job]:
    """Return the jobs that the first sending of this retry has placed, or an empty list.

    If Redis is down, equal requests are not told apart: the newest one is returned.
    """
    since = datetime.now(UTC) - timedelta(seconds=sent.window_seconds)
    for key, jobs in (await _find_equal(producer, account_id, sent, since)).items():
        if key.startswith(_KEY_PREFIX) and await _claim(
            producer, f"{_CLAIM_KEY}:{key}:{sent.retry}"
        ):
            return jobs
    return []


async def find_jobs_of_key(
    producer: Producer, account_id: str, sent: SentRequest, key: str
) -> Sequence[Job]:
    """Return the jobs that an equal request with this idempotency key has placed.

    Their images may have other URLs meanwhile, which the enqueue would take for another request.
    """
    return (await _find_equal(producer, account_id, sent, None)).get(key, [])


async def _find_equal(
    producer: Producer, account_id: str, sent: SentRequest, since: datetime | None
) -> dict[str, list[Job]]:
    """Return the jobs of equal requests by idempotency key, the newest request first."""
    where = JobFilter(
        account_id=account_id,
        metadata=(FINGERPRINT_FIELD, sent.fingerprint),
        created_from=since,
    )
    placed: dict[str, list[Job]] = {}
    for job in await producer.list(where, limit=_JOBS_READ):
        key, _, index = (job.idempotency_key or "").rpartition("/")
        is_part = bool(key) and index.isascii() and index.isdecimal()
        whole = key if is_part else job.idempotency_key or ""
        placed.setdefault(whole, []).insert(0, job)
    return placed


async def _claim(producer: Producer, name: str) -> bool:
    """Return whether nobody has claimed this name yet."""
    redis = producer.enqueuer.delivery_queue.redis
    try:
        with translated_redis_errors():
            is_first = await redis.set(name, b"", nx=True, ex=int(_WINDOW_SECONDS_MAX))
    except RedisDown as error:
        incidents.record_outage(error, doing="claim_retry")
        return True
    incidents.record_recovery(REDIS)
    return bool(is_first)
