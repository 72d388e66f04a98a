"""A lease belongs to the worker that took it: no other claims its delivery or renews it."""

from __future__ import annotations

from arq.connections import ArqRedis
from arq.constants import in_progress_key_prefix

from shared.adapters.redis.deliveries import Lane, lease_and_rerun_keys
from tests.integration.worker.bare_lanes import deliver, owner_of, score_of
from worker.batching.redis_scripts import RedisScripts
from worker.limits.submit_gates import SubmitGates

LEASE_MS = 60_000


async def test_a_lease_is_renewed_by_its_owner_alone(redis: ArqRedis) -> None:
    (job_id,) = await deliver(redis)
    arq_id = Lane.POLL.arq_id(job_id)
    lease_key = in_progress_key_prefix + arq_id
    await redis.set(lease_key, "the owner", px=20_000)
    due_before = await score_of(redis, job_id)

    async def renew_as(owner: str) -> int:
        keys = (Lane.POLL.value, lease_key)
        return int(await RedisScripts(redis).run("renew", keys, (owner, LEASE_MS), [arq_id]))

    assert await renew_as("somebody whose lease has lapsed") == 0
    assert await redis.pttl(lease_key) <= 20_000
    assert await score_of(redis, job_id) == due_before
    assert await renew_as("the owner") == 1
    assert await redis.pttl(lease_key) > 20_000
    assert await owner_of(redis, job_id) == "the owner"


async def test_a_delivery_that_is_due_but_leased_is_claimed_by_nobody_else(redis: ArqRedis) -> None:
    held, free = await deliver(redis, 2)
    lease_key = in_progress_key_prefix + Lane.POLL.arq_id(held)
    await redis.set(lease_key, "the owner", px=20_000)
    gates = SubmitGates()
    expected = [Lane.POLL.arq_id(job_id) for job_id in (held, free)]
    keys = [Lane.POLL.value, *gates.keys]
    for arq_id in expected:
        keys += lease_and_rerun_keys(arq_id)
    arguments: list[str | int | float] = [10, LEASE_MS, "another", gates.limit, 1_000]
    arguments += gates.claim_arguments([10])
    reply = await RedisScripts(redis).run("claim", keys, arguments, expected)
    claimed = reply[5 + gates.level_count :: 4]
    assert [arq_id.decode() for arq_id in claimed] == [Lane.POLL.arq_id(free)]
    assert await owner_of(redis, held) == "the owner"
    assert await redis.pttl(lease_key) <= 20_000
