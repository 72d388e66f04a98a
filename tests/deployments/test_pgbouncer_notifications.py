"""Notifications of Postgres beside PgBouncer: by a direct URL, in session mode, and lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from time import monotonic

import pytest
from pydantic import SecretStr

from producer import Producer
from producer.doctor.server_findings import check_notifications
from shared.adapters.postgres.connections.notification_check import find_unheard_reason
from shared.adapters.postgres.database import connect_database
from shared.adapters.servers import open_servers
from shared.domain.lifecycle import JobState
from shared.settings import Settings
from tests.deployments.pgbouncer import running_pgbouncer
from tests.fakes.fake_webhook_receiver import receiving
from tests.support.deployment import Deployment, eventually
from worker.bootstrap import WorkerResources
from worker.simulator import Simulator


@pytest.fixture
async def pooled(
    settings: Settings, database_url: str, simulator: Simulator
) -> AsyncIterator[Deployment]:
    """A deployment through PgBouncer in transaction mode."""
    with running_pgbouncer(database_url) as url:
        changed = settings.model_copy(
            update={"database_url": SecretStr(url), "webhooks_allow_loopback": True}
        )
        async with Producer.connect(changed) as producer, connect_database(url) as database:
            yield Deployment(changed, producer, database, simulator)


async def knows_whether_it_listens(worker: WorkerResources) -> None:
    """Wait until the worker listens, or knows that it cannot."""

    async def is_decided() -> bool:
        return worker.deps.metrics.dispatch_pushes.is_open is not None

    await eventually(is_decided, "the worker listens, or knows that it cannot")


async def seconds_to_start(pooled: Deployment, database_url: str, **changes: object) -> float:
    """Return after how many seconds jobs that own transactions enqueue are submitted: the median
    of three.
    """
    await pooled.open_account("acme", 100)
    seconds = []
    async with pooled.worker(**changes) as worker, connect_database(database_url) as direct:
        await knows_whether_it_listens(worker)
        for _ in range(3):
            async with direct.transaction() as queries:
                job = await pooled.enqueue(connection=queries.connection)
            ended = await pooled.ended(job)
            assert ended.state is JobState.SUCCEEDED
            assert ended.submitted_at is not None
            seconds.append((ended.submitted_at - ended.created_at).total_seconds())
    return sorted(seconds)[1]


async def test_a_worker_without_a_direct_url_says_so_once_and_finds_jobs_by_itself(
    pooled: Deployment, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    await seconds_to_start(pooled, database_url)
    said = [line for line in capsys.readouterr().out.splitlines() if "push_connection_lost" in line]
    assert len([line for line in said if "DATABASE_DIRECT_URL" in line]) == 1


async def test_webhooks_come_soon_without_a_direct_url(pooled: Deployment) -> None:
    await pooled.open_account("acme", 100)
    lags = []
    async with receiving() as receiver, pooled.worker() as worker:
        await knows_whether_it_listens(worker)
        for number in range(1, 6):
            await pooled.ended(await pooled.enqueue(webhook_url=receiver.url))
            ended_at = monotonic()
            await receiver.has(number)
            lags.append(receiver.requests[-1].at - ended_at)
    # The reconciler alone finds them after 3.5 s on average, and after 6 s at most.
    assert sorted(lags)[2] < 1.0, lags


async def test_a_worker_with_a_direct_url_starts_the_job_at_once(
    pooled: Deployment, database_url: str
) -> None:
    direct = SecretStr(database_url)
    assert await seconds_to_start(pooled, database_url, database_direct_url=direct) < 1.0


async def test_the_doctor_names_the_setting(pooled: Deployment, database_url: str) -> None:
    async with open_servers(pooled.settings) as servers:
        finding = await check_notifications(servers, pooled.database)
    assert not finding.ok
    assert "DATABASE_DIRECT_URL" in str(finding.fix)
    direct = pooled.settings.model_copy(update={"database_direct_url": SecretStr(database_url)})
    async with open_servers(direct) as servers:
        finding = await check_notifications(servers, pooled.database)
    assert finding.ok


async def test_a_pool_in_session_mode_lets_notifications_through(database_url: str) -> None:
    with running_pgbouncer(database_url, mode="session") as url:
        async with connect_database(url) as database:
            assert await find_unheard_reason(url, database) is None
