# mypy: disable-error-code="import-not-found, untyped-decorator, misc, arg-type, unused-ignore"
"""The pipeline on stock arq, as https://arq-docs.helpmanual.io advises.

A submit enqueues the poll for later; a poll that finds the task still generating raises `Retry`.
`max_tries` is raised for the poll, otherwise the fifth poll would be the last.

Tuned: `max_jobs` 100, `poll_delay` 0.01 s, `queue_read_limit` 2000, no results kept, uvloop.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

from arq import Retry, create_pool, func
from arq.connections import RedisSettings
from arq.worker import run_worker

from bench.peers.job_placement import place_all
from bench.peers.kie_calls import open_kie
from bench.peers.peer_settings import read_peer_settings, report_ready
from bench.peers.peer_tables import open_job_table

SETTING = read_peer_settings()
REDIS = RedisSettings(unix_socket_path=SETTING.redis_path)
TUNED: dict[str, Any] = {
    "max_jobs": 100,
    "poll_delay": 0.01,
    "queue_read_limit": 2000,
    "keep_result": 0,
}


async def submit(ctx: dict[str, Any], number: int) -> None:
    """Submit the job's task if it has none, and schedule the first poll."""
    prompt, quantity, task_id = await ctx["book"].load(number)
    if task_id is None:
        task_id = await ctx["kie"].create(prompt, quantity)
        await ctx["book"].store_task(number, task_id)
    await ctx["redis"].enqueue_job(
        "poll",
        number,
        task_id,
        _job_id=f"poll:{number}",
        _defer_by=SETTING.first_poll_seconds,
    )


async def poll(ctx: dict[str, Any], number: int, task_id: str) -> None:
    """Poll once, and settle the job if the task has ended."""
    urls = await ctx["kie"].poll(task_id)
    if urls is None:
        raise Retry(defer=SETTING.poll_seconds)
    await ctx["book"].settle(number, urls)


async def startup(ctx: dict[str, Any]) -> None:
    """Open the resources of the functions."""
    stack = ctx["stack"] = AsyncExitStack()
    ctx["book"] = await stack.enter_async_context(open_job_table(SETTING))
    ctx["kie"] = await stack.enter_async_context(open_kie(SETTING))
    report_ready()


async def shutdown(ctx: dict[str, Any]) -> None:
    """Close it."""
    await ctx["stack"].aclose()


class WorkerSettings:
    """What `arq bench.peers.arq_pipeline.WorkerSettings` runs."""

    functions = (submit, func(poll, max_tries=1_000_000))
    redis_settings = REDIS
    on_startup = startup
    on_shutdown = shutdown


async def enqueue_all() -> None:
    """Place the jobs of the command line."""
    redis = await create_pool(REDIS)

    async def enqueue(numbers: Sequence[int]) -> None:
        await asyncio.gather(*(redis.enqueue_job("submit", number) for number in numbers))

    await place_all(enqueue)
    await redis.aclose()


def main() -> None:
    """Work, or place jobs."""
    if sys.argv[1] == "place":
        asyncio.run(enqueue_all())
        return
    if SETTING.is_tuned:
        import uvloop  # noqa: PLC0415

        asyncio.set_event_loop(uvloop.new_event_loop())
        run_worker(WorkerSettings, **TUNED)
    else:
        asyncio.set_event_loop(asyncio.new_event_loop())
        run_worker(WorkerSettings)


if __name__ == "__main__":
    main()
