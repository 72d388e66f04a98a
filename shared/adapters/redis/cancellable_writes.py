"""Writes to Redis so that a cancellation is never lost.

The client writes through `asyncio.wait_for`, which on Python 3.11 drops a cancellation that comes
in the moment in which the write has just ended. The cancelled task then goes on as if nothing had
been asked of it: a deadline around it is gone for good, and a loop that was told to stop goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError


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
