"""Redis Cluster: refused without a hash tag, and followed from node to node with one."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import SecretStr

from producer import JobState, Producer
from producer.doctor.redis_findings import check_redis
from shared.adapters.redis.deliveries import DeliveryQueue, connect_redis
from shared.adapters.servers import Servers
from shared.errors import ConfigurationError, RedisDown
from shared.redis_url.redis_url import with_prefix
from tests.support.deployment import Deployment, text_to_image
from tests.support.ports import free_port
from tests.support.valkey_cluster import running_cluster

TAG = "{darkroom}:"


async def test_jobs_run_in_a_cluster_while_their_slot_moves_to_another_node(
    deployment: Deployment, servers: Servers, tmp_path: Path
) -> None:
    await run_jobs_while_the_slot_moves(deployment, servers, tmp_path)


async def run_jobs_while_the_slot_moves(
    deployment: Deployment, servers: Servers, folder: Path, program: str | None = None
) -> None:
    """Run jobs in a cluster of that program, before, during and after a move of their slot."""
    async with running_cluster(folder, program) as cluster:
        slot = await cluster.slot_of(TAG)
        owner = await cluster.owner_of(slot)
        # Any node will do. This one does not own the slot.
        url = cluster.url((owner + 1) % 3)
        await _is_refused_without_a_tag(deployment, url)
        changes = {"redis_url": SecretStr(url), "redis_prefix": TAG}
        own = replace(servers, redis_url=with_prefix(url, TAG))
        async with (
            deployment.worker(**changes) as resources,
            deployment.api(**changes) as api,
            Producer.connect_to(own) as producer,
        ):
            await producer.billing.create_account("shop")
            await producer.billing.grant("shop", Decimal(1_000), "for the test")

            async def run_jobs(count: int) -> None:
                requests = [text_to_image(f"picture {n} of {count}") for n in range(count)]
                jobs = [await producer.enqueue(one, account_id="shop") for one in requests]
                ended = [await producer.wait(job.id, timeout_seconds=30) for job in jobs]
                assert {job.state for job in ended} == {JobState.SUCCEEDED}

            await run_jobs(3)
            source = await cluster.begin_move(slot, (owner + 2) % 3)
            during = asyncio.create_task(run_jobs(4))
            with pytest.raises(RedisDown, match=r"TRYAGAIN|ASK"):
                await resources.deps.delivery_queue.ping()
            await cluster.end_move(slot, source, (owner + 2) % 3)
            await during
            await run_jobs(2)
            assert (await api.get("/readyz")).status == 200
            assert await cluster.nodes[source].dbsize() == 0
        deployment.check_paid_once()


async def _is_refused_without_a_tag(deployment: Deployment, url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"leads to a Redis Cluster.*REDIS_PREFIX"):
        async with deployment.worker(redis_url=SecretStr(url)):
            pass
    (finding,) = [finding async for finding in check_redis(url)]
    assert not finding.ok
    assert "leads to a Redis Cluster" in finding.detail


async def test_a_client_follows_the_slot_and_finds_it_again_by_the_url(tmp_path: Path) -> None:
    async with running_cluster(tmp_path) as cluster:
        slot = await cluster.slot_of(TAG)
        target = (await cluster.owner_of(slot) + 1) % 3
        async with connect_redis(with_prefix(cluster.url(0), TAG), connections=3) as redis:
            queue = DeliveryQueue(redis)
            await asyncio.gather(*(queue.ping() for _ in range(3)))
            source = await cluster.begin_move(slot, target)
            await cluster.end_move(slot, source, target)
            # The first command is told that the slot has moved. No later one is.
            with pytest.raises(RedisDown, match="MOVED"):
                await queue.ping()
            await asyncio.gather(*(queue.ping() for _ in range(5)))
            clients = await cluster.nodes[target].client_list()
            assert sum(one["lib-name"] == "redis-py" for one in clients) >= 2

        dead = f"127.0.0.1:{free_port()}"
        url = cluster.url(2).replace("//", f"//{dead},")
        async with connect_redis(with_prefix(url, TAG)) as fresh:
            with pytest.raises(RedisDown, match=r"Connect call failed|Connection refused"):
                await DeliveryQueue(fresh).ping()
            await DeliveryQueue(fresh).ping()
