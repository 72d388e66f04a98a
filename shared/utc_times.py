"""Times in UTC, as all times are stored."""

from __future__ import annotations

from datetime import UTC, datetime

UTC_YEARS = "of the years 1 to 9999 in UTC"
"""What a time must be. Near both ends, one with another timezone has none in UTC."""


def has_utc_time(time: datetime) -> bool:
    """Return whether this time with its timezone can be written in UTC."""
    try:
        time.astimezone(UTC)
    except OverflowError:
        return False
    return True
