"""The main job, end to end: request, images, credits, over real Postgres, Valkey and HTTP."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest
from arq.connections import ArqRedis

from producer import JobState
from tests.support.deployment import Deployment, image_to_image, text_to_image


@pytest.mark.parametrize("quantity", [1, 2, 4])
async def test_m1_m4_both_tasks_deliver_every_quantity(
    deployment: Deployment, quantity: int
) -> None:
    async with deployment.worker():
        jobs = [
            await deployment.enqueue(text_to_image(f"text {quantity}", quantity=quantity)),
            await deployment.enqueue(image_to_image(prompt=f"image {quantity}", quantity=quantity)),
        ]
        ended = [await deployment.ended(job) for job in jobs]
    assert [job.state for job in ended] == [JobState.SUCCEEDED] * 2
    assert [len(job.result_urls) for job in ended] == [quantity] * 2
    charge = {1: 6, 2: 7, 4: 8}[quantity]
    assert [job.credits_charged for job in ended] == [Decimal(charge)] * 2
    assert (await deployment.producer.balance("acme")).available == 10_000 - 2 * charge
    await deployment.check_invariants_hold()
    deployment.check_paid_once()


async def test_200_jobs_all_end_and_the_ledger_is_exact(deployment: Deployment) -> None:
    async with deployment.worker():
        jobs = await asyncio.gather(
            *(deployment.enqueue(text_to_image(f"one of 200: {n}")) for n in range(200))
        )
        ended = await asyncio.gather(*(deployment.ended(job, 60) for job in jobs))
    assert {job.state for job in ended} == {JobState.SUCCEEDED}
    await deployment.check_account(balance=10_000 - 200 * 6)
    await deployment.check_invariants_hold()
    deployment.check_paid_once()
    assert len(deployment.simulator.record.tasks) == 200


async def test_enqueue_is_one_postgres_transaction_and_one_redis_round_trip(
    deployment: Deployment, redis: ArqRedis
) -> None:
    await deployment.enqueue()  # connections are open from here on
    before = await _commands_of(redis)
    transactions = await _transactions_of(deployment)
    await deployment.enqueue()
    assert await _transactions_of(deployment) - transactions <= 2  # the asking is one itself
    after = await _commands_of(redis)
    spent = {name: after[name] - before.get(name, 0) for name in after}
    asked = {name: calls for name, calls in spent.items() if calls > 0 and name != "info"}
    # One script. It notifies listeners of the account. It wakes no worker, because the first job
    # waits already, and a claim for it finds both.
    inside = {"time": 1, "zcount": 1, "set": 1, "zadd": 1, "publish": 1}
    assert asked == {"evalsha": 1, **inside}


async def _commands_of(redis: ArqRedis) -> dict[str, int]:
    stats = await redis.info("commandstats")
    return {name.removeprefix("cmdstat_"): row["calls"] for name, row in stats.items()}


async def _transactions_of(deployment: Deployment) -> int:
    rows = await deployment.run_sql("SELECT txid_snapshot_xmax(txid_current_snapshot()) AS next")
    return int(rows[0]["next"])


async def test_enqueue_does_not_wait_for_kie_or_a_worker(deployment: Deployment) -> None:
    deployment.simulator.set_faults(create_hang=1.0, create_hang_seconds=30.0)
    job = await deployment.enqueue()
    assert job.state is JobState.QUEUED
    assert not deployment.simulator.record.tasks
