"""Limits how often a login may fail, per address and in total."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable

WINDOW_SECONDS = 60.0
FAILURES_OF_ADDRESS_MAX = 10
FAILURES_MAX = 100


class LoginAttempts:
    """The failed logins of the last minute, in this process.

    A key has 256 random bits, which cannot be guessed. The limits bound the cost of tries. `clock`
    returns seconds and never goes back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: deque[tuple[float, str]] = deque()
        self._of_address: dict[str, int] = {}

    def seconds_until_allowed(self, address: str) -> int | None:
        """Return for how many seconds an attempt of this address is refused, or None."""
        self._forget_old()
        if len(self._failures) >= FAILURES_MAX:
            return self._seconds_until(self._failures[-FAILURES_MAX][0])
        if self._of_address.get(address, 0) < FAILURES_OF_ADDRESS_MAX:
            return None
        own = [at for at, failed in self._failures if failed == address]
        return self._seconds_until(own[-FAILURES_OF_ADDRESS_MAX])

    def record_failure(self, address: str) -> None:
        """Count a failed login of this address."""
        self._failures.append((self._clock(), address))
        self._of_address[address] = self._of_address.get(address, 0) + 1

    def _seconds_until(self, failed_at: float) -> int:
        return max(1, math.ceil(failed_at + WINDOW_SECONDS - self._clock()))

    def _forget_old(self) -> None:
        oldest = self._clock() - WINDOW_SECONDS
        while self._failures and self._failures[0][0] <= oldest:
            _, address = self._failures.popleft()
            left = self._of_address.pop(address) - 1
            if left:
                self._of_address[address] = left
