"""When a message that was not accepted is sent again, and when it is given up: pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

DELAYS_SECONDS = (5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0, 7200.0, 14_400.0, 28_800.0)
"""The delay after each try. After the last of these, the last one repeats."""
RETRY_AFTER_MAX_SECONDS = 3600.0
_JITTER = 0.2


def next_try_at(
    tries: int,
    now: datetime,
    retry_until: datetime,
    *,
    jitter: float,
    asked_seconds: float | None = None,
) -> datetime | None:
    """Return when to send again, or None where the message is given up.

    `tries` have failed. `jitter` is 0 to 1 and lengthens the delay by up to a fifth, so that
    messages that failed together are not sent again together. `asked_seconds` is the delay that the
    receiver asks for: it counts up to an hour where it is longer. The last try is made at
    `retry_until`.
    """
    if now >= retry_until:
        return None
    delay_seconds = DELAYS_SECONDS[min(max(tries, 1), len(DELAYS_SECONDS)) - 1]
    delay_seconds *= 1 + _JITTER * jitter
    if asked_seconds is not None:
        delay_seconds = max(delay_seconds, min(asked_seconds, RETRY_AFTER_MAX_SECONDS))
    return min(now + timedelta(seconds=delay_seconds), retry_until)


def read_retry_after(text: str | None, now: datetime) -> float | None:
    """Return the seconds that a `Retry-After` header asks for, or None where it cannot be read."""
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit() and len(text) <= 9:
        return float(text)
    try:
        retry_at = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if retry_at.tzinfo is None:
        retry_at = retry_at.replace(tzinfo=UTC)
    return max((retry_at - now).total_seconds(), 0.0)
