"""Connects to the primary that the Sentinels report.

Each new connection queries the Sentinels, and a connection to a replica is closed. After a failover
new connections therefore reach the new primary without a restart.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from functools import partial
from typing import Any

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from shared.adapters.redis.connection_pool import CancellableWrites
from shared.adapters.redis.redis_errors import NO_SENTINEL_REPLY
from shared.adapters.redis.tcp_connection import PlainConnection, TlsConnection
from shared.redis_url.redis_url import Address, RedisUrl

_ANSWER_SECONDS = 1.0
"""The timeout of one Sentinel. All Sentinels are queried in parallel."""
_REMEMBERED_SECONDS = 0.3
"""How long a result is cached: a pool opens many connections after a failover."""


class _SentinelConnection(CancellableWrites, PlainConnection):
    """A connection to a Sentinel."""


class _TlsSentinelConnection(CancellableWrites, TlsConnection):
    """A connection to a Sentinel over TLS."""


class Sentinels:
    """The Sentinels of one service."""

    def __init__(self, url: RedisUrl) -> None:
        self._url = url
        self._lock = asyncio.Lock()
        self._primary: Address | None = None
        self._asked_at = float("-inf")

    async def primary(self) -> Address:
        """Return the address that most Sentinels report. Raises a `RedisError`."""
        async with self._lock:
            now = asyncio.get_running_loop().time()
            if self._primary is None or now - self._asked_at > _REMEMBERED_SECONDS:
                self._primary = await self._ask_all()
                self._asked_at = asyncio.get_running_loop().time()
            return self._primary

    def forget(self) -> None:
        """Discard the cached address."""
        self._primary = None

    async def _ask_all(self) -> Address:
        votes: Counter[Address] = Counter()
        faults: list[str] = []
        asking = [asyncio.create_task(self._ask(one)) for one in self._url.hosts]
        try:
            for answer in asyncio.as_completed(asking):
                try:
                    address = await answer
                except (RedisError, OSError, TimeoutError) as error:
                    faults.append(str(error) or NO_SENTINEL_REPLY)
                    continue
                votes[address] += 1
                if votes[address] * 2 > len(asking):
                    break
        finally:
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
        if not votes:
            raise RedisConnectionError(
                f"no Sentinel of {self._url.display_address} names a primary: {'; '.join(faults)}"
            )
        return votes.most_common(1)[0][0]

    async def _ask(self, sentinel: Address) -> Address:
        tls = self._url.tls
        kind = _SentinelConnection if tls is None else partial(_TlsSentinelConnection, tls=tls)
        connection = kind(
            host=sentinel[0],
            port=sentinel[1],
            username=self._url.sentinel_username,
            password=self._url.sentinel_password,
            socket_timeout=_ANSWER_SECONDS,
            socket_connect_timeout=_ANSWER_SECONDS,
        )
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await connection.connect()  # type: ignore[no-untyped-call]
                await connection.send_command(
                    "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._url.service
                )
                answer = await connection.read_response()
        finally:
            with suppress(RedisError, OSError, TimeoutError):
                await connection.disconnect(nowait=True)
        if answer is None:
            raise RedisConnectionError(f"it knows no service {self._url.service!r}")
        host, port = answer
        return host.decode(), int(port)


class _PrimaryConnection(AbstractConnection):
    """A connection to the current primary. The pool closes it when the server becomes a replica."""

    sentinels: Sentinels
    host: str
    port: int

    async def connect(self) -> None:
        if self.is_connected:
            return
        self.host, self.port = await self.sentinels.primary()
        try:
            await super().connect()  # type: ignore[no-untyped-call]
        except BaseException:
            self.sentinels.forget()
            raise


class _PlainPrimaryConnection(_PrimaryConnection, PlainConnection):
    def __init__(self, *, sentinels: Sentinels, **options: Any) -> None:
        self.sentinels = sentinels
        super().__init__(**options)


class _TlsPrimaryConnection(_PrimaryConnection, TlsConnection):
    def __init__(self, *, sentinels: Sentinels, **options: Any) -> None:
        self.sentinels = sentinels
        super().__init__(**options)


def primary_options(url: RedisUrl) -> dict[str, Any]:
    """Return the options of a pool of connections to the primary."""
    kind = _PlainPrimaryConnection if url.tls is None else _TlsPrimaryConnection
    return {"connection_class": kind, "sentinels": Sentinels(url)}
