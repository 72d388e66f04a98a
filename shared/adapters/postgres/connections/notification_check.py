"""Checks that notifications arrive on a connection, which they do not through every pooler."""

from __future__ import annotations

import asyncio
from secrets import token_hex
from typing import Any

from shared.adapters.postgres.connections.session_settings import SessionSettings
from shared.adapters.postgres.database import (
    CONNECT_TIMEOUT_SECONDS,
    Connection,
    Queries,
    translated_postgres_errors,
)
from shared.adapters.postgres.primary_host import connect_to_primary

ECHO_CHANNEL = "darkroom_echo"
"""The payload is the token of the listener for which it is meant."""
_ECHO_SECONDS = 3.0
NOT_HEARD_THROUGH_POOLER = (
    "notifications do not arrive through the transaction pooler of DATABASE_URL: set"
    " DATABASE_DIRECT_URL to the server itself, or to a pool in session mode"
)
NOT_HEARD = "DATABASE_DIRECT_URL does not lead to the database of DATABASE_URL"


async def find_unheard_reason(url: str, queries: Queries) -> str | None:
    """Return why notifications that `queries` sends do not arrive by that URL. None if they do.

    Raises `PostgresDown` and `DatabaseRefused`.
    """
    with translated_postgres_errors():
        connection = await connect_to_listen(url)
        try:
            return await find_unheard_reason_on(connection, queries)
        finally:
            connection.terminate()


async def connect_to_listen(url: str) -> Any:
    """Return a connection to listen by. It prepares no statements. Raises errors of the driver.

    The limit of idle sessions does not end it: it sends nothing for as long as it lives.
    """
    connection = await connect_to_primary(
        url,
        timeout=CONNECT_TIMEOUT_SECONDS,
        command_timeout=CONNECT_TIMEOUT_SECONDS,
        statement_cache_size=0,
    )
    try:
        await SessionSettings().set_for_session(connection)
    except BaseException:
        connection.terminate()
        raise
    return connection


async def find_unheard_reason_on(
    connection: Connection, queries: Queries, timeout_seconds: float = _ECHO_SECONDS
) -> str | None:
    """Return why notifications do not arrive on this connection within the time, or None."""
    token, heard = token_hex(8), asyncio.Event()

    def note(*notification: object) -> None:
        if notification[-1] == token:
            heard.set()

    await connection.add_listener(ECHO_CHANNEL, note)
    try:
        async with asyncio.timeout(timeout_seconds):
            await queries.fetch("notify_echo", token)
            await heard.wait()
    except TimeoutError:
        pid = connection.get_server_pid()
        is_direct = await connection.fetchval("SELECT pg_backend_pid()") == pid
        return NOT_HEARD if is_direct else NOT_HEARD_THROUGH_POOLER
    finally:
        await connection.remove_listener(ECHO_CHANNEL, note)
    return None
