"""A start without a server: it ends where Postgres is away, and at once when it is told to stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

import pytest

from tests.acceptance.cli.cli_program import Darkroom
from tests.support.deployment import WAIT_SECONDS

STOPPED_WITHIN_SECONDS = 1.0


class SilentServer:
    """A server that accepts connections, and answers nothing."""

    def __init__(self) -> None:
        self.port = 0
        self.asked = asyncio.Event()
        self._closed = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[SilentServer]:
        async with await asyncio.start_server(self._accept, "127.0.0.1", 0) as server:
            self.port = int(server.sockets[0].getsockname()[1])
            yield self
            self._closed.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        self.asked.set()
        await self._closed.wait()
        writer.close()


@pytest.fixture
async def silent() -> AsyncIterator[SilentServer]:
    async with SilentServer().running() as server:
        yield server


async def stopped(
    darkroom: Darkroom, command: str, silent: SilentServer, number: signal.Signals
) -> tuple[int, str]:
    """Start the command, stop it once it has asked the server. Return its code and stderr."""
    async with darkroom.running(command) as running:
        async with asyncio.timeout(WAIT_SECONDS):
            await silent.asked.wait()
        began = monotonic()
        code = await running.stop(number)
        assert monotonic() - began < STOPPED_WITHIN_SECONDS
        return code, running.err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(
    ("command", "changes"),
    [("worker", {}), ("api", {}), ("worker", {"DATABASE_SCHEMA": "shop"})],
)
async def test_a_service_that_waits_for_a_silent_postgres_stops_at_once(
    darkroom: Darkroom,
    silent: SilentServer,
    command: str,
    changes: dict[str, str],
    number: signal.Signals,
) -> None:
    url = f"postgresql://app@127.0.0.1:{silent.port}/app"
    elsewhere = darkroom.elsewhere(DATABASE_URL=url, **changes)
    code, said = await stopped(elsewhere, command, silent, number)
    assert code == 0, said
    assert "Traceback" not in said
    assert "does not answer" not in said


@pytest.mark.parametrize("command", ["worker", "api"])
async def test_a_start_without_postgres_ends_for_an_orchestrator_to_repeat_it(
    darkroom: Darkroom, command: str
) -> None:
    elsewhere = darkroom.elsewhere(DATABASE_URL="postgresql://app@127.0.0.1:1/app")
    said = await elsewhere.run(command)
    assert said.code == 6
    assert "Postgres does not answer" in said.err


async def test_a_worker_that_waits_for_a_silent_redis_stops_at_once(
    darkroom: Darkroom, silent: SilentServer
) -> None:
    elsewhere = darkroom.elsewhere(REDIS_URL=f"redis://127.0.0.1:{silent.port}")
    code, said = await stopped(elsewhere, "worker", silent, signal.SIGTERM)
    assert code == 0, said
    assert "Traceback" not in said


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("command", ["up", "migrate"])
async def test_a_command_that_waits_for_a_silent_postgres_stops_at_once(
    darkroom: Darkroom, silent: SilentServer, command: str, number: signal.Signals, expected: int
) -> None:
    url = f"postgresql://app@127.0.0.1:{silent.port}/app"
    code, said = await stopped(darkroom.elsewhere(DATABASE_URL=url), command, silent, number)
    assert code == expected, said
    assert "Traceback" not in said
