"""Which addresses the API listens on: loopback alone until there is a key to ask for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address

import structlog
from aiohttp import web

from producer.api.wire import Runner
from producer.keys import KeyRing
from shared.adapters.background import stop_tasks
from shared.errors import ConfigurationError, DependencyDown

log = structlog.get_logger(__name__)

LOOPBACK = "127.0.0.1"
LOOK_SECONDS = 1.0
"""How soon after the first key was made the API listens where it was told to."""


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach that address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Doors:
    """Opens the application's addresses and closes them again."""

    def __init__(self, app: web.Application, host: str, port: int, keys: KeyRing) -> None:
        self._app, self._host, self._port, self._keys = app, host, port, keys

    @asynccontextmanager
    async def open(self, *, drain_seconds: float) -> AsyncIterator[list[str]]:
        """Listen for as long as the block lasts; yields the addresses, `host:port`.

        Where the address is not loopback and no key was ever made, only loopback is opened, and
        the other one as soon as there is a key. At the end no new connection is taken, and
        requests under way have that long to end. Raises `ConfigurationError` where the port
        cannot be had.
        """
        runner = Runner(
            self._app,
            access_log=None,
            # A caller who has left is not worked for any longer.
            handler_cancellation=True,
            shutdown_timeout=drain_seconds,
        )
        await runner.setup()
        waiting: list[asyncio.Task[None]] = []
        try:
            if is_loopback(self._host) or await self._keys.is_configured():
                await _listen(runner, self._host, self._port)
            else:
                await _listen(runner, LOOPBACK, self._port)
                port = int(runner.addresses[0][1])
                log.warning(
                    "api_on_loopback_only",
                    wanted=self._host,
                    why="no API key was ever made: darkroom keys create --role admin",
                )
                waiting.append(asyncio.create_task(self._open_when_there_is_a_key(runner, port)))
            host = LOOPBACK if waiting else self._host
            yield [f"{host}:{runner.addresses[0][1]}"]
        finally:
            await stop_tasks(waiting)
            await runner.cleanup()

    async def _open_when_there_is_a_key(self, runner: web.AppRunner, port: int) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if await self._has_key():
                break
        for site in list(runner.sites):
            await site.stop()
        await _listen(runner, self._host, port)
        log.info("api_opened", http=f"{self._host}:{port}")

    async def _has_key(self) -> bool:
        try:
            return await self._keys.is_configured()
        except DependencyDown:
            return False


async def _listen(runner: web.AppRunner, host: str, port: int) -> None:
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on {host}:{port} ({error.strerror or error}): another process has the"
            " port; set API_PORT, or 0 for a free one"
        ) from error
