"""Connects to the node of a Redis Cluster that owns the slot of all our keys.

With a hash tag in REDIS_PREFIX all keys have one slot. Each new connection reads a key: a node that
does not own the slot replies with the node that does. When the slot moves, the old owner refuses
commands, and the pool closes its connections.
"""

from __future__ import annotations

from itertools import cycle
from typing import Any

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError, ResponseError

from shared.adapters.redis.tcp_connection import PlainConnection, TlsConnection
from shared.redis_keys import WRITE_PROBE_KEY
from shared.redis_url.redis_url import Address, RedisUrl

_REDIRECTIONS_MAX = 5
_MOVED = "MOVED "


class _Moved(RedisError):
    """The slot belongs to the node of this address."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        host, _, port = text.split()[2].rpartition(":")
        # Without a host, the node is at the address of the connection.
        self.host, self.port = host, int(port)


class SlotOwner:
    """The owner of the slot, as the newest connection of a pool found it."""

    def __init__(self, url: RedisUrl) -> None:
        self._given = cycle(url.hosts)
        self.address: Address = next(self._given)

    def forget(self) -> None:
        """Start again with the next node of the URL."""
        self.address = next(self._given)


class _OwnerConnection(AbstractConnection):
    """A connection to the owner of the slot."""

    owner: SlotOwner
    host: str
    port: int

    async def connect(self) -> None:
        """Connect if the connection is closed. Follows redirections."""
        if self.is_connected:
            return
        for _ in range(_REDIRECTIONS_MAX):
            self.host, self.port = self.owner.address
            try:
                await super().connect()  # type: ignore[no-untyped-call]
            except _Moved as moved:
                self.owner.address = (moved.host or self.host, moved.port)
            except BaseException:
                self.owner.forget()
                raise
            else:
                return
        self.owner.forget()
        raise RedisError(f"the nodes of the cluster redirected {_REDIRECTIONS_MAX} times")

    async def on_connect(self) -> None:
        """Log in, and check that this node owns the slot."""
        await super().on_connect()
        await self.send_command("EXISTS", WRITE_PROBE_KEY, check_health=False)
        try:
            await self.read_response()
        except ResponseError as error:
            if str(error).startswith(_MOVED):
                raise _Moved(str(error)) from None
            # While a slot moves, its owner says ASK or TRYAGAIN.


class _PlainOwnerConnection(_OwnerConnection, PlainConnection):
    def __init__(self, *, owner: SlotOwner, **options: Any) -> None:
        self.owner = owner
        super().__init__(**options)


class _TlsOwnerConnection(_OwnerConnection, TlsConnection):
    def __init__(self, *, owner: SlotOwner, **options: Any) -> None:
        self.owner = owner
        super().__init__(**options)


def slot_owner_options(url: RedisUrl) -> dict[str, Any]:
    """Return the options of a pool of connections to the owner of the slot."""
    kind = _PlainOwnerConnection if url.tls is None else _TlsOwnerConnection
    return {"connection_class": kind, "owner": SlotOwner(url)}
