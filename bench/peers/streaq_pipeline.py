# mypy: disable-error-code="import-not-found, untyped-decorator, misc, unused-ignore"
"""The pipeline on streaQ, as https://streaq.readthedocs.io advises.

A submit enqueues the poll with a delay; a poll that finds the task still generating raises
`StreaqRetry`. `max_tries` is lifted for the poll, otherwise the third poll would be the last.

Tuned: `concurrency` 100, results not kept (`ttl` 0), task logs off (`silent`), uvloop.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import anyio
from streaq import StreaqRetry, Worker

from bench.peers.job_placement import place_all
from bench.peers.kie_calls import Kie, open_kie
from bench.peers.peer_settings import read_peer_settings, report_ready
from bench.peers.peer_tables import JobTable, open_job_table

SETTING = read_peer_settings()
TUNED_WORKER: dict[str, Any] = {"concurrency": 100, "anyio_kwargs": {"use_uvloop": True}}
TUNED_TASK: dict[str, Any] = {"ttl": 0, "silent": True}
WORKER = TUNED_WORKER if SETTING.is_tuned else {}
TASK = TUNED_TASK if SETTING.is_tuned else {}


@dataclass(frozen=True, slots=True)
class Resources:
    """The resources of the tasks."""

    job_table: JobTable
    kie: Kie


@asynccontextmanager
async def lifespan() -> AsyncIterator[Resources]:
    """Open the resources of the tasks."""
    async with open_job_table(SETTING) as job_table, open_kie(SETTING) as kie:
        report_ready()
        yield Resources(job_table, kie)


worker = Worker(redis_url=SETTING.redis_url, lifespan=lifespan, **WORKER)


@worker.task(**TASK)
async def submit(number: int) -> None:
    """Submit the job's task if it has none, and schedule the first poll."""
    resources = worker.context
    prompt, quantity, task_id = await resources.job_table.load(number)
    if task_id is None:
        task_id = await resources.kie.create(prompt, quantity)
        await resources.job_table.store_task(number, task_id)
    await poll.enqueue(number, task_id).start(delay=timedelta(seconds=SETTING.first_poll_seconds))


@worker.task(max_tries=None, **TASK)
async def poll(number: int, task_id: str) -> None:
    """Poll once, and settle the job if the task has ended."""
    urls = await worker.context.kie.poll(task_id)
    if urls is None:
        raise StreaqRetry("still generating", delay=timedelta(seconds=SETTING.poll_seconds))
    await worker.context.job_table.settle(number, urls)


async def enqueue_all() -> None:
    """Place the jobs of the command line."""

    async def enqueue(numbers: Sequence[int]) -> None:
        await worker.enqueue_many([submit.enqueue(number) for number in numbers])

    async with worker:
        await place_all(enqueue)


def main() -> None:
    """Work, or place jobs."""
    if sys.argv[1] == "place":
        anyio.run(enqueue_all)
    else:
        worker.run_sync()


if __name__ == "__main__":
    main()
