"""When a request is repeated, and after what pause."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from darkroom_client.errors import ApiError, ConnectionFailed

_PASSING_STATUSES = frozenset({408, 429, 502, 503, 504})
_DOUBLINGS_MAX = 5


@dataclass(frozen=True)
class RetryPolicy:
    """How a request is repeated that may be answered soon.

    Repeated are requests that cannot act twice: reads, requests with an idempotency key, uploads
    (the same bytes are the same file) and retries of a job (a job has one). All others are sent
    once.
    """

    tries: int = 6
    """How often a request is sent at most."""
    first_pause_seconds: float = 0.5
    """The pause after the first failure. It doubles with each."""
    longest_retry_after_seconds: float = 60.0
    """If the API asks for a longer pause, the error is raised at once."""
    draw: Callable[[], float] = random.random
    """Returns a number from 0 to 1. It spreads pauses, so that clients do not return together."""

    def pause_seconds(self, error: Exception, failures: int) -> float | None:
        """Return how long to wait after so many failures, or None if the error is to be raised."""
        if failures >= self.tries or not may_pass(error):
            return None
        asked = (error.retry_after_seconds or 0.0) if isinstance(error, ApiError) else 0.0
        if asked > self.longest_retry_after_seconds:
            return None
        doubled = self.first_pause_seconds * 2.0 ** min(failures - 1, _DOUBLINGS_MAX)
        return asked + doubled * (0.2 + 0.8 * self.draw())


def may_pass(error: Exception) -> bool:
    """Return whether the same request may be answered soon."""
    if isinstance(error, ApiError):
        return error.status in _PASSING_STATUSES
    return isinstance(error, ConnectionFailed)
