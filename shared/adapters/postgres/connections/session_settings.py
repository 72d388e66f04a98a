"""The settings under which our statements run: of the session, or of each transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import asyncpg

if TYPE_CHECKING:
    from shared.adapters.postgres.database import Connection

_DIRECT = "SELECT 1"
"""What the driver says of a SELECT that returned one row."""


_MEANING = {
    "standard_conforming_strings": "on",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "array_nulls": "on",
    "transform_null_equals": "off",
    "quote_all_identifiers": "off",
}
"""What the text of SQL means and returns."""
_NO_LIMIT = {"idle_in_transaction_session_timeout": "0", "idle_session_timeout": "0"}
_SINCE_17 = {"transaction_timeout": "0"}
_MAJOR_17 = 17


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """Settings of Postgres that do not depend on server, database, role and pooler.

    Our guarded statements are written for READ COMMITTED. A stricter default would make them fail.
    Limits of time are those given here, and else none: the driver cancels what takes too long.
    `default_transaction_read_only` is never changed, because operators use it to stop writes.
    """

    lock_timeout_seconds: float | None = None
    statement_timeout_seconds: float | None = None

    async def set_for_session(self, connection: Connection) -> bool:
        """Set them for the session, in one round trip. Return False if a pooler is between.

        A pooler is found by the process id that was sent at login: it is not that of the server.
        There, nothing is set. In transaction mode a setting would stay on a connection of the
        server that others get next, and be missing on the one that we get.
        """
        values = {"default_transaction_isolation": "read committed", **self._values(connection)}
        named = _set_config(values, is_local=False)
        pid = connection.get_server_pid()
        return await connection.execute(f"SELECT {named} WHERE pg_backend_pid() = {pid}") == _DIRECT

    @asynccontextmanager
    async def transaction(self, connection: Connection) -> AsyncIterator[None]:
        """Open a transaction under these settings: three round trips in all with a statement."""
        local = _set_config(self._values(connection), is_local=True)
        try:
            await connection.execute(f"BEGIN ISOLATION LEVEL READ COMMITTED; SELECT {local}")
            yield
        except Exception:
            with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                await connection.execute("ROLLBACK")
            raise
        except BaseException:
            # Cancelled: to wait for a rollback would hold the caller up.
            connection.terminate()
            raise
        await connection.execute("COMMIT")

    async def set_for_transaction(self, connection: Connection) -> None:
        """Set them until the end of the open transaction, whose isolation is the caller's."""
        local = _set_config(self._values(connection), is_local=True)
        await connection.execute(f"SELECT {local}")

    def _values(self, connection: Connection) -> dict[str, str]:
        values = {
            **_MEANING,
            **_NO_LIMIT,
            "lock_timeout": _milliseconds(self.lock_timeout_seconds),
            "statement_timeout": _milliseconds(self.statement_timeout_seconds),
        }
        is_17 = connection.get_server_version().major >= _MAJOR_17
        return {**values, **_SINCE_17} if is_17 else values


def _milliseconds(seconds: float | None) -> str:
    return str(int((seconds or 0) * 1000))


def _set_config(values: Mapping[str, str], *, is_local: bool) -> str:
    return ", ".join(
        f"set_config('{name}', '{value}', {str(is_local).lower()})"
        for name, value in values.items()
    )
