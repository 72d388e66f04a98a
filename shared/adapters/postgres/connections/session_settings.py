"""The settings under which our statements run: of the session, or of each transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import asyncpg

if TYPE_CHECKING:
    from shared.adapters.postgres.database import Connection

_DIRECT = "SELECT 1"
"""What the driver says of a SELECT that returned one row."""


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """Settings of Postgres that do not depend on server, role and pooler.

    Our guarded statements are written for READ COMMITTED. A stricter default would make them fail.
    `default_transaction_read_only` is never changed.
    """

    lock_timeout_seconds: float | None = None

    async def set_for_session(self, connection: Connection) -> bool:
        """Set them for the session, in one round trip. Return False if a pooler is between.

        A pooler is found by the process id that was sent at login: it is not that of the server.
        There, nothing is set. In transaction mode a setting would stay on a connection of the
        server that others get next, and be missing on the one that we get.
        """
        named = ", ".join(
            f"set_config('{name}', '{value}', false)" for name, value in self._values().items()
        )
        pid = connection.get_server_pid()
        return await connection.execute(f"SELECT {named} WHERE pg_backend_pid() = {pid}") == _DIRECT

    @asynccontextmanager
    async def transaction(self, connection: Connection) -> AsyncIterator[None]:
        """Open a transaction under these settings: three round trips in all with a statement."""
        await connection.execute(f"BEGIN ISOLATION LEVEL READ COMMITTED; {self._local_statement}")
        try:
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
        if self._local_statement:
            await connection.execute(self._local_statement)

    @property
    def _local_statement(self) -> str:
        if self.lock_timeout_seconds is None:
            return ""
        return f"SET LOCAL lock_timeout TO {self._lock_timeout_ms}"

    @property
    def _lock_timeout_ms(self) -> int:
        return int((self.lock_timeout_seconds or 0) * 1000)

    def _values(self) -> dict[str, str]:
        values = {"default_transaction_isolation": "read committed"}
        if self.lock_timeout_seconds is not None:
            values["lock_timeout"] = str(self._lock_timeout_ms)
        return values
