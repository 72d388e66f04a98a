# mypy: disable-error-code="import-not-found, import-untyped, untyped-decorator, misc"
# mypy: disable-error-code="unused-ignore"
"""The pipeline on Celery over Redis, as https://docs.celeryq.dev advises: synchronous tasks.

A poll that finds the task still generating calls `self.retry(countdown=...)`. HTTP goes through
requests and Postgres through psycopg, since tasks cannot await.

Tuned: one process with a pool of 16 threads, results ignored, no prefetch limit, late acks off,
no gossip, mingle or heartbeat, log level WARNING, one kept HTTP session per thread.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Sequence
from typing import Any

import orjson
import psycopg
import requests
from celery import Celery, Task
from celery.signals import worker_ready
from psycopg_pool import ConnectionPool

from bench.peers.job_placement import place_all
from bench.peers.kie_calls import GENERATE, RECORD_INFO, create_body, read_task_id, read_urls
from bench.peers.peer_settings import read_peer_settings, report_ready
from bench.peers.peer_tables import LOAD, SETTLE, STORE_TASK

SETTING = read_peer_settings()
THREADS = 16
app = Celery("peers", broker=f"redis+socket://{SETTING.redis_path}")
app.conf.update(
    task_ignore_result=True,
    worker_prefetch_multiplier=0,
    broker_connection_retry_on_startup=True,
)
here = threading.local()
job_table: dict[str, Any] = {}


@app.task(name="submit")
def submit(number: int) -> None:
    """Submit the job's task if it has none, and schedule the first poll."""
    prompt, quantity, task_id = ask(LOAD, number)
    if task_id is None:
        url, body = SETTING.kie_url + GENERATE, create_body(prompt, quantity)
        task_id = read_task_id(orjson.loads(session().post(url, json=body, timeout=30).content))
        ask(STORE_TASK, number, task_id)
    poll.apply_async((number, task_id), countdown=SETTING.first_poll_seconds)


@app.task(name="poll", bind=True, max_retries=None)
def poll(self: Task, number: int, task_id: str) -> None:
    """Poll once, and settle the job if the task has ended."""
    url = SETTING.kie_url + RECORD_INFO
    answer = session().get(url, params={"taskId": task_id}, timeout=30)
    urls = read_urls(orjson.loads(answer.content))
    if urls is None:
        raise self.retry(countdown=SETTING.poll_seconds)
    ask(SETTLE, number, urls)


def ask(statement: str, *values: object) -> Any:
    """Run a statement on a connection of the pool; return its first row, if it has any."""
    with job_table["pool"].connection() as connection:
        cursor = connection.execute(statement, values)
        return cursor.fetchone() if cursor.description else None


def session() -> requests.Session:
    """Return the HTTP session of this thread."""
    if not hasattr(here, "session"):
        here.session = requests.Session()
        here.session.headers["Authorization"] = f"Bearer {SETTING.kie_key}"
    found: requests.Session = here.session
    return found


@worker_ready.connect
def tell(**_: Any) -> None:
    """Report that the worker is ready."""
    report_ready()


async def enqueue_all() -> None:
    """Place the jobs of the command line."""

    async def enqueue(numbers: Sequence[int]) -> None:
        for number in numbers:
            await asyncio.to_thread(submit.delay, number)

    await place_all(enqueue)


def main() -> None:
    """Work, or place jobs."""
    if sys.argv[1] == "place":
        asyncio.run(enqueue_all())
        return
    # RawCursor takes $1, $2 as asyncpg does, so that the statements are everybody's.
    kwargs = {"cursor_factory": psycopg.RawCursor, "autocommit": True}
    with ConnectionPool(SETTING.database_url, kwargs=kwargs, min_size=4, max_size=THREADS) as pool:
        job_table["pool"] = pool
        options = ["--pool", "threads", "--concurrency", str(THREADS), "--loglevel", "WARNING"]
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        app.worker_main(["worker", *options, *quiet])


if __name__ == "__main__":
    main()
