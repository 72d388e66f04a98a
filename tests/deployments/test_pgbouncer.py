"""Darkroom behind PgBouncer in transaction mode."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest
from pydantic import SecretStr

from producer import Producer
from shared.adapters.postgres.database import connect_database
from shared.domain.lifecycle import JobState
from shared.errors import RowBusy
from shared.settings import Settings
from tests.acceptance.test_server_defaults import DEFAULTS, set_defaults
from tests.deployments.pgbouncer import running_pgbouncer
from tests.support.database_logins import connected
from tests.support.deployment import Deployment
from worker.simulator import Simulator

JOBS = 12


@pytest.fixture
def pooled_url(database_url: str) -> Iterator[str]:
    """This test's database through PgBouncer, with two connections of the server in all."""
    with running_pgbouncer(database_url, settings={"default_pool_size": "2"}) as url:
        yield url


@pytest.fixture
async def pooled(
    settings: Settings, pooled_url: str, simulator: Simulator
) -> AsyncIterator[Deployment]:
    """A deployment whose producer and workers connect through PgBouncer."""
    changed = settings.model_copy(update={"database_url": SecretStr(pooled_url)})
    async with Producer.connect(changed) as producer, connect_database(pooled_url) as database:
        yield Deployment(changed, producer, database, simulator)


async def test_jobs_of_two_workers_succeed_and_the_books_are_right(pooled: Deployment) -> None:
    await pooled.open_account("acme", 1_000)
    async with pooled.worker(), pooled.worker():
        jobs = await asyncio.gather(*(pooled.enqueue() for _ in range(JOBS)))
        ended = await asyncio.gather(*(pooled.ended(job, 60) for job in jobs))
    assert {job.state for job in ended} == {JobState.SUCCEEDED}
    await pooled.check_invariants_hold()
    pooled.check_paid_once()


@pytest.mark.parametrize("limit", ["0", "900ms"])
async def test_one_connection_of_the_server_carries_two_workers_and_an_api(
    settings: Settings, database_url: str, simulator: Simulator, limit: str
) -> None:
    """Nothing of ours needs a second connection while it has one: that would never end."""
    async with connected(database_url) as direct:
        name = await direct.fetchval("SELECT current_database()")
        await direct.execute(f"""ALTER DATABASE "{name}" SET statement_timeout = '{limit}'""")
    with running_pgbouncer(database_url, settings={"default_pool_size": "1"}) as url:
        changed = settings.model_copy(update={"database_url": SecretStr(url)})
        async with Producer.connect(changed) as producer, connect_database(url) as database:
            pooled = Deployment(changed, producer, database, simulator)
            await pooled.open_account("acme", 1_000)
            async with pooled.api(), pooled.worker(), pooled.worker():
                jobs = await asyncio.gather(*(pooled.enqueue() for _ in range(JOBS)))
                ended = await asyncio.gather(*(pooled.ended(job, 60) for job in jobs))
            assert {job.state for job in ended} == {JobState.SUCCEEDED}
            await pooled.check_invariants_hold()
    pooled.check_paid_once()


async def test_an_order_over_http_succeeds(pooled: Deployment) -> None:
    await pooled.open_account("acme", 1_000)
    order = {
        "account_id": "acme",
        "model": "gpt-4o-image",
        "task": "text-to-image",
        "prompt": "a lighthouse",
        "aspect_ratio": "3:2",
    }
    async with pooled.api() as api, pooled.worker():
        job = (await api.post("/v1/jobs", order)).expect(202)
        ended = (await api.get(f"/v1/jobs/{job['id']}", wait=30)).expect(200)
    assert ended["state"] == "succeeded"


async def test_a_locked_row_is_given_up_in_time_and_the_setting_stays_with_us(
    pooled_url: str, database_url: str
) -> None:
    async with connect_database(database_url) as database:
        await database.fetch_row("create_account", "acme", 0, None)
    stranger = await asyncpg.connect(pooled_url, statement_cache_size=0)
    async with connect_database(pooled_url, lock_timeout_seconds=0.2) as database:
        async with database.pool.acquire() as locking, locking.transaction():
            await locking.execute("SELECT FROM accounts WHERE id = 'acme' FOR UPDATE")
            with pytest.raises(RowBusy):
                async with asyncio.timeout(5):
                    await database.fetch_row(
                        "grant_to_account", "acme", 5, "top-up", False, None, None
                    )
        values = [await stranger.fetchval("SHOW lock_timeout") for _ in range(4)]
        assert set(values) == {"0"}
    await stranger.close()


async def test_statements_are_not_prepared_under_a_name(pooled_url: str) -> None:
    async with connect_database(pooled_url) as database:
        await asyncio.gather(*(database.fetch_row("get_account", "acme") for _ in range(20)))
        counted = "SELECT count(*) FROM pg_prepared_statements WHERE name <> ''"
        assert await database.pool.fetchval(counted) == 0


async def test_a_database_that_demands_serializable_still_runs_our_statements(
    pooled_url: str, database_url: str
) -> None:
    name = database_url.rpartition("/")[2]
    direct = await asyncpg.connect(database_url)
    await direct.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = serializable")
    await direct.close()
    async with connect_database(pooled_url) as database, database.transaction() as queries:
        level = await queries.connection.fetchval("SHOW transaction_isolation")
    assert level == "read committed"


async def test_a_job_lives_under_defaults_that_nobody_expects(
    database_url: str, pooled: Deployment
) -> None:
    # What is read runs without a transaction of its own, so its time is limited by the server.
    limits = ("statement_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout")
    await set_defaults(database_url, leave_out=limits)
    await pooled.database.pool.expire_connections()
    await pooled.open_account("acme", 1_000)
    async with pooled.worker():
        ended = await pooled.ended(await pooled.enqueue(), 60)
        assert ended.state is JobState.SUCCEEDED
    async with pooled.database.transaction() as queries:
        assert await queries.connection.fetchval("SHOW TimeZone") != DEFAULTS["TimeZone"]
    await pooled.check_invariants_hold()
