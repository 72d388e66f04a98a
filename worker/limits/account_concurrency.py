"""How many polls of each Kie account run at once in this worker.

The account of a task is known only once its job is read, so the poll lane cannot limit it. A poll
of an account that has reached its limit returns to the queue, and comes again when a place is
likely to be free.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count

from shared.adapters.monitoring.incident_log import incidents
from worker.backoff import next_return_at

LONGEST_WAIT_SECONDS = 30.0
_SHORTEST_SPACING_SECONDS = 0.2
_EVENT = "kie_account_slow"
_MEANING = "its polls wait for each other; those of the other Kie accounts go on"


@dataclass(slots=True)
class _Account:
    in_flight: dict[int, float] = field(default_factory=dict)
    """By number of the poll: when it began."""
    next_return_at: float = 0.0


class AccountConcurrency:
    """The count of one worker, in memory. Without `limit_per_account` there is no limit."""

    def __init__(
        self,
        limit_per_account: int | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limit_per_account = limit_per_account
        self._monotonic = monotonic
        self._accounts: dict[str, _Account] = {}
        self._numbers = count()

    def wait_before_start(self, name: str) -> float:
        """Return 0 where a poll of this account may start, else the seconds after which to try
        again.
        """
        account = self._accounts.get(name)
        if (
            self.limit_per_account is None
            or account is None
            or len(account.in_flight) < self.limit_per_account
        ):
            return 0.0
        now = self._monotonic()
        oldest_seconds = now - min(account.in_flight.values())
        step = max(oldest_seconds, _SHORTEST_SPACING_SECONDS) / self.limit_per_account
        account.next_return_at = next_return_at(
            account.next_return_at,
            earliest=now,
            spacing_seconds=step,
            latest=now + LONGEST_WAIT_SECONDS,
        )
        error = f"{len(account.in_flight)} polls are unanswered, the oldest for a while"
        incidents.record_failure(
            _EVENT, name, error, meaning=_MEANING, oldest_seconds=round(oldest_seconds, 1)
        )
        return max(account.next_return_at - now, step)

    @contextmanager
    def counted(self, name: str) -> Iterator[None]:
        """Count one poll of this account while the block runs."""
        if self.limit_per_account is None:
            yield
            return
        account = self._accounts.setdefault(name, _Account())
        number = next(self._numbers)
        account.in_flight[number] = self._monotonic()
        try:
            yield
        finally:
            del account.in_flight[number]
            if len(account.in_flight) <= self.limit_per_account // 2:
                incidents.record_success(_EVENT, name)
