"""How connections of our pools read values, and what a return to the pool does not do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson

from shared.stored_json import read_stored_json

if TYPE_CHECKING:
    from shared.adapters.postgres.database import Connection


EARLIEST_TIMESTAMP = datetime(1, 1, 2, tzinfo=UTC)
"""Replaces all earlier timestamps. One day after the first of Python, for any time zone."""
LATEST_TIMESTAMP = datetime(9999, 12, 30, tzinfo=UTC)
"""Replaces all later timestamps."""
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


async def set_codecs(connection: Connection, *, clamps_timestamps: bool = False) -> None:
    """Set the codecs for jsonb and timestamps. Sends nothing to the server."""
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        encoder=lambda value: orjson.dumps(value).decode(),
        decoder=read_stored_json,
    )
    if clamps_timestamps:
        await clamp_timestamps(connection)


async def skip_session_reset(_: Connection) -> None:
    """Skip the statement by which the driver resets a session when it returns to the pool.

    The reset would add a round trip to every statement. Our sessions have no state that outlives a
    transaction. The driver still rolls back an open transaction.
    """


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
        timestamp = _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        return LATEST_TIMESTAMP if microseconds > 0 else EARLIEST_TIMESTAMP
    return min(max(timestamp, EARLIEST_TIMESTAMP), LATEST_TIMESTAMP)


def _to_stored(timestamp: Any) -> tuple[int]:
    if not isinstance(timestamp, datetime):
        raise TypeError(f"a datetime is needed, not {type(timestamp).__name__}")
    return ((timestamp.astimezone(UTC) - _EPOCH) // _MICROSECOND,)
