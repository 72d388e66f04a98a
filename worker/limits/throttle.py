"""Limits requests per sliding window over all workers, counted as the provider does: on arrival.

A request arrives somewhere between its grant and its answer. So an unanswered request counts as
not yet arrived, and an answered one counts for a whole window after its answer: whatever the
network does in between, the provider sees at most the limit in any window. An unanswered request
of a killed worker stops counting after a horizon. See docs/decisions/0004.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from itertools import count
from secrets import token_hex
from types import TracebackType

from shared.errors import DarkroomError
from worker.batching.micro_batch import MicroBatch
from worker.batching.redis_scripts import RedisScripts

WINDOW_MARGIN_MS = 25
"""Added to every window: clocks tick in whole milliseconds and do not run at quite one speed."""
POLL_WINDOW_MS = 1_000
"""The sliding window of Kie's limit on polls of one task."""


class Throttled(DarkroomError):
    """No request may be sent for this long; nothing was sent."""

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
    """How long a request that was never answered counts."""

    def key(self, name: str) -> str:
        """Return the key of one log, or '' where there is no limit."""
        return f"{self.prefix}:{name}" if self.requests else ""


def poll_limit(per_second: int, request_timeout_seconds: float) -> Limit:
    """Kie: at most 3 queries a second for one task."""
    horizon_ms = int(request_timeout_seconds * 1000) + 2_000
    return Limit("darkroom:throttle:poll", per_second, POLL_WINDOW_MS, horizon_ms)


def submit_limit(per_10_seconds: int, request_timeout_seconds: float) -> Limit:
    """Kie: 20 new generations per 10 s for one account."""
    horizon_ms = int(request_timeout_seconds * 1000) + 12_000
    return Limit("darkroom:throttle:submit", per_10_seconds, 10_000, horizon_ms)


@dataclass(frozen=True, slots=True)
class _Request:
    key: str
    id: str
    reservation: str


class Throttle:
    """Grants requests against a limit kept in Redis. Redis down means wait, never guess."""

    def __init__(self, scripts: RedisScripts, limit: Limit) -> None:
        self.scripts = scripts
        self.limit = limit
        self._counted_ms = limit.window_ms + WINDOW_MARGIN_MS
        self._acquire_batch: MicroBatch[_Request, int] = MicroBatch(self._acquire_all)
        self._answered_batch: MicroBatch[_Request, int] = MicroBatch(self._mark_all_answered)
        # No two requests to Kie may share an id, whichever process they come from.
        self._process, self._numbers = token_hex(8), count()

    def permit(self, name: str, reservation_of: str = "") -> AbstractAsyncContextManager[None]:
        """Send the request inside this block: granted on entry, noted as answered on exit.

        `reservation_of` is the delivery for which a claim has kept a slot. Raises `Throttled` with
        the wait where the limit is reached, and `RedisDown`.
        """
        key = self.limit.key(name)
        if not key:
            return _Permit(self, None)
        request_id = f"{self._process}:{next(self._numbers)}"
        reservation = f"reserved:{reservation_of}" if reservation_of else ""
        return _Permit(self, _Request(key, request_id, reservation))

    async def acquire(self, request: _Request) -> None:
        """Enter a slot. Raises `Throttled` and `RedisDown`."""
        wait_ms = await self._acquire_batch.send_and_wait(request)
        if wait_ms > 0:
            raise Throttled(wait_ms / 1000)

    def mark_answered(self, request: _Request) -> None:
        """Leave a slot; where it cannot be noted, the request counts until its horizon."""
        self._answered_batch.send_later(request)

    async def _acquire_all(self, requests: Sequence[_Request]) -> Sequence[int]:
        limit = self.limit
        items: list[str] = []
        for one in requests:
            items += (one.key, one.id, one.reservation)
        arguments = (limit.requests, limit.horizon_ms, self._counted_ms)
        waits: list[int] = await self.scripts.run("throttle_acquire", (), arguments, items)
        return waits

    async def _mark_all_answered(self, requests: Sequence[_Request]) -> Sequence[int]:
        items: list[str] = []
        for one in requests:
            items += (one.key, one.id)
        await self.scripts.run("throttle_answered", (), (self._counted_ms,), items, may_wait=True)
        return [1] * len(requests)


class _Permit(AbstractAsyncContextManager[None]):
    """The block inside which one request is sent; without a request there is no limit."""

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
        # A cancelled request is cut off, but may arrive yet: it counts until its horizon. So does
        # one whose answer cannot be noted: slower, never too fast.
        if self._request is not None and (exc is None or isinstance(exc, Exception)):
            self._throttle.mark_answered(self._request)
