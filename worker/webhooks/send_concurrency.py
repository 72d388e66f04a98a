"""Limits the webhooks in flight, so that no endpoint, host or account uses all of them.

The limits are those of one worker, in memory. An endpoint has a few requests in flight, and a host
some more, however many endpoints it has. An account has half of all requests, however many hosts it
names, and a part of those for endpoints that have not completed a request yet. Slow endpoints share
half of all requests. A message beyond a limit returns to the queue with a delay. The delays are
spaced, so that ten thousand messages of a dead endpoint return one after the other and cost few
claims.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count

from shared.errors import DarkroomError
from worker.backoff import next_return_at

MAX_PER_ENDPOINT = 8
MAX_PER_HOST = 24
MAX_PER_ACCOUNT = 64
"""Of the 128 requests of a worker."""
MAX_UNPROVEN_PER_ACCOUNT = 24
"""Of those of an account, to endpoints that have not completed a request yet: each may hang."""
MAX_SLOW_REQUESTS = 64
"""Of those of a worker, to slow endpoints."""
SLOW_SECONDS = 2.0
LONGEST_WAIT_SECONDS = 600.0
MAX_UNPROVEN_REQUESTS = 2
"""The most requests in flight to an endpoint that has not completed one yet."""
_SHORTEST_WAIT_SECONDS = 0.05
_INITIAL_SECONDS = 0.1
_WEIGHT_OF_NEWEST = 0.3
_MAX_USAGES = 5_000


class ConcurrencyReached(DarkroomError):
    """A limit is reached. `wait_seconds` is the delay after which to try again."""

    code = "no_room"

    def __init__(self, wait_seconds: float) -> None:
        self.wait_seconds = wait_seconds
        super().__init__(f"the concurrency limit is reached; try again in {wait_seconds:.1f} s")


@dataclass(slots=True)
class _Usage:
    """The requests in flight to one endpoint, host or account, and its limit."""

    limit: int
    in_flight: dict[int, float] = field(default_factory=dict)
    """By number of the request: when it began."""
    average_seconds: float = _INITIAL_SECONDS
    next_return_at: float = 0.0
    is_proven: bool = False

    def is_full(self) -> bool:
        limit = self.limit if self.is_proven else min(self.limit, MAX_UNPROVEN_REQUESTS)
        return len(self.in_flight) >= limit

    def expected_seconds(self, now: float) -> float:
        """Return how long a request takes there. A request that hangs counts before it ends."""
        oldest = min(self.in_flight.values(), default=now)
        return max(self.average_seconds, now - oldest)

    def is_slow(self, now: float) -> bool:
        return self.expected_seconds(now) >= SLOW_SECONDS

    def next_return_seconds(self, now: float) -> float:
        """Take the next return in line. Returns the seconds until then."""
        step = self.expected_seconds(now) / self.limit
        self.next_return_at = next_return_at(
            self.next_return_at,
            earliest=now,
            spacing_seconds=step,
            latest=now + LONGEST_WAIT_SECONDS,
        )
        return max(self.next_return_at - now, _SHORTEST_WAIT_SECONDS)

    def end(self, number: int, now: float) -> None:
        took_seconds = now - self.in_flight.pop(number)
        weight = _WEIGHT_OF_NEWEST if self.is_proven else 1.0
        before = self.average_seconds
        self.average_seconds += weight * (took_seconds - before)
        self.is_proven = True
        if self.average_seconds < before and self.next_return_at > now:
            # The endpoint has become faster, so the messages that wait may return earlier.
            left_seconds = (self.next_return_at - now) * self.average_seconds / before
            self.next_return_at = now + left_seconds


class SendConcurrency:
    """The limits of one worker."""

    def __init__(
        self,
        *,
        per_endpoint: int = MAX_PER_ENDPOINT,
        per_host: int = MAX_PER_HOST,
        per_account: int = MAX_PER_ACCOUNT,
        slow_at_once: int = MAX_SLOW_REQUESTS,
        new_per_account: int = MAX_UNPROVEN_PER_ACCOUNT,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = {
            "endpoint": per_endpoint,
            "host": per_host,
            "account": per_account,
            "new": new_per_account,
        }
        self._slow_at_once = slow_at_once
        self._monotonic = monotonic
        self._usages: dict[tuple[str, str], _Usage] = {}
        self._numbers = count()

    @contextmanager
    def reserve(self, endpoint: str, host: str, account_id: str) -> Iterator[None]:
        """Count one request of this endpoint, its host and its account while the block runs.

        The URL identifies the endpoint: two accounts that name the same one share its limit. Raises
        `ConcurrencyReached`.
        """
        now = self._monotonic()
        names = {"endpoint": endpoint, "host": host, "account": account_id}
        usages = [self._usage(kind, name) for kind, name in names.items()]
        if not usages[0].is_proven:
            usages.append(self._usage("new", account_id))
        full = [usage for usage in usages if usage.is_full()]
        if not full and usages[0].is_slow(now) and self._slow_in_flight(now) >= self._slow_at_once:
            full = usages[:1]
        if full:
            raise ConcurrencyReached(max(usage.next_return_seconds(now) for usage in full))
        number = next(self._numbers)
        for usage in usages:
            usage.in_flight[number] = now
        try:
            yield
        finally:
            for usage in usages:
                usage.end(number, self._monotonic())

    def _usage(self, kind: str, name: str) -> _Usage:
        usage = self._usages.get((kind, name))
        if usage is None:
            self._forget_idle()
            # A host whose one endpoint hangs may answer at another.
            usage = _Usage(self._limits[kind], is_proven=kind != "endpoint")
            self._usages[kind, name] = usage
        return usage

    def _slow_in_flight(self, now: float) -> int:
        return sum(
            len(usage.in_flight)
            for (kind, _), usage in self._usages.items()
            if kind == "endpoint" and usage.in_flight and usage.is_slow(now)
        )

    def _forget_idle(self) -> None:
        if len(self._usages) >= _MAX_USAGES:
            self._usages = {name: usage for name, usage in self._usages.items() if usage.in_flight}
