"""Limits requests per sliding window over all workers, counted as the provider does: on arrival.

A request arrives between its permit and its answer. So a request without an answer counts as not
arrived, and one with an answer counts for a whole window after it. However long the network takes,
the provider receives at most the limit in any window. A request of a killed worker, which is never
answered, stops counting after a horizon. See docs/decisions/0004.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from itertools import count
from secrets import token_hex
from types import TracebackType

from shared.errors import DarkroomError
from shared.redis_keys import SUBMIT_LOG_PREFIX
from worker.batching.micro_batch import MicroBatch
from worker.batching.redis_scripts import RedisScripts

WINDOW_MARGIN_MS = 25
"""Added to every window. Clocks count whole milliseconds and differ slightly in speed."""
POLL_WINDOW_MS = 1_000
"""The sliding window of Kie's limit on polls of one task."""


class Throttled(DarkroomError):
    """No request may be sent for `wait_seconds`. Nothing was sent."""

    code = "throttled"

    def __init__(self, wait_seconds: float) -> None:
        self.wait_seconds = wait_seconds
        super().__init__(f"throttled for {wait_seconds:.3f} s")


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `requests` in any `window_ms`; 0 requests means no limit."""

    prefix: str
    requests: int
    window_ms: int
    horizon_ms: int
    """How long a request without an answer counts."""

    def key(self, name: str) -> str:
        """Return the Redis key of one log, or an empty string where there is no limit."""
        return f"{self.prefix}:{name}" if self.requests else ""


def poll_limit(per_second: int, request_timeout_seconds: float) -> Limit:
    """The limit of queries: 3 a second for one task by default."""
    horizon_ms = int(request_timeout_seconds * 1000) + 2_000
    return Limit("darkroom:throttle:poll", per_second, POLL_WINDOW_MS, horizon_ms)


def submit_limit(per_10_seconds: int, request_timeout_seconds: float) -> Limit:
    """The limit of submits: 20 per 10 s for one account by default."""
    horizon_ms = int(request_timeout_seconds * 1000) + 12_000
    return Limit(SUBMIT_LOG_PREFIX, per_10_seconds, 10_000, horizon_ms)


@dataclass(frozen=True, slots=True)
class _Request:
    key: str
    id: str
    reservation: str


class Throttle:
    """Gives permits for requests against a limit in Redis. Without Redis it gives none."""

    def __init__(self, scripts: RedisScripts, limit: Limit) -> None:
        self.scripts = scripts
        self.limit = limit
        self._counted_ms = limit.window_ms + WINDOW_MARGIN_MS
        self._acquire_batch: MicroBatch[_Request, int] = MicroBatch(self._acquire_all)
        self._answered_batch: MicroBatch[_Request, int] = MicroBatch(self._mark_all_answered)
        # Each request has its own id, over all processes.
        self._process, self._numbers = token_hex(8), count()

    def permit(self, name: str, reservation_of: str = "") -> AbstractAsyncContextManager[None]:
        """Return a block in which one request is sent. It acquires a permit on entry and marks the
        request as answered on exit.

        `reservation_of` is the delivery for which a claim has reserved a permit. Raises
        `RedisDown`, and `Throttled` with the wait where the limit is reached.
        """
        key = self.limit.key(name)
        if not key:
            return _Permit(self, None)
        request_id = f"{self._process}:{next(self._numbers)}"
        reservation = f"reserved:{reservation_of}" if reservation_of else ""
        return _Permit(self, _Request(key, request_id, reservation))

    async def acquire(self, request: _Request) -> None:
        """Acquire a permit. Raises `Throttled` and `RedisDown`."""
        wait_ms = await self._acquire_batch.send_and_wait(request)
        if wait_ms > 0:
            raise Throttled(wait_ms / 1000)

    def mark_answered(self, request: _Request) -> None:
        """Mark the request as answered. Where that fails, it counts until its horizon."""
        self._answered_batch.send_later(request)

    async def _acquire_all(self, requests: Sequence[_Request]) -> Sequence[int]:
        limit = self.limit
        logs = _LogNumbers()
        items: list[str | int] = []
        for one in requests:
            items += (logs.number_of(one.key), one.id, one.reservation)
        arguments = (limit.requests, limit.horizon_ms, self._counted_ms)
        waits: list[int] = await self.scripts.run("throttle_acquire", logs.keys, arguments, items)
        return waits

    async def _mark_all_answered(self, requests: Sequence[_Request]) -> Sequence[int]:
        logs = _LogNumbers()
        items: list[str | int] = []
        for one in requests:
            items += (logs.number_of(one.key), one.id)
        run = self.scripts.run
        await run("throttle_answered", logs.keys, (self._counted_ms,), items, may_wait=True)
        return [1] * len(requests)


class _LogNumbers:
    """Numbers the logs of one script, from 1. A script is told all keys that it uses."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number_of(self, key: str) -> int:
        return self._numbers.setdefault(key, len(self._numbers) + 1)

    @property
    def keys(self) -> list[str]:
        return list(self._numbers)


class _Permit(AbstractAsyncContextManager[None]):
    """The block in which one request is sent. Without a request there is no limit."""

    __slots__ = ("_request", "_throttle")

    def __init__(self, throttle: Throttle, request: _Request | None) -> None:
        self._throttle = throttle
        self._request = request

    async def __aenter__(self) -> None:
        if self._request is not None:
            await self._throttle.acquire(self._request)

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # A cancelled request may arrive yet, so it counts until its horizon. So does one that
        # cannot be marked as answered: that is slower, and never too fast.
        if self._request is not None and (exc is None or isinstance(exc, Exception)):
            self._throttle.mark_answered(self._request)
