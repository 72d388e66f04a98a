"""While a row is locked by another session, jobs of other accounts take no longer than usual."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from time import monotonic

import aiohttp
import asyncpg
import pytest

from producer import JobState, RowBusy
from producer.orders.order import Order
from shared.catalog.families.gpt4o_image import TextToImage
from tests.support.deployment import Deployment, text_to_image
from tests.support.ports import free_port

TEN_JOBS_TAKE_AT_MOST = 2.5
"""The allowed factor compared with no lock. It is high, for machines with other load."""


_NUMBERS = count(1)


def picture(seconds: float) -> TextToImage:
    """Return a request with a unique prompt, whose task takes that long at Kie."""
    return text_to_image(f"[[sim: duration={seconds:g}]] picture {next(_NUMBERS)}")


async def ten_jobs_of(deployment: Deployment, account_id: str) -> float:
    """Return how long ten jobs of the account take, each of which Kie works at for a second."""
    started_at = monotonic()
    jobs = [
        await deployment.producer.enqueue(picture(1.0), account_id=account_id) for _ in range(10)
    ]
    ended = await asyncio.gather(*(deployment.ended(job) for job in jobs))
    assert {job.state for job in ended} == {JobState.SUCCEEDED}
    return monotonic() - started_at


@asynccontextmanager
async def locked(deployment: Deployment, statement: str, *args: object) -> AsyncIterator[None]:
    """Run a statement in a transaction of another session that stays open for the block."""
    url = deployment.settings.database_url
    assert url is not None
    connection = await asyncpg.connect(url.get_secret_value())
    try:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(statement, *args)
        yield
        await transaction.rollback()
    finally:
        await connection.close()


async def readiness(port: int) -> int:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/readyz") as response,
    ):
        return response.status


LOCKS = {
    "the account": "SELECT FROM accounts WHERE id = 'acme' FOR UPDATE",
    "the jobs": "UPDATE jobs SET updated_at = updated_at WHERE account_id = 'acme'",
    "their attempts": "SELECT FROM job_attempts FOR UPDATE",
    "its price": "UPDATE pricing SET credits = credits",
    "a webhook endpoint": "SELECT FROM webhook_endpoints FOR UPDATE",
}


@pytest.mark.parametrize("statement", LOCKS.values(), ids=LOCKS.keys())
async def test_others_jobs_take_as_long_as_ever(deployment: Deployment, statement: str) -> None:
    await deployment.open_account("other", 1_000)
    port = free_port()
    async with deployment.worker(worker_http_port=port):
        usual_seconds = await ten_jobs_of(deployment, "other")
        # In one batch: while one is looked at, none may have ended already.
        held = await deployment.producer.enqueue_many(
            [
                Order(request=picture(3.0), account_id="acme", webhook_url="https://hooks.example/")
                for _ in range(40)
            ]
        )
        for job in held:
            await deployment.in_state(job, JobState.GENERATING)
        async with locked(deployment, statement):
            took_seconds = [await ten_jobs_of(deployment, "other") for _ in range(2)]
            assert await readiness(port) == 200
        ended = await asyncio.gather(*(deployment.ended(job) for job in held))
    assert max(took_seconds) <= usual_seconds * TEN_JOBS_TAKE_AT_MOST
    assert {job.state for job in ended} == {JobState.SUCCEEDED}
    await deployment.check_invariants_hold()
    deployment.check_paid_once()


async def test_enqueues_of_a_held_account_leave_connections_for_others(
    deployment: Deployment,
) -> None:
    await deployment.open_account("other", 1_000)
    async with locked(deployment, LOCKS["the account"]):
        waiting = [
            asyncio.create_task(
                deployment.producer.enqueue_many(
                    [Order(request=picture(1.0), account_id="acme") for _ in range(2)]
                )
            )
            for _ in range(10)
        ]
        await asyncio.sleep(0)
        started_at = monotonic()
        for _ in range(5):
            await deployment.producer.enqueue(picture(1.0), account_id="other")
        assert monotonic() - started_at < 1.0, "five connections are left for others"
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {RowBusy}
    assert await deployment.run_sql("SELECT FROM jobs WHERE account_id = 'acme'") == []
