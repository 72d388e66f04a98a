"""Who may send now: no endpoint, no account and no set of slow endpoints takes all the slots.

One worker's own view, in memory. An endpoint has a few requests in flight at most, and so has a
host, however many endpoints stand on it. An account has half of all slots, however many hosts it
names, and a part of that for endpoints that have not ended a request yet. Endpoints that are slow
share half of all slots. Whoever finds no room is told when to come back: each such message takes
the next turn in line, so that ten thousand messages of a dead endpoint come back one after the
other and cost few claims.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count

from shared.errors import DarkroomError

PER_ENDPOINT = 8
PER_HOST = 24
PER_ACCOUNT = 64
"""Of the 128 slots of a worker."""
NEW_PER_ACCOUNT = 24
"""Of those, to endpoints that have not ended a request yet: each of them may hang."""
SLOW_AT_ONCE = 64
"""Of those, at most so many for endpoints that are slow."""
SLOW_SECONDS = 2.0
LONGEST_WAIT_SECONDS = 600.0
UNPROVEN = 2
"""As many requests may be in flight to an endpoint that has not ended one yet."""
_SHORTEST_WAIT_SECONDS = 0.05
_FIRST_PACE_SECONDS = 0.1
_WEIGHT_OF_NEWEST = 0.3
_LINES_KEPT = 5_000


class NoRoom(DarkroomError):
    """As many requests are in flight there as may be; `wait_seconds` says when to come back."""

    code = "no_room"

    def __init__(self, wait_seconds: float) -> None:
        self.wait_seconds = wait_seconds
        super().__init__(f"no room for another request; room is likely in {wait_seconds:.1f} s")


@dataclass(slots=True)
class _Line:
    """What is in flight to one endpoint or host, and who waits for it."""

    room: int
    in_flight: dict[int, float] = field(default_factory=dict)
    """When each request began."""
    usual_seconds: float = _FIRST_PACE_SECONDS
    next_turn_at: float = 0.0
    is_proven: bool = False

    def is_full(self) -> bool:
        room = self.room if self.is_proven else min(self.room, UNPROVEN)
        return len(self.in_flight) >= room

    def pace_seconds(self, now: float) -> float:
        """Return how long a request takes there; one that hangs says so before it has ended."""
        oldest = min(self.in_flight.values(), default=now)
        return max(self.usual_seconds, now - oldest)

    def is_slow(self, now: float) -> bool:
        return self.pace_seconds(now) >= SLOW_SECONDS

    def turn_in_seconds(self, now: float) -> float:
        """Take the next turn in line and return how far off it is."""
        step = self.pace_seconds(now) / self.room
        self.next_turn_at = min(max(self.next_turn_at, now) + step, now + LONGEST_WAIT_SECONDS)
        return max(self.next_turn_at - now, _SHORTEST_WAIT_SECONDS)

    def end(self, number: int, now: float) -> None:
        took_seconds = now - self.in_flight.pop(number)
        weight = _WEIGHT_OF_NEWEST if self.is_proven else 1.0
        before = self.usual_seconds
        self.usual_seconds += weight * (took_seconds - before)
        self.is_proven = True
        if self.usual_seconds < before and self.next_turn_at > now:
            # It has become quicker, so the line that waits is shorter than it was told to be.
            left_seconds = (self.next_turn_at - now) * self.usual_seconds / before
            self.next_turn_at = now + left_seconds


class Turns:
    """The turns of one worker."""

    def __init__(
        self,
        *,
        per_endpoint: int = PER_ENDPOINT,
        per_host: int = PER_HOST,
        per_account: int = PER_ACCOUNT,
        slow_at_once: int = SLOW_AT_ONCE,
        new_per_account: int = NEW_PER_ACCOUNT,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rooms = {
            "endpoint": per_endpoint,
            "host": per_host,
            "account": per_account,
            "new": new_per_account,
        }
        self._slow_at_once = slow_at_once
        self._monotonic = monotonic
        self._lines: dict[tuple[str, str], _Line] = {}
        self._numbers = count()

    @contextmanager
    def turn(self, endpoint: str, host: str, account_id: str) -> Iterator[None]:
        """Hold a place of this endpoint, its host and the account for the block, or raise `NoRoom`.

        The endpoint is named by its URL: two accounts that name the same one share its places.
        """
        now = self._monotonic()
        names = {"endpoint": endpoint, "host": host, "account": account_id}
        lines = [self._line(kind, name) for kind, name in names.items()]
        if not lines[0].is_proven:
            lines.append(self._line("new", account_id))
        full = [line for line in lines if line.is_full()]
        if not full and lines[0].is_slow(now) and self._slow_in_flight(now) >= self._slow_at_once:
            full = lines[:1]
        if full:
            raise NoRoom(max(line.turn_in_seconds(now) for line in full))
        number = next(self._numbers)
        for line in lines:
            line.in_flight[number] = now
        try:
            yield
        finally:
            for line in lines:
                line.end(number, self._monotonic())

    def _line(self, kind: str, name: str) -> _Line:
        line = self._lines.get((kind, name))
        if line is None:
            self._forget_idle()
            # A host that hangs on one endpoint may answer at another.
            line = _Line(self._rooms[kind], is_proven=kind != "endpoint")
            self._lines[kind, name] = line
        return line

    def _slow_in_flight(self, now: float) -> int:
        return sum(
            len(line.in_flight)
            for (kind, _), line in self._lines.items()
            if kind == "endpoint" and line.in_flight and line.is_slow(now)
        )

    def _forget_idle(self) -> None:
        if len(self._lines) >= _LINES_KEPT:
            self._lines = {name: line for name, line in self._lines.items() if line.in_flight}
