"""Connections to Redis that are given up once the server says that it is not the right one.

After a failover the old primary may come back as a replica, and another server stand behind the
same address. The old connections still work, and everything that is written over them is refused:
so a connection on which such an answer came is closed, and the next one reaches who is there now.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from redis.asyncio import BlockingConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import (
    RedisError,
)
from redis.exceptions import TimeoutError as RedisTimeoutError

from shared.adapters.redis.redis_errors import requires_reconnect


class ReconnectingPool(BlockingConnectionPool):
    """A pool that closes a connection on which the server said that it may not be written to."""

    def __init__(self, **options: Any) -> None:
        kind = options.pop("connection_class", None)
        super().__init__(**options)
        self.connection_class = _tracked(kind or self.connection_class)
        self._releasing: set[asyncio.Task[None]] = set()

    async def release(self, connection: AbstractConnection) -> None:
        """Take a connection back. Where one is spoiled, those that are idle lead there as well.

        It is taken back in any case: where this is cancelled, by a task of its own. The client
        would count it as in use for good, and a pool that loses all of them serves nobody.
        """
        try:
            await self._release(connection)
        except asyncio.CancelledError:
            if connection in self._in_use_connections:
                releasing = asyncio.create_task(self._release(connection))
                self._releasing.add(releasing)
                releasing.add_done_callback(self._releasing.discard)
            raise

    async def _release(self, connection: AbstractConnection) -> None:
        if getattr(connection, "is_broken", False):
            connection.is_broken = False  # type: ignore[attr-defined]
            await connection.disconnect()
            await self.disconnect(inuse_connections=False)
        await super().release(connection)


def _tracked(kind: type[AbstractConnection]) -> type[AbstractConnection]:
    """Return that kind of connection, which notes when an answer has spoiled it."""

    class TrackedConnection(CancellableWrites, kind):  # type: ignore[valid-type, misc]
        is_broken = False

        async def read_response(self, *args: Any, **options: Any) -> Any:
            """Read the next answer."""
            try:
                return await super().read_response(*args, **options)
            except RedisError as error:
                self.is_broken = self.is_broken or requires_reconnect(error)
                raise

    return TrackedConnection


class CancellableWrites(AbstractConnection):
    """A connection whose writes end when their task is cancelled. To be mixed into another one."""

    async def send_packed_command(
        self, command: bytes | str | Iterable[bytes], check_health: bool = True
    ) -> None:
        """Write a command that is packed already; connects first where there is no connection."""
        if not self.is_connected:
            await self.connect()  # type: ignore[no-untyped-call]
        elif check_health:
            await self.check_health()  # type: ignore[no-untyped-call]
        parts = [command.encode()] if isinstance(command, str) else command
        parts = [parts] if isinstance(parts, bytes) else parts
        try:
            async with asyncio.timeout(self.socket_timeout or None):
                await self._send_packed_command(parts)
        except TimeoutError:
            await self.disconnect(nowait=True)
            raise RedisTimeoutError("Timeout writing to socket") from None
        except OSError as error:
            await self.disconnect(nowait=True)
            raise RedisConnectionError(f"Error while writing to socket: {error}") from error
        except BaseException:
            # Half a command may have been written: nothing else can follow it.
            await self.disconnect(nowait=True)
            raise
