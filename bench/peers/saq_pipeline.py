# mypy: disable-error-code="import-not-found, untyped-decorator, misc, unused-ignore"
"""The pipeline on SAQ, as https://saq-py.readthedocs.io advises.

A submit enqueues the poll with `scheduled`; a poll that finds the task still generating enqueues
the next one, since a retry would be a failure with a traceback in the log.

Tuned: `concurrency` 100, the schedule timer at its 1 s (it takes whole seconds as `scheduled`
does), results and finished jobs not kept (`ttl` -1), uvloop.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

from redis.asyncio import Redis
from saq.queue.redis import RedisQueue
from saq.worker import start

from bench.peers.job_placement import place_all
from bench.peers.kie_calls import open_kie
from bench.peers.peer_settings import read_peer_settings, report_ready
from bench.peers.peer_tables import open_job_table

SETTING = read_peer_settings()
OPTIONS: dict[str, Any] = {"ttl": -1} if SETTING.is_tuned else {}
# Queue.from_url knows no sockets.
queue = RedisQueue(Redis.from_url(SETTING.redis_url))


async def submit(ctx: dict[str, Any], *, number: int) -> None:
    """Submit the job's task if it has none, and schedule the first poll."""
    prompt, quantity, task_id = await ctx["book"].load(number)
    if task_id is None:
        task_id = await ctx["kie"].create(prompt, quantity)
        await ctx["book"].store_task(number, task_id)
    await look_after(SETTING.first_poll_seconds, number, task_id)


async def poll(ctx: dict[str, Any], *, number: int, task_id: str) -> None:
    """Poll once, and settle the job if the task has ended."""
    urls = await ctx["kie"].poll(task_id)
    if urls is None:
        await look_after(SETTING.poll_seconds, number, task_id)
    else:
        await ctx["book"].settle(number, urls)


async def look_after(seconds: float, number: int, task_id: str) -> None:
    """Schedule a poll after this delay."""
    await queue.enqueue(
        "poll", number=number, task_id=task_id, scheduled=time.time() + seconds, **OPTIONS
    )


async def startup(ctx: dict[str, Any]) -> None:
    """Open the resources of the functions."""
    stack = ctx["stack"] = AsyncExitStack()
    ctx["book"] = await stack.enter_async_context(open_job_table(SETTING))
    ctx["kie"] = await stack.enter_async_context(open_kie(SETTING))
    report_ready()


async def shutdown(ctx: dict[str, Any]) -> None:
    """Close it."""
    await ctx["stack"].aclose()


settings: dict[str, Any] = {
    "queue": queue,
    "functions": [submit, poll],
    "startup": startup,
    "shutdown": shutdown,
}
"""What `saq bench.peers.saq_pipeline.settings` runs."""


async def enqueue_all() -> None:
    """Place the jobs of the command line."""

    async def enqueue(numbers: Sequence[int]) -> None:
        await asyncio.gather(
            *(queue.enqueue("submit", number=number, **OPTIONS) for number in numbers)
        )

    await queue.connect()
    await place_all(enqueue)
    await queue.disconnect()


def main() -> None:
    """Work, or place jobs."""
    if sys.argv[1] == "place":
        asyncio.run(enqueue_all())
        return
    if SETTING.is_tuned:
        import uvloop  # noqa: PLC0415

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
        settings["concurrency"] = 100
    start("bench.peers.saq_pipeline.settings")


if __name__ == "__main__":
    # Under its real name, so that the worker imports this module and no second copy of it.
    sys.modules["bench.peers.saq_pipeline"] = sys.modules["__main__"]
    main()
