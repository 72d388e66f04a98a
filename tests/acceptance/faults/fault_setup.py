"""Causes a fault in a running system, and checks what every output reports.

A fault is a row: how it is caused, which alert it must raise, and words of the alert's text.
Within 15 seconds `/readyz`, `/metrics`, the log, `darkroom doctor` and `darkroom queue` must report
it. Once the fault is over, none of them may report it.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any
from urllib.parse import unquote, urlsplit

import aiohttp
import structlog
from arq.connections import ArqRedis
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from producer import Producer
from shared.adapters.http.http_server import serve_http
from shared.adapters.servers import Servers
from tests.acceptance.cli.cli_program import CommandOutput, Darkroom
from tests.support.deployment import Deployment, eventually
from tests.support.tcp_relay import TcpRelay, relay_to

REPORTED_WITHIN_SECONDS = 15.0
CLEARED_WITHIN_SECONDS = 25.0
LINES_AT_MOST = 6
"""Lines of one incident: its begin, a few changes of its text, its end."""


@dataclass
class FaultSetup:
    """A running system: a worker and an API, each behind a relay to Postgres and one to Valkey."""

    deployment: Deployment
    darkroom: Darkroom
    redis: ArqRedis
    postgres_relay: TcpRelay
    redis_relay: TcpRelay
    outputs: dict[str, aiohttp.ClientSession] = field(default_factory=dict)
    """By process: a client of its HTTP port."""
    lines: list[Any] = field(default_factory=list)
    """What was logged."""
    until_the_end: AsyncExitStack = field(default_factory=AsyncExitStack)
    """Resources of a fault that are closed at the end of the test."""

    async def sql(self, statement: str, *args: Any) -> list[dict[str, Any]]:
        """Run a statement past the relay, as an operator would."""
        return await self.deployment.run_sql(statement, *args)

    async def enqueue(self, times: int = 1, **options: Any) -> None:
        """Enqueue jobs past the relays."""
        for _ in range(times):
            await self.deployment.enqueue(**options)

    async def readyz(self, process: str) -> tuple[int, dict[str, Any]]:
        """Return status and body of `/readyz`."""
        async with self.outputs[process].get("/readyz") as response:
            return response.status, await response.json()

    async def metric(self, process: str, name: str, **labels: str) -> float:
        """Return one sample of `/metrics`."""
        async with self.outputs[process].get("/metrics") as response:
            text = await response.text()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == name and sample.labels == labels:
                    return float(sample.value)
        raise AssertionError(f"{process} has no {name} with {labels}")

    async def alerts(self, process: str) -> list[dict[str, Any]] | None:
        """Return the alerts of a process, or None if it does not know them."""
        told: list[dict[str, Any]] | None = (await self.readyz(process))[1]["alerts"]
        return told


Cause = Callable[[FaultSetup], AbstractAsyncContextManager[None]]


@dataclass(frozen=True)
class Fault:
    """One row: how a fault is caused, and what must be reported."""

    name: str
    alert: str
    """The name of the alert in every output."""
    cause: Cause
    """Causes the fault, and ends it at the end of the block."""
    detail: str
    """Words of the alert's description."""
    fix: str
    """Words of the alert's fix."""
    status: int = 200
    """The status of `/readyz` during the fault."""
    degrades_api: bool = False
    """Whether the API still serves, so that its `/readyz` is 200 and says `degraded`."""
    code: int = 1
    """The exit code of the doctor."""
    processes: tuple[str, ...] = ("worker", "api")
    finding: str | None = None
    """The begin of the doctor's finding, if it is not named after the alert."""
    has_worker: bool = True
    """Whether a worker runs before it is caused."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the processes that differ from those of other tests."""


async def play(setup: FaultSetup, fault: Fault) -> None:
    """Cause the fault, check every output, end it, and check that no output reports it."""
    setup.lines.clear()
    async with fault.cause(setup):
        began = monotonic()
        for process in fault.processes:
            await _is_reported(setup, process, fault, began)
        doctor, queue = await setup.darkroom.run_all(("doctor", "--json"), ("queue", "--json"))
        _check_doctor(doctor, fault)
        _check_queue(queue, fault)
        _check_log(setup, fault)
    await _is_cleared(setup, fault)


async def _is_reported(setup: FaultSetup, process: str, fault: Fault, began: float) -> None:
    async def is_told() -> bool:
        status, body = await setup.readyz(process)
        is_degraded = fault.degrades_api and process == "api"
        if status != (200 if is_degraded else fault.status):
            return False
        if is_degraded != (body["status"] == "degraded"):
            return False
        found = [one for one in body["alerts"] or [] if one["name"] == fault.alert]
        return any(fault.detail in one["detail"] and one["since"] for one in found)

    left_seconds = REPORTED_WITHIN_SECONDS - (monotonic() - began)
    await eventually(is_told, f"{process} reports {fault.alert}", left_seconds)
    (one, *_) = [one for one in await setup.alerts(process) or [] if one["name"] == fault.alert]
    assert fault.fix in one["fix"]
    assert await setup.metric(process, "darkroom_alert", alert=fault.alert) == 1


def _check_doctor(said: CommandOutput, fault: Fault) -> None:
    name = fault.finding or fault.alert.replace("_", " ")
    found = [one for one in said.objects if one["name"].startswith(name)]
    assert found, f"the doctor does not report {name}: {said.out}"
    assert not found[0]["ok"]
    assert fault.detail in found[0]["detail"]
    assert fault.fix in found[0]["fix"]
    assert said.code == fault.code


def _check_queue(said: CommandOutput, fault: Fault) -> None:
    (found, *_) = [one for one in said.object["alerts"] if one["name"] == fault.alert]
    assert fault.detail in found["detail"]
    assert fault.fix in found["fix"]


def _check_log(setup: FaultSetup, fault: Fault) -> None:
    lines = [one for one in setup.lines if one.get("subject", "").startswith(fault.alert)]
    began = [one for one in lines if one["change"] == "began"]
    assert began, f"the log does not report {fault.alert}"
    assert fault.detail in began[0]["error"]
    assert fault.fix in began[0]["fix"]
    assert began[0]["since"]
    assert len(lines) <= LINES_AT_MOST * len(fault.processes), lines


async def _is_cleared(setup: FaultSetup, fault: Fault) -> None:
    for process in fault.processes:

        async def is_cleared(process: str = process) -> bool:
            status, body = await setup.readyz(process)
            told = [one["name"] for one in body["alerts"] or [{"name": None}]]
            return status == 200 and (not body["alerts"] and told == [None])

        await eventually(is_cleared, f"{process} reports no alert", CLEARED_WITHIN_SECONDS)
        assert await setup.metric(process, "darkroom_alert", alert=fault.alert) == 0
    doctor, queue = await setup.darkroom.run_all(("doctor", "--json"), ("queue", "--json"))
    assert [one for one in doctor.objects if not one["ok"]] == []
    assert (doctor.code, queue.code, queue.object["alerts"]) == (0, 0, [])


@asynccontextmanager
async def open_fault_setup(
    deployment: Deployment,
    darkroom: Darkroom,
    redis: ArqRedis,
    *,
    has_worker: bool = True,
    **changes: Any,
) -> AsyncIterator[FaultSetup]:
    """Run a worker and an API behind relays; changes are to their settings."""
    assert deployment.settings.database_url is not None
    assert deployment.settings.redis_url is not None
    database = urlsplit(deployment.settings.database_url.get_secret_value())
    folder = unquote(database.netloc.partition("@")[2].partition(":")[0])
    valkey = urlsplit(deployment.settings.redis_url.get_secret_value()).path
    async with relay_to(f"{folder}/.s.PGSQL.5432") as postgres, relay_to(valkey) as to_redis:
        urls = {
            "database_url": SecretStr(
                f"postgresql://{database.username}@127.0.0.1:{postgres.port}{database.path}"
            ),
            "redis_url": SecretStr(f"redis://127.0.0.1:{to_redis.port}"),
        }
        behind = darkroom.elsewhere(
            **{name.upper(): url.get_secret_value() for name, url in urls.items()}
        )
        setup = FaultSetup(deployment, behind, redis, postgres, to_redis)
        with structlog.testing.capture_logs() as setup.lines:
            async with AsyncExitStack() as processes:
                if has_worker:
                    resources = await processes.enter_async_context(
                        deployment.worker(**urls, **changes)
                    )
                    port = await processes.enter_async_context(
                        serve_http("127.0.0.1", 0, resources.health.routes())
                    )
                    setup.outputs["worker"] = await processes.enter_async_context(
                        aiohttp.ClientSession(f"http://127.0.0.1:{port}")
                    )
                of_api = await processes.enter_async_context(deployment.api(**urls))
                setup.outputs["api"] = of_api.session
                await eventually(workers_alive(setup, int(has_worker)), "the worker is seen")
                async with setup.until_the_end:
                    yield setup


def workers_alive(setup: FaultSetup, count: int) -> Callable[[], Awaitable[bool]]:
    """Return a question: are so many workers alive, as the API shows it?"""

    async def are_alive() -> bool:
        return await setup.metric("api", "darkroom_workers", state="alive") == count

    return are_alive


def is_unknown(value: float) -> bool:
    """Return whether a sample is not a number, which means unknown."""
    return math.isnan(value)


def servers_of(setup: FaultSetup) -> Servers:
    """Return the servers, reached through the relays."""
    environ = setup.darkroom.environ
    return Servers(environ["DATABASE_URL"], environ["REDIS_URL"], None, has_given_database=True)


def producer_of(setup: FaultSetup) -> AbstractAsyncContextManager[Producer]:
    """Return a producer that connects through the relays."""
    return Producer.connect_to(servers_of(setup))
