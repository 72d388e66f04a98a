"""Limits requests per sliding window over all workers, counted as the provider does: on arrival.

A request arrives somewhere between its grant and its answer. So an unanswered request counts as
not yet arrived, and an answered one counts for a whole window after its answer: whatever the
network does in between, the provider sees at most the limit in any window. An unanswered request
of a killed worker stops counting after a horizon. See docs/decisions/0004.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from secrets import token_hex

from shared.errors import DarkroomError
from worker.gathering import Gathering
from worker.scripts import Scripts

GUARD_MS = 25
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

    def __init__(self, scripts: Scripts, limit: Limit) -> None:
        self.scripts = scripts
        self.limit = limit
        self._counted_ms = limit.window_ms + GUARD_MS
        self._grants: Gathering[_Request, int] = Gathering(self._grant)
        self._answers: Gathering[_Request, int] = Gathering(self._note_answers)

    @asynccontextmanager
    async def slot(self, name: str, reserved_for: str = "") -> AsyncIterator[None]:
        """Send the request inside this block: granted on entry, noted as answered on exit.

        `reserved_for` is the delivery for which a claim has kept a slot. Raises `Throttled` with
        the wait where the limit is reached, and `RedisDown`.
        """
        key = self.limit.key(name)
        if not key:
            yield
            return
        request = _Request(key, token_hex(6), f"reserved:{reserved_for}" if reserved_for else "")
        wait_ms = await self._grants.ask(request)
        if wait_ms > 0:
            raise Throttled(wait_ms / 1000)
        try:
            yield
        except Exception:
            self._answers.tell(request)
            raise
        # A cancelled request is cut off, but may arrive yet: it counts until its horizon. So does
        # one whose answer cannot be noted: slower, never too fast.
        self._answers.tell(request)

    async def _grant(self, requests: Sequence[_Request]) -> Sequence[int]:
        limit = self.limit
        arguments: list[str | int] = [limit.requests, limit.horizon_ms, self._counted_ms]
        for one in requests:
            arguments += (one.id, one.reservation)
        waits = await self.scripts.run("grant", [one.key for one in requests], arguments)
        return [int(wait_ms) for wait_ms in waits]

    async def _note_answers(self, requests: Sequence[_Request]) -> Sequence[int]:
        arguments: list[str | int] = [self._counted_ms, *(one.id for one in requests)]
        await self.scripts.run("answered", [one.key for one in requests], arguments)
        return [1] * len(requests)
