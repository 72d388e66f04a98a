"""How sessions of our own pools are set up, whatever the defaults of server, role and pooler."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson

from shared.stored_json import read_stored_json

if TYPE_CHECKING:
    from shared.adapters.postgres.database import Connection


EARLIEST_TIMESTAMP = datetime(1, 1, 2, tzinfo=UTC)
"""Stands for every moment before it. A day inside the calendar, so that any time zone has it."""
LATEST_TIMESTAMP = datetime(9999, 12, 30, tzinfo=UTC)
"""Stands for every moment after it."""
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


async def prepare_connection(
    connection: Connection,
    lock_timeout_seconds: float | None = None,
    *,
    clamps_timestamps: bool = False,
) -> None:
    """Make a connection of our own pool read and write jsonb as objects, and run READ COMMITTED.

    Our statements are guarded for READ COMMITTED; a stricter default would only refuse them. It is
    said here and not at the start of the connection, because poolers refuse parameters there that
    they do not know. Whether the server is read-only is its own affair: that is never overruled.
    """
    settings = "SET default_transaction_isolation TO 'read committed'"
    if lock_timeout_seconds is not None:
        settings += f"; SET lock_timeout TO {int(lock_timeout_seconds * 1000)}"
    await connection.execute(settings)
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        encoder=lambda value: orjson.dumps(value).decode(),
        decoder=read_stored_json,
    )
    if clamps_timestamps:
        await clamp_timestamps(connection)


async def skip_session_reset(_: Connection) -> None:
    """Skip the statement with which the driver resets a session at every return to the pool.

    It would be a second round trip for every statement. Nothing of ours outlives its
    transaction: no session settings, cursors, locks or listeners; an open transaction is rolled
    back by the driver all the same.
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
        moment = _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        return LATEST_TIMESTAMP if microseconds > 0 else EARLIEST_TIMESTAMP
    return min(max(moment, EARLIEST_TIMESTAMP), LATEST_TIMESTAMP)


def _to_stored(moment: Any) -> tuple[int]:
    if not isinstance(moment, datetime):
        raise TypeError(f"a datetime is needed, not {type(moment).__name__}")
    return ((moment.astimezone(UTC) - _EPOCH) // _MICROSECOND,)
