"""At most 3 queries of one task in any second, counted where they arrive, by many processes."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from time import monotonic

import pytest
from arq.connections import ArqRedis

from tests.integration.worker.bare_lanes import seen
from worker.simulator.sliding_windows import ArrivalWindow

PROGRAM = Path(__file__).with_name("hammer_program.py")
ROOT = Path(__file__).parents[3]
PROCESSES = 3
SECONDS, LONGEST_SECONDS = 5.0, 45.0
ENOUGH = 8
LONGEST_DELAY_SECONDS = 0.6


class FarProvider:
    """Stamps each request when it arrives, which is some time after it was sent.

    The way is as long for the request of a killed process: what is sent is on its way.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self.window = ArrivalWindow(1.0)
        self.ways: set[asyncio.Task[None]] = set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take the requests of one connection."""
        try:
            while await reader.read(1):
                way = asyncio.create_task(self._deliver(writer))
                self.ways.add(way)
                way.add_done_callback(self.ways.discard)
        except ConnectionResetError:
            pass  # its process was killed
        finally:
            writer.close()

    async def _deliver(self, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(self._way_seconds())
        self.window.arrive(monotonic())
        await asyncio.sleep(self._way_seconds() / 4)
        if not writer.is_closing():
            writer.write(b"!")

    def _way_seconds(self) -> float:
        return self._random.random() ** 2 * LONGEST_DELAY_SECONDS


@asynccontextmanager
async def _listening(provider: FarProvider) -> AsyncIterator[int]:
    server = await asyncio.start_server(provider.accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def _hammer_and_kill(
    url: str, port: int, random: Random, has_enough: Callable[[], bool], *options: str
) -> None:
    """Keep some processes at it for `SECONDS`, and kill one of them now and then.

    For longer until `has_enough`, at most `LONGEST_SECONDS`: on a busy machine they need seconds to
    start.
    """

    async def start() -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, str(PROGRAM), url, str(port), *options, env={"PYTHONPATH": str(ROOT)}
        )

    processes = [await start() for _ in range(PROCESSES)]
    try:
        began = monotonic()
        while (past := monotonic() - began) < SECONDS or (
            not has_enough() and past < LONGEST_SECONDS
        ):
            await asyncio.sleep(0.5 + random.random())
            victim = random.randrange(PROCESSES)
            processes[victim].kill()
            await processes[victim].wait()
            processes[victim] = await start()
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
            await process.wait()


@pytest.mark.parametrize(
    ("options", "may_exceed"),
    [((), False), (("--counting-grants",), True)],
    ids=["exact", "mutant-that-counts-grants"],
)
async def test_m8_no_sliding_second_holds_more_than_3_arrivals(
    redis: ArqRedis, embedded_redis_url: str, options: tuple[str, ...], may_exceed: bool
) -> None:
    random = Random(8)
    provider = FarProvider(random)

    def has_enough() -> bool:
        return provider.window.total >= ENOUGH and (not may_exceed or provider.window.worst > 3)

    async with _listening(provider) as port:
        await _hammer_and_kill(embedded_redis_url, port, random, has_enough, *options)
        await seen(lambda: not provider.ways, "all that was sent has arrived")
    assert provider.window.total >= ENOUGH, "hardly anything was asked"
    if may_exceed:
        assert provider.window.worst > 3, "this test would not notice a wrong throttle"
    else:
        assert provider.window.worst <= 3, provider.window.worst
