"""The doctor's findings about clocks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from arq.connections import ArqRedis

from producer.doctor.clock_findings import check_clocks
from shared.adapters.postgres.database import Database
from shared.adapters.postgres.server_clock import ServerClock
from shared.adapters.processes.process_records import Process
from shared.adapters.processes.process_registry import ProcessRegistry
from shared.adapters.servers import Servers


def a_clock(ahead_seconds: float) -> ServerClock:
    return ServerClock(local=lambda: datetime.now(UTC) + timedelta(seconds=ahead_seconds))


async def test_workers_whose_clocks_agree_are_counted(database: Database, servers: Servers) -> None:
    finding = await check_clocks(database, servers.redis_url)
    assert finding.ok
    assert finding.detail == "2 clocks differ by less than 5 s"


@pytest.mark.parametrize(
    ("ahead_seconds", "said"), [(1800.0, "1800 s ahead"), (-3600.0, "3600 s behind")]
)
async def test_a_wrong_clock_is_named_with_what_to_do(
    database: Database, redis: ArqRedis, ahead_seconds: float, said: str
) -> None:
    finding = await check_clocks(database, "", a_clock(ahead_seconds))
    assert not finding.ok
    assert f"this machine is {said}" in finding.detail
    assert "NTP" in (finding.fix or "")


async def test_a_worker_whose_clock_is_wrong_is_named(database: Database, redis: ArqRedis) -> None:
    process = Process("worker", redis="r", database="d", name="far:1")
    registry = ProcessRegistry(database, redis, process, clock=a_clock(2400))
    await registry.send_heartbeat()
    await registry.send_heartbeat()
    finding = await check_clocks(database, "")
    assert not finding.ok
    assert "worker far:1 is 2400 s ahead" in finding.detail


async def test_a_redis_that_is_down_is_reported_by_its_own_finding(database: Database) -> None:
    assert (await check_clocks(database, "redis://127.0.0.1:1")).ok
