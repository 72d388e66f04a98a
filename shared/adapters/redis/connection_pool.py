"""A pool that closes connections to a server that is no longer the primary, and all at its end.

After a failover the old primary may return as a replica, while the address leads to another server.
The old connections still work, but the replica refuses all writes. A connection with such a reply
is closed, and a new one reaches the current primary.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from redis.asyncio import BlockingConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from shared.adapters.redis.key_prefix import prefix_keys
from shared.adapters.redis.redis_errors import requires_reconnect


class ReconnectingPool(BlockingConnectionPool):
    """A pool that closes connections whose server has refused writes.

    Every key and channel of a command gets the prefix.
    """

    def __init__(
        self, *, connection_class: type[AbstractConnection], prefix: str = "", **options: Any
    ) -> None:
        super().__init__(**options)
        kind = _tracked(connection_class)
        self.connection_class = _prefixing(kind, prefix) if prefix else kind
        self.prefix = prefix
        self._releasing: set[asyncio.Task[None]] = set()
        self._is_closed = False

    async def close(self) -> None:
        """Close every connection for good, also if this call is cancelled.

        Commands that still wait for a connection, and all later ones, raise redis-py's
        `ConnectionError`.
        """
        self._is_closed = True
        try:
            await self.disconnect()
        finally:
            for connection in [*self._available_connections, *self._in_use_connections]:
                await connection.disconnect(nowait=True)  # which waits for nothing

    async def ensure_connection(self, connection: AbstractConnection) -> None:
        """Connect, unless the pool is closed."""
        if not self._is_closed:
            await super().ensure_connection(connection)
        # It may have been closed meanwhile.
        if self._is_closed:
            raise RedisConnectionError("the pool of connections is closed")

    async def release(self, connection: AbstractConnection) -> None:
        """Return a connection to the pool. With a broken connection all idle ones are closed too.

        The connection is returned even if this call is cancelled, by a separate task. Otherwise
        the pool would count it as in use forever, and could run out of connections.
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
            # A connection that fails to close is still returned: redis-py opens it again.
            with suppress(RedisError, OSError):
                await connection.disconnect()
                await self.disconnect(inuse_connections=False)
            # Reset last, so that a cancelled release closes the connections when it is repeated.
            connection.is_broken = False  # type: ignore[attr-defined]
        if self._is_closed:
            await connection.disconnect(nowait=True)
        await super().release(connection)


def _tracked(kind: type[AbstractConnection]) -> type[AbstractConnection]:
    """Return a subclass of the connection that records replies of a wrong server."""

    class TrackedConnection(CancellableWrites, kind):  # type: ignore[valid-type, misc]
        is_broken = False

        async def read_response(self, *args: Any, **options: Any) -> Any:
            """Read the next reply."""
            try:
                return await super().read_response(*args, **options)
            except RedisError as error:
                self.is_broken = self.is_broken or requires_reconnect(error)
                raise

    return TrackedConnection


def _prefixing(kind: type[AbstractConnection], prefix: str) -> type[AbstractConnection]:
    """Return a subclass of the connection that puts the prefix before every key and channel."""

    class PrefixingConnection(kind):  # type: ignore[valid-type, misc]
        def pack_command(self, *command: Any) -> list[bytes]:
            """Encode a command."""
            packed: list[bytes] = super().pack_command(*prefix_keys(prefix, command))
            return packed

    return PrefixingConnection


class CancellableWrites(AbstractConnection):
    """A mixin: writes of the connection never drop a cancellation.

    redis-py writes inside `asyncio.wait_for`, which on Python 3.11 drops a cancellation that
    arrives just after the write. The cancelled task would continue.
    """

    async def send_packed_command(
        self, command: bytes | str | Iterable[bytes], check_health: bool = True
    ) -> None:
        """Write a packed command. Connects first if the connection is closed."""
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
            # A command may have been written partially, so the connection cannot be used again.
            await self.disconnect(nowait=True)
            raise
