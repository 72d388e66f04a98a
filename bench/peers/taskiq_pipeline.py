# mypy: disable-error-code="import-not-found, untyped-decorator, misc, unused-ignore"
"""The pipeline on taskiq over taskiq-redis, as https://taskiq-python.github.io advises.

Delays need a schedule source and a scheduler beside the worker. It runs here as a process of its
own, whose processor time is not counted: a kindness. It ticks once a second.

Tuned: 200 tasks at once, no result backend, the scheduler checks for updates every second, uvloop.
"""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import uvloop
from taskiq import TaskiqScheduler
from taskiq.api import run_receiver_task, run_scheduler_task
from taskiq_redis import ListRedisScheduleSource, RedisStreamBroker

from bench.peers.job_placement import place_all
from bench.peers.kie_calls import open_kie
from bench.peers.peer_settings import read_peer_settings, report_ready
from bench.peers.peer_tables import open_job_table

SETTING = read_peer_settings()
AT_ONCE = 200 if SETTING.is_tuned else 100
TICK = timedelta(seconds=1)

broker = RedisStreamBroker(url=SETTING.redis_url)
schedule_source = ListRedisScheduleSource(url=SETTING.redis_url)
scheduler = TaskiqScheduler(broker, sources=[schedule_source])
resources: dict[str, Any] = {}


@broker.task(task_name="submit")
async def submit(number: int) -> None:
    """Submit the job's task if it has none, and schedule the first poll."""
    prompt, quantity, task_id = await resources["book"].load(number)
    if task_id is None:
        task_id = await resources["kie"].create(prompt, quantity)
        await resources["book"].store_task(number, task_id)
    await look_after(SETTING.first_poll_seconds, number, task_id)


@broker.task(task_name="poll")
async def poll(number: int, task_id: str) -> None:
    """Poll once, and settle the job if the task has ended."""
    urls = await resources["kie"].poll(task_id)
    if urls is None:
        await look_after(SETTING.poll_seconds, number, task_id)
    else:
        await resources["book"].settle(number, urls)


async def look_after(seconds: float, number: int, task_id: str) -> None:
    """Schedule a poll after this delay."""
    moment = datetime.now(UTC) + timedelta(seconds=seconds)
    await poll.schedule_by_time(schedule_source, moment, number, task_id)


async def work() -> None:
    """Run the worker until it is cancelled, together with a scheduler."""
    async with AsyncExitStack() as stack:
        resources["book"] = await stack.enter_async_context(open_job_table(SETTING))
        resources["kie"] = await stack.enter_async_context(open_kie(SETTING))
        await schedule_source.startup()
        await broker.startup()
        beside = [sys.executable, "-m", "bench.peers.taskiq_pipeline", "schedule"]
        with subprocess.Popen(beside) as process:  # noqa: ASYNC220
            try:
                report_ready()
                await run_receiver_task(broker, max_async_tasks=AT_ONCE, max_prefetch=AT_ONCE)
            finally:
                process.kill()


async def schedule() -> None:
    """Run the scheduler until it is killed."""
    await broker.startup()
    await run_scheduler_task(scheduler, interval=TICK, loop_interval=TICK)


async def enqueue_all() -> None:
    """Place the jobs of the command line."""

    async def enqueue(numbers: Sequence[int]) -> None:
        await asyncio.gather(*(submit.kiq(number) for number in numbers))

    await broker.startup()
    await place_all(enqueue)
    await broker.shutdown()


def main() -> None:
    """Work, schedule, or place jobs."""
    logging.basicConfig(level=logging.WARNING)
    parts = {"work": work, "schedule": schedule, "place": enqueue_all}
    uvloop.run(parts[sys.argv[1]]())


if __name__ == "__main__":
    main()
