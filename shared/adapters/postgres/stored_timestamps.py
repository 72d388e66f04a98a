"""Reads moments that Postgres has stored and Python's calendar does not have.

Postgres's timestamptz reaches from 4713 BC to the year 294276, Python's from year 1 to 9999. The
driver cannot read the others, and a row with one would keep all rows read with it from being shown.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shared.adapters.postgres.database import Connection

EARLIEST_TIMESTAMP = datetime(1, 1, 2, tzinfo=UTC)
"""Stands for every moment before it. A day inside the calendar, so that any time zone has it."""
LATEST_TIMESTAMP = datetime(9999, 12, 30, tzinfo=UTC)
"""Stands for every moment after it."""
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


async def clamp_timestamps(connection: Connection) -> None:
    """Make the connection read every timestamptz.

    Timestamps outside Python's range are read as `EARLIEST_TIMESTAMP` or `LATEST_TIMESTAMP`.
    """
    await connection.set_type_codec(
        "timestamptz",
        schema="pg_catalog",
        encoder=_to_stored,
        decoder=_from_stored,
        format="tuple",
    )


def _from_stored(stored: tuple[int]) -> datetime:
    (microseconds,) = stored
    try:
        moment = _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        return LATEST_TIMESTAMP if microseconds > 0 else EARLIEST_TIMESTAMP
    return min(max(moment, EARLIEST_TIMESTAMP), LATEST_TIMESTAMP)


def _to_stored(moment: Any) -> tuple[int]:
    if not isinstance(moment, datetime):
        raise TypeError(f"a datetime is needed, not {type(moment).__name__}")
    return ((moment.astimezone(UTC) - _EPOCH) // _MICROSECOND,)
