"""The simulator as a process: it writes its address to a file, and stops on a signal."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import orjson
import pytest

from tests.integration.simulator.simulator_client import wait_until
from worker import simulator

ROOT = Path(simulator.__file__).parents[2]


@asynccontextmanager
async def simulator_process(
    ready_file: Path, *arguments: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    environment = os.environ | {"DARKROOM_READY_FILE": str(ready_file), "PYTHONPATH": str(ROOT)}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "worker.simulator",
        *arguments,
        env=environment,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def wait_for_ready(ready_file: Path) -> dict[str, str]:
    await wait_until(ready_file.exists, timeout_seconds=30)
    facts: dict[str, str] = orjson.loads(ready_file.read_bytes())
    return facts


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_tells_where_it_listens_serves_and_stops_cleanly(
    tmp_path: Path, number: signal.Signals
) -> None:
    ready_file = tmp_path / "ready.json"
    async with simulator_process(ready_file, "--api-key", "other", "--seed", "1") as process:
        facts = await wait_for_ready(ready_file)
        assert facts.keys() == {"base_url", "api_key", "pid"}
        assert facts["pid"] == str(process.pid)
        headers = {"Authorization": f"Bearer {facts['api_key']}"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.get(facts["base_url"] + "/api/v1/chat/credit") as response,
        ):
            assert (await response.json())["code"] == 200
        process.send_signal(number)
        async with asyncio.timeout(5):
            _, told = await process.communicate()
        assert process.returncode == 0
        assert told.decode() == f"Kie simulator on {facts['base_url']}, API key other\n"


async def test_a_taken_port_ends_with_1_and_a_way_out(tmp_path: Path) -> None:
    async with simulator_process(tmp_path / "first.json") as _:
        facts = await wait_for_ready(tmp_path / "first.json")
        port = facts["base_url"].rpartition(":")[2]
        async with simulator_process(tmp_path / "second.json", "--port", port) as second:
            async with asyncio.timeout(10):
                _, told = await second.communicate()
            assert second.returncode == 1
            assert b"--port 0 takes any free port" in told
