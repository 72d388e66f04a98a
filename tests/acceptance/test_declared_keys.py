"""Every script is told each key and channel that it uses.

A cluster finds the node of a script by its keys, and Dragonfly runs no script with other keys.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

from arq.connections import ArqRedis

from producer import JobState
from shared.adapters.redis.deliveries import Delivery, DeliveryQueue, Lane, connect_redis
from shared.adapters.redis.lost_write_log import LostJob, LostWriteLog
from shared.adapters.servers import Servers
from shared.domain.alerts.alert import AcknowledgedAlert
from shared.redis_keys import WIPED_KEY
from tests.integration.worker.bare_lanes import Runs, deliver, lane_over, running
from tests.support.deployment import Deployment, eventually, text_to_image
from tests.support.redis_commands import RedisCommands, counted_redis_commands
from worker.batching.redis_scripts import RedisScripts
from worker.bootstrap import WorkerResources
from worker.queue.leased_worker import Snoozed, make_deliveries_due, withdraw_deliveries

ROOT = Path(__file__).parents[2]


def all_scripts() -> set[str]:
    return {file.stem for folder in ("shared", "worker") for file in ROOT.glob(f"{folder}/lua/*")}


async def test_no_script_uses_a_key_that_it_was_not_told(
    deployment: Deployment, servers: Servers
) -> None:
    async with connect_redis(servers.redis_url) as redis:
        async with counted_redis_commands(redis) as commands:
            async with deployment.worker_with_callbacks() as resources:
                await _run_jobs(deployment)
                await _slow_down_and_recover(resources)
                await DeliveryQueue(redis).ping()
            await _renew_and_snooze(redis, commands)
            await _hasten_and_withdraw(redis)
            await _acknowledge_alerts(deployment, redis)
        assert set(commands.sent) >= all_scripts()
    assert sorted(commands.undeclared) == []


async def test_a_key_that_a_script_was_not_told_is_found(servers: Servers) -> None:
    source = "redis.call('SET', KEYS[1] .. ':1', '') return redis.call('DEL', KEYS[1], ARGV[1])"
    async with connect_redis(servers.redis_url) as redis, counted_redis_commands(redis) as commands:
        sha = await redis.script_load(source)
        operator: Any = redis
        await operator.execute_command("EVALSHA", sha, 1, "told", "untold")
        await redis.ping()
        await eventually(lambda: _has_heard(commands, "PING"), "the commands were seen")
    assert commands.undeclared == {f"{sha}: SET told:1", f"{sha}: DEL untold"}


async def _has_heard(commands: RedisCommands, name: str) -> bool:
    return commands.sent[name] > 0


async def _run_jobs(deployment: Deployment) -> None:
    good = await deployment.enqueue(text_to_image("[[sim: duration=0.5]]"))
    failing = await deployment.enqueue(text_to_image("[[sim: fail=1]]"))
    assert (await deployment.ended(good)).state is JobState.SUCCEEDED
    assert (await deployment.ended(failing)).state is JobState.FAILED
    await deployment.ended(await deployment.producer.retry(failing.id))
    pause = await deployment.producer.pauses.pause("account", "acme", reason="for the test")
    held = await deployment.enqueue()
    assert (await deployment.producer.cancel(held.id)).state is JobState.CANCELLED
    await deployment.producer.pauses.resume(pause.id)


async def _slow_down_and_recover(resources: WorkerResources) -> None:
    brake = next(iter(resources.deps.accounts)).brake
    family = brake.family_brake("gpt-4o-image")
    job_id = uuid4()
    await brake.slow_down(20, "busy", "429", under_way_seconds=0, may_pause=False)
    await brake.apply("busy", "429")
    await brake.record_accepted()
    await family.record_wrong_endpoint(job_id, "404")
    await family.probe_wait_seconds(job_id)
    await family.allow_probe()
    await family.record_delivered(job_id)


async def _renew_and_snooze(redis: ArqRedis, commands: RedisCommands) -> None:
    """Run a delivery that is due and one that is added to a busy lane, for longer than a lease."""

    async def body(job_id: str) -> None:
        if runs.count[job_id] == 1:
            renewed = commands.sent["renew"]
            await eventually(lambda: _has_more(commands, renewed), "the lease is renewed")
            raise Snoozed(0.01)

    runs = Runs(body)
    async with running(lane_over(redis, runs, lane=Lane.WEBHOOK, lease_ms=400)):
        (job_id,) = await deliver(redis, lane=Lane.WEBHOOK)
        await runs.reach(1)
        await DeliveryQueue(redis).deliver(
            [Delivery(job_id, Lane.WEBHOOK), Delivery(uuid4(), Lane.WEBHOOK, -1)],
            rerun_if_running=True,
        )
        await runs.reach(4)


async def _has_more(commands: RedisCommands, renewals: int) -> bool:
    return commands.sent["renew"] > renewals


async def _hasten_and_withdraw(redis: ArqRedis) -> None:
    queue, scripts = DeliveryQueue(redis), RedisScripts(redis)
    ids = await deliver(redis, 3, lane=Lane.WEBHOOK, delay_ms=60_000)
    await queue.make_due_now(ids[0], Lane.WEBHOOK)
    due = await make_deliveries_due(scripts, Lane.WEBHOOK, dict.fromkeys(ids, 1.0))
    removed = await withdraw_deliveries(scripts, Lane.WEBHOOK, ids)
    assert (due, removed) == (3, 3)
    await queue.deliver([Delivery(one, lane) for one in ids for lane in Lane])
    await scripts.aclose()


async def _acknowledge_alerts(deployment: Deployment, redis: ArqRedis) -> None:
    await redis.set(WIPED_KEY, 1_700_000_000_000)
    await LostWriteLog(redis).add_jobs([LostJob(str(uuid4()), "task", "default")])
    evidence = deployment.producer.alert_evidence
    for name in AcknowledgedAlert:
        done = await evidence.acknowledge(name)
        assert (done.acknowledged, done.left) == (1, 0)
