"""Darkroom on the Redis of this system: TLS with an ACL user, Sentinel, and a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from pydantic import SecretStr

from producer import JobState, Producer
from producer.doctor.redis_findings import check_redis
from shared.adapters.servers import Servers
from shared.redis_url.redis_url import with_prefix
from tests.acceptance.test_redis_cluster import run_jobs_while_the_slot_moves
from tests.deployments.programs import require_program, running_program
from tests.failover.failover_servers import ServerPrograms
from tests.failover.valkey_pair import ValkeyPair
from tests.support.deployment import Deployment, eventually, text_to_image
from tests.support.ports import port_for_restarts
from tests.support.redis_rules import documented_rules
from tests.support.tls_server import CA_FILE, CERTIFICATE_FILE, KEY_FILE

PREFIX = "shop:"


class SystemRedis(ServerPrograms):
    """Runs the Redis of this system instead of the embedded Valkey."""

    def valkey_server(self) -> str:
        """Return the path of the program."""
        return require_program("redis-server")


@contextmanager
def redis_with_tls(folder: Path) -> Iterator[str]:
    """Run a Redis over TLS alone, with the documented user alone. Yields its URL."""
    port = port_for_restarts()
    rules = " ".join(documented_rules(PREFIX))
    lines = {
        "port": "0",
        "tls-port": str(port),
        "tls-cert-file": str(CERTIFICATE_FILE),
        "tls-key-file": str(KEY_FILE),
        "tls-ca-cert-file": str(CA_FILE),
        "tls-auth-clients": "no",
        "save": '""',
        "dir": str(folder),
        "user": f"darkroom-app {rules}",
    }
    file = folder / "redis.conf"
    file.write_text(
        "".join(f"{name} {value}\n" for name, value in lines.items()) + "user default off\n"
    )
    with running_program([require_program("redis-server"), str(file)], folder / "log", port=port):
        yield f"rediss://darkroom-app:PASSWORD@localhost:{port}/0?ssl_ca_certs={CA_FILE}"


@asynccontextmanager
async def client_of(servers: Servers, redis_url: str) -> AsyncIterator[Producer]:
    """A producer over that Redis, with the account `shop`."""
    async with Producer.connect_to(replace(servers, redis_url=redis_url)) as producer:
        await producer.billing.create_account("shop")
        await producer.billing.grant("shop", Decimal(1_000), "for the test")
        yield producer


async def run_jobs(producer: Producer, count: int = 3) -> None:
    """Run jobs to their end."""
    jobs = [await producer.enqueue(text_to_image(f"{n}"), account_id="shop") for n in range(count)]
    ended = [await producer.wait(job.id, timeout_seconds=60) for job in jobs]
    assert {job.state for job in ended} == {JobState.SUCCEEDED}


async def test_jobs_run_over_tls_as_the_documented_user_with_a_prefix(
    deployment: Deployment, servers: Servers, tmp_path: Path
) -> None:
    with redis_with_tls(tmp_path) as url:
        changes = {"redis_url": SecretStr(url), "redis_prefix": PREFIX}
        async with (
            deployment.worker_with_callbacks(**changes),
            deployment.api(**changes) as api,
            client_of(servers, with_prefix(url, PREFIX)) as producer,
        ):
            await run_jobs(producer)
            assert (await api.get("/readyz")).status == 200
        findings = [finding async for finding in check_redis(with_prefix(url, PREFIX))]
        assert all(finding.ok for finding in findings), findings
        (fault,) = [one async for one in check_redis(url.replace("localhost", "127.0.0.1"))]
        assert "certificate is not valid for '127.0.0.1'" in fault.detail


async def test_jobs_run_on_through_a_failover_by_sentinels(
    deployment: Deployment, servers: Servers, tmp_path: Path
) -> None:
    pair = ValkeyPair(SystemRedis(tmp_path / "pair", account=None))
    try:
        await pair.start()
        direct = SecretStr(f"redis://127.0.0.1:{pair.primary.port}/0")
        async with (
            deployment.worker(redis_url=SecretStr(pair.url)),
            deployment.api(redis_url=SecretStr(pair.url)) as api,
            deployment.api(redis_url=direct) as direct_api,
            client_of(servers, pair.url) as producer,
        ):
            await run_jobs(producer)
            during = asyncio.create_task(run_jobs(producer, 10))
            await pair.demote_primary()
            await during
            await run_jobs(producer)
            assert (await api.get("/readyz")).status == 200

            async def is_told() -> bool:
                return "READONLY" in str((await direct_api.get("/readyz")).body)

            await eventually(is_told, "an API whose URL names the old primary says so")
    finally:
        await pair.stop()


async def test_jobs_run_in_a_cluster_while_their_slot_moves(
    deployment: Deployment, servers: Servers, tmp_path: Path
) -> None:
    program = require_program("redis-server")
    await run_jobs_while_the_slot_moves(deployment, servers, tmp_path, program)
