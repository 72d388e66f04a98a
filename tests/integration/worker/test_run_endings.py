"""The end of a run is reported once, also when its worker stops."""

from __future__ import annotations

import asyncio

from arq.connections import ArqRedis
from structlog.testing import capture_logs

from shared.adapters.async_tasks import stop_tasks
from shared.adapters.redis.deliveries import Lane
from tests.integration.worker.bare_lanes import Runs, deliver, lane_over


async def test_a_run_that_fails_after_its_lane_has_stopped_is_reported(redis: ArqRedis) -> None:
    gate = asyncio.Event()

    async def fail(_: str) -> None:
        await gate.wait()
        raise ValueError("a bug")

    runs = Runs(fail)
    (job_id,) = await deliver(redis)
    lane = lane_over(redis, runs)
    loop = asyncio.create_task(lane.run_until_cancelled())
    await runs.reach(1)
    await stop_tasks([loop])
    with capture_logs() as logs:
        gate.set()
        await lane.drain(10)
    (told,) = [line for line in logs if line["event"] == "run_ended_badly"]
    assert told["arq_id"] == Lane.POLL.arq_id(job_id)
    assert "a bug" in told["error"]
