"""The client's other methods: cancel, retry, list, quote and balance."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from producer import (
    AccountNotFound,
    InsufficientCredits,
    InvalidRequest,
    Job,
    JobState,
    Order,
    PostgresDown,
    Producer,
    TooLateToCancel,
)
from producer.jobs.job_repository import JobRepository
from shared.adapters.postgres.database import Database
from shared.adapters.servers import Servers
from shared.domain import job_events
from shared.domain.lifecycle import TERMINAL
from shared.errors import SchemaOutdated
from shared.settings import Settings
from tests.integration.database.database_setup import DatabaseSetup
from tests.integration.producer.client_setup import money, open_account
from tests.support.deployment import eventually, image_to_image, text_to_image


@pytest.fixture
async def setup(producer: Producer, database: Database) -> DatabaseSetup:
    """The worker's side of the same database, where `acme` has 1,000 credits."""
    await open_account(producer)
    return DatabaseSetup(database)


# --- taking back ------------------------------------------------------------------------------


async def test_a_queued_job_is_taken_back_and_its_hold_released(
    producer: Producer, setup: DatabaseSetup
) -> None:
    job = await setup.enqueue()
    cancelled = await producer.cancel(str(job.id))
    assert (cancelled.state, cancelled.reason) == (JobState.CANCELLED, "cancelled_by_caller")
    assert cancelled.finished_at is not None
    assert await money(producer) == (1_000, 0)
    assert await setup.broken_invariants() == {}


async def test_a_job_that_came_back_to_the_queue_can_still_be_taken_back(
    producer: Producer, setup: DatabaseSetup
) -> None:
    job = await setup.job_in(JobState.QUEUED, attempt=2)
    assert (await producer.cancel(job.id)).attempt == 2
    assert await setup.broken_invariants() == {}


async def test_a_job_that_has_ended_is_not_cancelled(
    producer: Producer, setup: DatabaseSetup
) -> None:
    for state in sorted(TERMINAL):
        job = await setup.job_in(state)
        before = await setup.snapshot()
        with pytest.raises(TooLateToCancel) as caught:
            await producer.cancel(job.id)
        assert (caught.value.job_id, caught.value.state) == (str(job.id), state)
        assert f"job {job.id} is {state}: it has ended, and only an open" in str(caught.value)
        assert await setup.snapshot() == before


class Overtaking:
    """Queries of which the first cancel is overtaken by an attempt that comes back."""

    def __init__(self, setup: DatabaseSetup, job: Job) -> None:
        self._setup, self._job = setup, job
        self._overtaken = False

    async def fetch(self, query: str, *args: Any) -> list[asyncpg.Record]:
        return await self._setup.database.fetch(query, *args)

    async def fetch_row(self, query: str, *args: Any) -> asyncpg.Record | None:
        if query == "cancel_job" and not self._overtaken:
            self._overtaken = True
            await self._setup.move(self._job, job_events.Claimed, job_events.Deferred)
        return await self._setup.database.fetch_row(query, *args)


async def test_a_job_that_is_tried_and_put_back_meanwhile_is_still_taken_back(
    setup: DatabaseSetup,
) -> None:
    job = await setup.enqueue()
    cancelled = await JobRepository(Overtaking(setup, job)).cancel(job.id)
    assert (cancelled.state, cancelled.attempt) == (JobState.CANCELLED, 1)
    assert await setup.broken_invariants() == {}


# --- trying again -----------------------------------------------------------------------------


async def test_an_ended_job_is_tried_again_as_a_new_job_that_names_the_first(
    producer: Producer, setup: DatabaseSetup
) -> None:
    request = image_to_image(prompt="a hat", quantity=2)
    options: dict[str, Any] = {
        "metadata": {"order": 7},
        "webhook_url": "https://shop.example/hook",
        "priority": "low",
    }
    for state in sorted(TERMINAL):
        first = await setup.job_in(state, request=request, idempotency_key=state, **options)
        again = await producer.retry(first.id, again=state is JobState.SUCCEEDED)
        assert (again.retry_of, again.state, again.attempt) == (first.id, JobState.QUEUED, 0)
        for name in ("request", "model", "task", "quantity", "account_id", *options):
            assert getattr(again, name) == getattr(first, name), name
        assert again.idempotency_key is None
        assert await producer.get(first.id) == first
        assert await producer.retry(first.id) == again
    assert await setup.broken_invariants() == {}


async def test_a_job_is_tried_again_at_the_price_of_today(
    producer: Producer, setup: DatabaseSetup
) -> None:
    first = await setup.job_in(JobState.FAILED)
    await setup.set_price(9)
    assert (await producer.retry(first.id)).credits_quoted == 9


async def test_an_open_job_is_not_tried_again(producer: Producer, setup: DatabaseSetup) -> None:
    for state in sorted(set(JobState) - TERMINAL):
        job = await setup.job_in(state)
        with pytest.raises(InvalidRequest) as caught:
            await producer.retry(job.id)
        (fault,) = caught.value.faults
        assert (fault.field, fault.message) == (
            "id",
            f"job {job.id} is {state}: only an ended job is retried",
        )


async def test_trying_again_needs_credits_like_any_job(
    producer: Producer, setup: DatabaseSetup
) -> None:
    await setup.open_account("poor", 6)
    first = await setup.job_in(JobState.SUCCEEDED, account_id="poor")
    with pytest.raises(InsufficientCredits):
        await producer.retry(first.id, again=True)


# --- listing ----------------------------------------------------------------------------------


async def test_jobs_are_listed_newest_first_and_by_account_and_state(
    producer: Producer, setup: DatabaseSetup
) -> None:
    await setup.open_account("bolt")
    jobs = [
        await setup.job_in(state, account_id=account)
        for account in ("acme", "bolt")
        for state in (JobState.QUEUED, JobState.FAILED)
    ]
    first, second, third, fourth = (job.id for job in jobs)

    async def ids(**filters: Any) -> list[UUID]:
        return [job.id for job in await producer.list(**filters)]

    assert await ids() == [fourth, third, second, first]
    assert await ids(account_id="acme") == [second, first]
    assert await ids(state="failed") == [fourth, second]
    assert await ids(state=JobState.QUEUED, account_id="bolt") == [third]
    assert await ids(account_id="nobody") == []


async def test_jobs_are_listed_in_pages_that_neither_repeat_nor_miss(
    producer: Producer, setup: DatabaseSetup
) -> None:
    jobs = await producer.enqueue_many(
        [Order(request=text_to_image(), account_id="acme") for _ in range(7)]
    )
    seen: list[UUID] = []
    below: UUID | None = None
    while page := await producer.list(account_id="acme", limit=3, below=below):
        await setup.enqueue()  # what comes meanwhile does not shift the pages
        seen += [job.id for job in page]
        below = seen[-1]
    assert seen == [job.id for job in reversed(jobs)]


async def test_a_list_refuses_nonsense(producer: Producer) -> None:
    for limit in (0, -1, 1_001):
        with pytest.raises(InvalidRequest, match=f"limit: {limit} must be 1 to 1000"):
            await producer.list(limit=limit)
    with pytest.raises(InvalidRequest, match="state: 'done' must be one of queued, submitting"):
        await producer.list(state="done")


# --- money ------------------------------------------------------------------------------------


async def test_a_quote_is_what_an_enqueue_would_hold(
    producer: Producer, setup: DatabaseSetup
) -> None:
    await setup.set_price("8.5", quantity=2)
    for request in (text_to_image(quantity=2), image_to_image(quantity=4)):
        quote = await producer.quote(request)
        job = await producer.enqueue(request, account_id="acme")
        assert (quote.credits, quote.price_id) == (job.credits_quoted, job.price_id)


async def test_a_balance_tells_owned_held_and_available(
    producer: Producer, setup: DatabaseSetup
) -> None:
    await setup.enqueue(text_to_image(quantity=2))
    account = await producer.balance("acme")
    assert (account.balance, account.held, account.available) == (1_000, 7, 993)
    assert isinstance(account.available, Decimal)
    with pytest.raises(AccountNotFound, match="no account has the id 'nobody'"):
        await producer.balance("nobody")


# --- connecting -------------------------------------------------------------------------------


async def test_a_client_connects_by_its_settings(servers: Servers) -> None:
    settings = Settings.model_validate(
        {"database_url": servers.database_url, "redis_url": servers.redis_url}
    )
    async with Producer.connect(settings) as producer:
        await open_account(producer)
        job = await producer.enqueue(text_to_image(), account_id="acme")
        assert await producer.get(job.id) == job


async def test_a_client_refuses_a_schema_that_is_too_old(
    servers: Servers, database: Database
) -> None:
    await database.pool.execute("DELETE FROM darkroom_migrations WHERE number > 1")
    settings = Settings.model_validate(
        {"database_url": servers.database_url, "redis_url": servers.redis_url}
    )
    with pytest.raises(SchemaOutdated, match="run `darkroom migrate`"):
        async with Producer.connect(settings):
            pass


async def test_without_postgres_a_client_does_not_connect(servers: Servers, tmp_path: Path) -> None:
    nowhere = replace(servers, database_url=f"postgresql:///darkroom?host={tmp_path}")
    with pytest.raises(PostgresDown, match="Postgres does not answer"):
        async with Producer.connect_to(nowhere):
            pass


async def test_a_call_that_loses_postgres_raises_and_the_next_one_works(
    producer: Producer, setup: DatabaseSetup
) -> None:
    waiting_backends = (
        "SELECT pid FROM pg_stat_activity"
        " WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )

    async def is_waiting() -> bool:
        return bool(await setup.sql(waiting_backends))

    async with setup.database.pool.acquire() as connection, connection.transaction():
        await connection.execute("LOCK TABLE jobs")
        call = asyncio.create_task(producer.enqueue(text_to_image(), account_id="acme"))
        await eventually(is_waiting, "the call waits for the table")
        for row in await setup.sql(waiting_backends):
            await setup.sql("SELECT pg_terminate_backend($1)", row["pid"])
        with pytest.raises(PostgresDown):
            await call
    assert await money(producer) == (1_000, 0)
    assert (await producer.enqueue(text_to_image(), account_id="acme")).state == "queued"
