"""Who may send now: no endpoint, no account and no set of slow endpoints takes all the slots.

One worker's own view, in memory. An endpoint has a few requests in flight at most, and so has a
host, however many endpoints stand on it. An account has half of all slots, however many hosts it
names, and a part of that for endpoints that have not ended a request yet. Endpoints that are slow
share half of all slots. Whoever finds no limit is told when to come back: each such message takes
the next turn in usage, so that ten thousand messages of a dead endpoint come back one after the
other and cost few claims.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count

from shared.errors import DarkroomError

MAX_PER_ENDPOINT = 8
MAX_PER_HOST = 24
MAX_PER_ACCOUNT = 64
"""Of the 128 slots of a worker."""
MAX_UNPROVEN_PER_ACCOUNT = 24
"""Of those, to endpoints that have not ended a request yet: each of them may hang."""
MAX_SLOW_REQUESTS = 64
"""Of those, at most so many for endpoints that are slow."""
SLOW_SECONDS = 2.0
LONGEST_WAIT_SECONDS = 600.0
MAX_UNPROVEN_REQUESTS = 2
"""As many requests may be in flight to an endpoint that has not ended one yet."""
_SHORTEST_WAIT_SECONDS = 0.05
_INITIAL_SECONDS = 0.1
_WEIGHT_OF_NEWEST = 0.3
_MAX_USAGES = 5_000


class ConcurrencyReached(DarkroomError):
    """As many requests are in flight there as may be; `wait_seconds` says when to come back."""

    code = "no_room"

    def __init__(self, wait_seconds: float) -> None:
        self.wait_seconds = wait_seconds
        super().__init__(f"no limit for another request; limit is likely in {wait_seconds:.1f} s")


@dataclass(slots=True)
class _Usage:
    """What is in flight to one endpoint or host, and who waits for it."""

    limit: int
    in_flight: dict[int, float] = field(default_factory=dict)
    """When each request began."""
    average_seconds: float = _INITIAL_SECONDS
    next_return_at: float = 0.0
    is_proven: bool = False

    def is_full(self) -> bool:
        limit = self.limit if self.is_proven else min(self.limit, MAX_UNPROVEN_REQUESTS)
        return len(self.in_flight) >= limit

    def expected_seconds(self, now: float) -> float:
        """Return how long a request takes there; one that hangs says so before it has ended."""
        oldest = min(self.in_flight.values(), default=now)
        return max(self.average_seconds, now - oldest)

    def is_slow(self, now: float) -> bool:
        return self.expected_seconds(now) >= SLOW_SECONDS

    def next_return_seconds(self, now: float) -> float:
        """Take the next turn in usage and return how far off it is."""
        step = self.expected_seconds(now) / self.limit
        self.next_return_at = min(max(self.next_return_at, now) + step, now + LONGEST_WAIT_SECONDS)
        return max(self.next_return_at - now, _SHORTEST_WAIT_SECONDS)

    def end(self, number: int, now: float) -> None:
        took_seconds = now - self.in_flight.pop(number)
        weight = _WEIGHT_OF_NEWEST if self.is_proven else 1.0
        before = self.average_seconds
        self.average_seconds += weight * (took_seconds - before)
        self.is_proven = True
        if self.average_seconds < before and self.next_return_at > now:
            # It has become quicker, so the usage that waits is shorter than it was told to be.
            left_seconds = (self.next_return_at - now) * self.average_seconds / before
            self.next_return_at = now + left_seconds


class SendConcurrency:
    """The turns of one worker."""

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
        """Hold a place of this endpoint, its host and the account for the block, or raise `ConcurrencyReached`.

        The endpoint is named by its URL: two accounts that name the same one share its places.
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
            # A host that hangs on one endpoint may answer at another.
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
