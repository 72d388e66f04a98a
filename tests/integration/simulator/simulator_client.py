"""A plain HTTP client of the simulator, a callback receiver, and waiting with a deadline."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import Any

import aiohttp
import orjson
from aiohttp import web

from worker.simulator import (
    Durations,
    FaultSwitches,
    Simulator,
    SimulatorConfig,
    running_simulator,
)
from worker.simulator.fault_switch_parser import read_switches, with_switches

FAST = SimulatorConfig(
    create_latency_seconds=0.0,
    poll_latency_seconds=0.0,
    durations=Durations(median_seconds=0.05, sigma=0.0),
    callback_retry_seconds=0.02,
    seed=1,
)


async def wait_until(condition: Callable[[], bool], *, timeout_seconds: float = 5.0) -> None:
    """Return once the condition holds; fail the test when it does not in time."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_seconds} s"
        await asyncio.sleep(0.005)


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer, read to its end."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        parsed: dict[str, Any] = orjson.loads(self.body)
        return parsed


@dataclass(slots=True)
class KieCaller:
    """Calls the simulator over its socket, with the right key."""

    simulator: Simulator
    session: aiohttp.ClientSession

    async def call(
        self, method: str, path: str, body: bytes | BytesIO | None = None, key: str = "sim-key"
    ) -> Answer:
        headers = {"Authorization": f"Bearer {key}", "User-Agent": "tests/1"}
        url = path if path.startswith("http") else self.simulator.base_url + path
        async with self.session.request(method, url, data=body, headers=headers) as response:
            return Answer(response.status, dict(response.headers), await response.read())

    async def create(self, prompt: str = "a lighthouse", /, **fields: object) -> Answer:
        body = orjson.dumps({"prompt": prompt, "size": "1:1", **fields})
        return await self.call("POST", "/api/v1/gpt4o-image/generate", body)

    async def created_id(self, prompt: str = "a lighthouse", /, **fields: object) -> str:
        answer = await self.create(prompt, **fields)
        return str(answer.json()["data"]["taskId"])

    async def poll(self, task_id: str) -> Answer:
        return await self.call("GET", f"/api/v1/gpt4o-image/record-info?taskId={task_id}")

    async def poll_bare(self, task_id: str) -> bytes:
        """Everything that a bare socket receives: aiohttp would quietly poll a second time."""
        host, _, port = self.simulator.base_url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        path = f"/api/v1/gpt4o-image/record-info?taskId={task_id}"
        lines = (f"GET {path} HTTP/1.1", f"Host: {host}", "Authorization: Bearer sim-key", "", "")
        writer.write("\r\n".join(lines).encode())
        try:
            async with asyncio.timeout(5):
                return await reader.read()
        finally:
            writer.close()

    async def finished(self, task_id: str) -> dict[str, Any]:
        await wait_until(lambda: self.simulator.record.outcomes.total() > 0)
        data: dict[str, Any] = (await self.poll(task_id)).json()["data"]
        return data


@asynccontextmanager
async def calling_simulator(
    config: SimulatorConfig = FAST, /, **switches: object
) -> AsyncIterator[KieCaller]:
    """A simulator on a real socket with these faults, and a caller for it."""
    faults = with_switches(FaultSwitches(), read_switches(switches))
    timeout = aiohttp.ClientTimeout(total=5)
    async with (
        running_simulator(replace(config, faults=faults)) as simulator,
        aiohttp.ClientSession(timeout=timeout) as session,
    ):
        yield KieCaller(simulator, session)


@dataclass(slots=True)
class CallbackReceiver:
    """What arrived at the callback address; ``statuses`` are answered in turn, then 200."""

    base_url: str
    statuses: list[int] = field(default_factory=list)
    delay_seconds: float = 0.0
    paths: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"{self.base_url}/callbacks/kie/0123456789abcdef"

    async def receive(self, request: web.BaseRequest) -> web.Response:
        self.paths.append(request.path)
        self.bodies.append(await request.read())
        self.headers.append(dict(request.headers))
        if self.delay_seconds:
            await asyncio.sleep(self.delay_seconds)
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200)


@asynccontextmanager
async def receiving_callbacks() -> AsyncIterator[CallbackReceiver]:
    """A receiver on a real socket."""
    receiver = CallbackReceiver("")
    runner = web.ServerRunner(web.Server(receiver.receive), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield receiver
    finally:
        await runner.cleanup()
