"""Opens the listen addresses of the API: only loopback until the first API key exists."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from aiohttp import web

from producer.api.access.direct_requests import is_loopback_host
from producer.api.openai_api.openai_errors import refuse_request
from producer.keys.key_store import KeyStore
from shared.adapters.async_tasks import stop_tasks
from shared.adapters.http.http_server import LimitedRunner, listen
from shared.errors import DependencyDown

log = structlog.get_logger(__name__)

LOOPBACK = "127.0.0.1"
_SETTING = "API_PORT"
KEY_CHECK_SECONDS = 1.0
"""The time between two checks for the first key, after which API_HOST is opened."""


class ListenAddresses:
    """Opens and closes the listen addresses of the application."""

    def __init__(self, app: web.Application, host: str, port: int, keys: KeyStore) -> None:
        self._app, self._host, self._port, self._keys = app, host, port, keys

    @asynccontextmanager
    async def open(self, *, drain_seconds: float) -> AsyncIterator[list[str]]:
        """Listen while the block runs. Yields the addresses as `host:port`.

        If the address is not loopback and no key was ever created, only loopback is opened. The
        other address is opened when the first key exists. At the end no new connection is accepted,
        and requests in progress have `drain_seconds` to end. Raises `ConfigurationError` if the
        port is not available.
        """
        runner = build_runner(self._app, drain_seconds=drain_seconds)
        await runner.setup()
        waiting: list[asyncio.Task[None]] = []
        try:
            if is_loopback_host(self._host) or await self._keys.has_any_key():
                await listen(runner, self._host, self._port, settings=_SETTING)
            else:
                await listen(runner, LOOPBACK, self._port, settings=_SETTING)
                port = int(runner.addresses[0][1])
                log.warning(
                    "api_on_loopback_only",
                    wanted=self._host,
                    why="no API key was ever made: darkroom keys create --role admin",
                )
                waiting.append(asyncio.create_task(self._open_after_first_key(runner, port)))
            host = LOOPBACK if waiting else self._host
            yield [f"{host}:{runner.addresses[0][1]}"]
        finally:
            await stop_tasks(waiting)
            await runner.cleanup()

    async def _open_after_first_key(self, runner: web.AppRunner, port: int) -> None:
        while True:
            await asyncio.sleep(KEY_CHECK_SECONDS)
            if await self._has_key():
                break
        for site in list(runner.sites):
            await site.stop()
        await listen(runner, self._host, port, settings=_SETTING)
        log.info("api_opened", http=f"{self._host}:{port}")

    async def _has_key(self) -> bool:
        try:
            return await self._keys.has_any_key()
        except DependencyDown:
            return False


def build_runner(app: web.Application, *, drain_seconds: float) -> LimitedRunner:
    """Return the aiohttp runner of the API."""
    return LimitedRunner(
        app,
        name="api",
        refuse=refuse_request,
        # Cancel the handler of a caller who has disconnected.
        handler_cancellation=True,
        shutdown_timeout=drain_seconds,
    )
