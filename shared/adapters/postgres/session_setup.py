"""How sessions of our own pools are set up, whatever the defaults of server, role and pooler."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from shared.adapters.postgres.stored_timestamps import clamp_timestamps
from shared.stored_json import read_stored_json

if TYPE_CHECKING:
    from shared.adapters.postgres.database import Connection


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
