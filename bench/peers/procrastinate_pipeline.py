# mypy: disable-error-code="import-not-found, untyped-decorator, misc, unused-ignore"
"""The pipeline on procrastinate, as https://procrastinate.readthedocs.io advises: no Redis.

A poll that finds the task still generating defers the next one with `schedule_in`.

Tuned: `concurrency` 100, `fetch_job_polling_interval` 0.1 s (a job that was deferred for later is
not notified), ended jobs deleted, pools of 10 and 20 connections, uvloop.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import Any

import uvloop
from procrastinate import App, PsycopgConnector
from procrastinate.exceptions import ConnectorException

from bench.peers.job_placement import place_all
from bench.peers.kie_calls import open_kie
from bench.peers.peer_settings import read_peer_settings, report_ready
from bench.peers.peer_tables import open_job_table

SETTING = read_peer_settings()
TUNED: dict[str, Any] = {
    "concurrency": 100,
    "fetch_job_polling_interval": 0.1,
    "delete_jobs": "always",
}
app = App(
    connector=PsycopgConnector(
        conninfo=SETTING.database_url,
        # Apart from the tables of the jobs, which are created again for each run.
        kwargs={"options": "-c search_path=peers"},
        min_size=4,
        max_size=20,
    )
)
resources: dict[str, Any] = {}


@app.task(name="submit")
async def submit(number: int) -> None:
    """Submit the job's task if it has none, and schedule the first poll."""
    prompt, quantity, task_id = await resources["book"].load(number)
    if task_id is None:
        task_id = await resources["kie"].create(prompt, quantity)
        await resources["book"].store_task(number, task_id)
    await look_after(SETTING.first_poll_seconds, number, task_id)


@app.task(name="poll")
async def poll(number: int, task_id: str) -> None:
    """Poll once, and settle the job if the task has ended."""
    urls = await resources["kie"].poll(task_id)
    if urls is None:
        await look_after(SETTING.poll_seconds, number, task_id)
    else:
        await resources["book"].settle(number, urls)


async def look_after(seconds: float, number: int, task_id: str) -> None:
    """Schedule a poll after this delay."""
    await poll.configure(schedule_in={"seconds": seconds}).defer_async(
        number=number, task_id=task_id
    )


async def work() -> None:
    """Create the tables of the library if they are missing, and run the worker."""
    async with app.open_async(), open_job_table(SETTING) as job_table, open_kie(SETTING) as kie:
        resources.update(job_table=job_table, kie=kie)
        try:
            await app.schema_manager.apply_schema_async()
        except ConnectorException as error:
            if "already exists" not in repr(error.__cause__):
                raise
        report_ready()
        await app.run_worker_async(**(TUNED if SETTING.is_tuned else {}))


async def enqueue_all() -> None:
    """Place the jobs of the command line."""

    async def enqueue(numbers: Sequence[int]) -> None:
        await submit.batch_defer_async(*({"number": number} for number in numbers))

    async with app.open_async():
        await place_all(enqueue)


def main() -> None:
    """Work, or place jobs."""
    logging.basicConfig(level=logging.WARNING)
    uvloop.run(enqueue_all() if sys.argv[1] == "place" else work())


if __name__ == "__main__":
    main()
