"""Workers of one database use one Redis, or refuse: real processes, real servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from http import HTTPStatus
from time import monotonic
from urllib.parse import urlsplit

import aiohttp
import asyncpg
import pytest
from arq.connections import ArqRedis
from pydantic import SecretStr

from producer import JobState
from shared.adapters.monitoring.alert_queries import read_system_state
from shared.adapters.redis.deliveries import Delivery, DeliveryQueue, Lane, connect_redis
from shared.adapters.servers import Servers
from shared.domain.alerts.alert_rules import find_alerts
from shared.errors import ConfigurationError
from shared.redis_keys import PRESENCES_KEY
from tests.support.deployment import (
    WAIT_SECONDS,
    Deployment,
    another_database,
    environment,
    eventually,
)
from tests.support.forked_programs import WORKER, start_program
from tests.support.ports import free_port
from tests.support.tcp_relay import TcpRelay, relay_to
from worker.bootstrap import WorkerResources

SELECT_1 = b"SELECT 1\r\n"
KILLED_FOR_SECONDS = 15.0
"""How long a worker that was killed is taken to be alive."""
KILLED_BEFORE_SECONDS = 10.0
"""How long ago a worker of these tests was killed, so that none waits for all of that."""


def other_number(url: str, number: int = 1) -> str:
    """Return the URL of another database number of the same Redis."""
    return f"{url.partition('?')[0]}?db={number}"


@asynccontextmanager
async def over_tcp(url: str) -> AsyncIterator[str]:
    """Serve the Redis of that socket on a port of this machine as well."""
    async with relay_to(urlsplit(url).path) as relay:
        yield f"redis://127.0.0.1:{relay.port}"


async def refusal(deployment: Deployment, **environ: str) -> str:
    """Start a worker that must not start. Return its last output."""
    process = await start_program(WORKER, env={**environment(deployment.settings), **environ})
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            _, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 1, err.decode()
    assert "Traceback" not in err.decode()
    return err.decode()


@asynccontextmanager
async def worker_moved_to_another_redis(
    deployment: Deployment, servers: Servers
) -> AsyncIterator[WorkerResources]:
    """A worker whose REDIS_URL now leads to an empty Redis: a failover that went wrong.

    It has stopped claiming by then.
    """
    path = urlsplit(servers.redis_url).path
    async with relay_to(path) as relay:
        relayed = SecretStr(f"redis://127.0.0.1:{relay.port}")
        async with deployment.worker(redis_url=relayed) as resources:
            assert resources.deps.may_claim()
            await move(relay, path, greeting=SELECT_1)
            await until(lambda: not resources.deps.may_claim(), "it claims no more")
            yield resources


async def move(relay: TcpRelay, path: str, *, greeting: bytes = b"") -> None:
    """Lead the URL of this relay to another server, for every connection from now on."""
    await relay.cut()
    relay.lead_to(path, greeting=greeting)
    await relay.restore()


async def killed_a_while_ago(deployment: Deployment) -> None:
    """Start a worker and kill it, as if it had been `KILLED_BEFORE_SECONDS` ago."""
    async with deployment.worker_process() as worker:
        await worker.kill()
    await deployment.run_sql(
        "UPDATE processes SET started_at = started_at - $1 * interval '1 s',"
        " seen_at = seen_at - $1 * interval '1 s',"
        " redis_seen_at = redis_seen_at - $1 * interval '1 s'",
        KILLED_BEFORE_SECONDS,
    )


async def seen_seconds_ago(deployment: Deployment) -> float:
    """Return how long ago the worker that has been silent for longest was seen."""
    (row,) = await deployment.run_sql(
        "SELECT extract(epoch FROM clock_timestamp() - min(seen_at))::float8 AS age FROM processes"
    )
    return float(row["age"])


async def until(is_so: Callable[[], bool], what: str) -> None:
    """Wait until it is so."""

    async def ask() -> bool:
        return is_so()

    await eventually(ask, what)


async def test_another_database_number_of_the_same_redis_is_another_redis(
    deployment: Deployment, servers: Servers
) -> None:
    async with deployment.worker_process() as first:
        said = await refusal(deployment, REDIS_URL=other_number(servers.redis_url))
        assert "of this database uses another Redis" in said
        assert f"{urlsplit(servers.redis_url).path}/0" in said
        assert f"{urlsplit(servers.redis_url).path}/1" in said
        job = await deployment.ended(await deployment.enqueue())
        assert job.state is JobState.SUCCEEDED
        assert await first.stop() == 0
    # A stopped worker does not block others.
    async with deployment.worker_process(REDIS_URL=other_number(servers.redis_url)):
        pass


async def test_the_same_redis_by_its_socket_and_by_a_port_is_one(
    deployment: Deployment, servers: Servers
) -> None:
    async with (
        over_tcp(servers.redis_url) as by_port,
        deployment.worker_process(),
        deployment.worker_process(REDIS_URL=by_port) as second,
    ):
        assert not any("may have died" in line for line in second.lines)
        assert (await deployment.ended(await deployment.enqueue())).state is JobState.SUCCEEDED


async def test_a_wiped_redis_refuses_no_request(deployment: Deployment) -> None:
    async with deployment.worker() as first, deployment.worker_process():
        await first.deps.delivery_queue.redis.flushall()
        async with deployment.worker_process() as third:
            assert await third.stop() == 0
        for _ in range(2):
            await first.deps.delivery_queue.redis.flushall()
            await eventually(
                lambda: _has_marks(first.deps.delivery_queue.redis, 2), "both have marked it again"
            )
        await first.processes.shared_redis.check()


async def _has_marks(redis: ArqRedis, number: int) -> bool:
    return bool(await redis.zcard(PRESENCES_KEY) >= number)


async def test_workers_killed_with_a_redis_that_is_wiped_are_waited_for(
    deployment: Deployment, servers: Servers
) -> None:
    await killed_a_while_ago(deployment)
    async with connect_redis(servers.redis_url) as redis:
        await redis.flushall()
    async with deployment.worker_process():
        assert await seen_seconds_ago(deployment) > KILLED_FOR_SECONDS
        assert (await deployment.ended(await deployment.enqueue())).state is JobState.SUCCEEDED


async def test_a_worker_that_waits_for_a_dead_one_takes_callbacks_meanwhile(
    deployment: Deployment, servers: Servers
) -> None:
    await killed_a_while_ago(deployment)
    async with connect_redis(servers.redis_url) as redis:
        await redis.flushall()
    port = free_port()

    async def is_answered() -> bool:
        callback = {"code": 200, "data": {"taskId": "task-1"}}
        url = f"http://127.0.0.1:{port}/callbacks/kie/nobodys-token-of-some-length"
        with suppress(aiohttp.ClientConnectorError):
            async with aiohttp.request("POST", url, json=callback) as answer:
                return answer.status == HTTPStatus.NOT_FOUND
        return False

    async with asyncio.TaskGroup() as group:
        opened = asyncio.Event()

        async def run_worker() -> None:
            async with deployment.worker(worker_http_port=port):
                opened.set()

        group.create_task(run_worker())
        await eventually(is_answered, "the receiver looks for the token in Postgres")
        assert not opened.is_set(), "it answers before the worker may claim"


async def test_a_killed_worker_in_the_same_redis_is_not_waited_for(deployment: Deployment) -> None:
    async with deployment.worker_process() as first:
        await first.kill()
    async with deployment.worker_process() as second:
        assert not any("may have died" in line for line in second.lines)


async def test_after_a_kill_another_redis_is_taken_when_the_dead_is_forgotten(
    deployment: Deployment, servers: Servers
) -> None:
    await killed_a_while_ago(deployment)
    async with deployment.worker_process(REDIS_URL=other_number(servers.redis_url)):
        assert await seen_seconds_ago(deployment) > KILLED_FOR_SECONDS


async def test_a_worker_whose_redis_becomes_another_claims_no_more(
    deployment: Deployment, servers: Servers
) -> None:
    async with (
        deployment.worker() as first,
        worker_moved_to_another_redis(deployment, servers) as moved,
    ):
        assert first.deps.may_claim()
        with pytest.raises(ConfigurationError, match="uses another Redis"):
            await moved.processes.shared_redis.check()
        job = await deployment.ended(await deployment.enqueue())
        assert job.state is JobState.SUCCEEDED
        async with connect_redis(other_number(servers.redis_url)) as redis:
            # It adds no deliveries to that Redis, and claims none from it.
            assert await redis.zcard(Lane.SUBMIT) == 0
            await DeliveryQueue(redis).deliver([Delivery(job.id, Lane.SUBMIT)])
            deployment.simulator.set_faults(duration=1.5)
            await deployment.ended(await deployment.enqueue())
            assert await redis.zcard(Lane.SUBMIT) == 1


async def test_the_younger_worker_continues_when_the_older_one_has_stopped(
    deployment: Deployment, servers: Servers
) -> None:
    async with AsyncExitStack() as older:
        await older.enter_async_context(deployment.worker())
        async with worker_moved_to_another_redis(deployment, servers) as moved:
            job = await deployment.enqueue()
            assert (await deployment.ended(job)).state is JobState.SUCCEEDED
            await older.aclose()
            await until(moved.deps.may_claim, "it claims again")
            later = await deployment.ended(await deployment.enqueue())
            assert later.state is JobState.SUCCEEDED


async def test_the_oldest_continues_wherever_its_redis_is(
    deployment: Deployment, servers: Servers
) -> None:
    path = urlsplit(servers.redis_url).path
    async with relay_to(path) as relay:
        relayed = SecretStr(f"redis://127.0.0.1:{relay.port}")
        async with deployment.worker(redis_url=relayed) as oldest, deployment.worker() as younger:
            await move(relay, path, greeting=SELECT_1)
            await until(lambda: not younger.deps.may_claim(), "the younger claims no more")
            assert oldest.deps.may_claim()
            # With the same Redis again, both claim.
            await move(relay, path)
            await until(younger.deps.may_claim, "the younger claims again")
            assert oldest.deps.may_claim()


async def test_a_database_that_was_not_here_first_is_refused(
    deployment: Deployment, servers: Servers
) -> None:
    async with another_database(servers.database_url) as url, deployment.worker_process() as first:
        said = await refusal(deployment, DATABASE_URL=url)
        assert f"({url.rpartition('@')[2]})" not in said, "the other is named, not itself"
        assert "of another database" in said
        assert servers.database_url.rpartition("/")[2] in said
        assert "REDIS_URL of its own" in said
        assert "REDIS_PREFIX of its own" in said
        # Another database number is enough.
        process = {"DATABASE_URL": url, "REDIS_URL": other_number(servers.redis_url)}
        async with deployment.worker_process(**process) as neighbour:
            assert await neighbour.stop() == 0
        assert await first.stop() == 0


async def test_a_copy_of_the_database_is_another_database(
    deployment: Deployment, servers: Servers
) -> None:
    """A restored backup has the same rows: those of processes of long ago."""
    async with deployment.worker_process() as first:
        await first.stop()
    async with another_database(servers.database_url) as url:
        connection = await asyncpg.connect(url)
        for row in await deployment.run_sql("SELECT id, name FROM processes"):
            await connection.execute(
                "INSERT INTO processes (id, kind, name, version, redis)"
                " VALUES ($1, 'worker', $2, '1', 'r')",
                row["id"],
                row["name"],
            )
        await connection.close()
        async with deployment.worker_process():
            assert "of another database" in await refusal(deployment, DATABASE_URL=url)


async def test_of_three_workers_on_two_redises_no_task_is_asked_about_too_often(
    deployment: Deployment, servers: Servers
) -> None:
    """Measured: three workers with a Redis each polled a task five times a second."""
    deployment.simulator.set_faults(duration=3.0)
    urls = [other_number(servers.redis_url, number) for number in (1, 2)]
    async with deployment.worker_process():
        said = await asyncio.gather(*(refusal(deployment, REDIS_URL=url) for url in urls))
        assert all("uses another Redis" in one for one in said)
        jobs = [await deployment.enqueue() for _ in range(10)]
        ended = [await deployment.ended(job) for job in jobs]
    assert {job.state for job in ended} == {JobState.SUCCEEDED}
    deployment.check_paid_once()


async def test_a_worker_whose_redis_is_down_is_no_reference_for_others(
    deployment: Deployment, servers: Servers
) -> None:
    async with relay_to(urlsplit(servers.redis_url).path) as relay:
        relayed = SecretStr(f"redis://127.0.0.1:{relay.port}")
        async with deployment.worker(redis_url=relayed):
            await relay.cut()
            began = monotonic()
            async with deployment.worker_process(REDIS_URL=other_number(servers.redis_url)):
                assert monotonic() - began < KILLED_FOR_SECONDS + 5
            await relay.restore()


async def test_settings_that_must_be_alike_are_compared(deployment: Deployment) -> None:
    """So are the keys of each Kie account, of which nothing is shown."""
    keys = {"KIE_API_KEY": "", "KIE_SUBMITS_PER_10_SECONDS": "7"}
    async with (
        deployment.worker_process(KIE_API_KEY="", KIE_API_KEYS="a=SECRET_1,b=SECRET_2"),
        deployment.worker_process(**keys, KIE_API_KEYS="a=SECRET_3,c=SECRET_2") as second,
    ):

        async def is_told() -> bool:
            told = "\n".join(second.lines)
            return "limits_differ" in told and "keys_differ" in told

        await eventually(is_told, "the second has told it")
        (line,) = (line for line in second.lines if "limits_differ" in line)
        assert "KIE_SUBMITS_PER_10_SECONDS is 7 here, 0 at" in line
        (line,) = (line for line in second.lines if "keys_differ" in line)
        assert "the key of the Kie account a is another at" in line
        assert "the key of the Kie account c is that of b at" in line
        alerts = find_alerts(await read_system_state(deployment.database), None)
        told = {one.subject: one.detail for one in alerts if one.name == "keys_differ"}
        assert told.keys() == {"a", "b and c"}
        assert "b at" in told["b and c"]
        rows = await deployment.run_sql("SELECT * FROM processes")
        for said in (*second.lines, *told.values(), str(rows)):
            assert "SECRET_" not in said
        await second.stop()
        after = find_alerts(await read_system_state(deployment.database), None)
        assert "keys_differ" not in {one.name for one in after}, "of living workers alone"
