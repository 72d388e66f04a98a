"""Sets up a worker's steps with a scripted Kie, a fake clock, and real Postgres and Valkey."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from random import Random
from typing import Any
from uuid import UUID

from arq.connections import ArqRedis
from prometheus_client import CollectorRegistry

from producer import Job, Producer
from shared.adapters.postgres.database import Database
from shared.adapters.redis.deliveries import DeliveryQueue, Lane
from shared.catalog.families.gpt4o_image import TextToImage
from shared.kie_accounts import DEFAULT_ACCOUNT
from shared.settings import Settings
from tests.fakes.fake_clock import FakeClock
from tests.fakes.fake_kie import FakeKie
from tests.support.deployment import text_to_image
from worker.batching.poll_delivery import PollDeliveryBatch
from worker.batching.redis_scripts import RedisScripts
from worker.dependencies import Dependencies
from worker.kie.account_pool import KieAccount, KieAccountPool
from worker.kie.kie_client import KieApi
from worker.limits.account_brake import AccountBrake
from worker.limits.throttle import Throttle, poll_limit, submit_limit
from worker.metrics import Metrics
from worker.queue.delivery_run import UNCLAIMED, DeliveryRun
from worker.queue.lanes import build_lanes, build_periodic
from worker.queue.leased_worker import LeasedWorker
from worker.queue.postgres_notifications import deliver_on_notify
from worker.queue.submit_feed import SubmitFeed
from worker.queue.wake_ups import forward_wake_ups
from worker.recovery.reconciler import Reconciler
from worker.recovery.task_id_backup import TaskIdBackup
from worker.steps.poll import poll_job
from worker.steps.submit import submit_job
from worker.store.job_store import JobStore

PRICE = Decimal(6)
START = Decimal(100)


@dataclass(slots=True)
class WorkerSetup:
    """A worker's dependencies and steps, which tests call directly."""

    deps: Dependencies
    producer: Producer
    database: Database
    redis: ArqRedis
    kie: FakeKie
    clock: FakeClock
    registry: CollectorRegistry
    slept: list[float] = field(default_factory=list)

    def with_deps(self, **changes: Any) -> WorkerSetup:
        """Return this setup with other dependencies."""
        return replace(self, deps=replace(self.deps, **changes))

    def with_kie(self, kie: KieApi, brake: AccountBrake | None = None) -> WorkerSetup:
        """Return this setup with another Kie and one account."""
        brake = brake or AccountBrake(self.deps.scripts)
        return self.with_deps(accounts=KieAccountPool([KieAccount(DEFAULT_ACCOUNT, kie, brake)]))

    def with_settings(self, **changes: Any) -> WorkerSetup:
        """Return this setup with other settings."""
        return self.with_deps(settings=self.deps.settings.model_copy(update=changes))

    async def enqueue(self, request: TextToImage | None = None, **options: Any) -> Job:
        """Enqueue for the account `acme`."""
        return await self.producer.enqueue(request or text_to_image(), account_id="acme", **options)

    async def submit(self, job: Job, run: DeliveryRun = UNCLAIMED) -> float | None:
        """Run the submit step once."""
        return await submit_job(self.deps, job.id, run)

    async def choose(self, places: int = 64) -> float | None:
        """Choose and deliver the jobs that are next."""
        return await SubmitFeed(self.deps, self.deps.accounts.braked_families).fill(places)

    async def poll(self, job: Job) -> float | None:
        """Run the poll step once."""
        return await poll_job(self.deps, job.id)

    async def now_is(self, job: Job) -> Job:
        """Return the job as it is now."""
        return await self.producer.get(job.id)

    async def attempts(self, job: Job) -> list[tuple[str | None, str | None]]:
        """Return outcome and task id of each attempt, oldest first."""
        rows = await self.sql(
            "SELECT outcome, provider_task_id FROM job_attempts WHERE job_id = $1 ORDER BY number",
            job.id,
        )
        return [(row["outcome"], row["provider_task_id"]) for row in rows]

    async def events(self, job: Job) -> list[str]:
        """Return the names of the job's events."""
        rows = await self.sql("SELECT event FROM job_events WHERE job_id = $1 ORDER BY id", job.id)
        return [str(row["event"]) for row in rows]

    async def money(self) -> tuple[Decimal, Decimal]:
        """Return balance and held credits of the account."""
        account = await self.producer.balance("acme")
        return account.balance, account.held

    async def sql(self, statement: str, *args: Any) -> list[dict[str, Any]]:
        """Run any statement."""
        return [dict(row) for row in await self.database.pool.fetch(statement, *args)]

    async def make_due(self, job: Job) -> None:
        """Let the job's delay be over, for Postgres as well."""
        await self.sql("UPDATE jobs SET due_at = now() WHERE id = $1", job.id)

    async def let_pass(self, seconds: float) -> None:
        """Make all open jobs older by so many seconds: Postgres's clock decides about them."""
        await self.sql(
            "UPDATE jobs SET deadline_at = deadline_at - make_interval(secs => $1),"
            " attempted_at = attempted_at - make_interval(secs => $1),"
            " submitted_at = submitted_at - make_interval(secs => $1)"
            " WHERE state IN ('submitting', 'unknown', 'generating')",
            seconds,
        )
        # The cache of the store would still have the old times.
        self.deps = replace(self.deps, store=JobStore(self.database))

    async def delivery_due_in_seconds(self, job_id: UUID, lane: Lane) -> float | None:
        """Return when the delivery is due, counted from now; None where there is none."""
        score = await self.redis.zscore(lane.value, lane.arq_id(job_id))
        seconds, microseconds = await self.redis.time()
        return None if score is None else float(score) / 1000 - seconds - microseconds / 1e6


@asynccontextmanager
async def open_worker_setup(
    settings: Settings, producer: Producer, database: Database, redis: ArqRedis
) -> AsyncIterator[WorkerSetup]:
    """Open a setup with one account of 100 credits."""
    await producer.billing.create_account("acme")
    await producer.billing.grant("acme", START, "for the test")
    clock, kie = FakeClock(), FakeKie()
    registry = CollectorRegistry()
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock.advance(seconds)

    async with aclosing(RedisScripts(redis)) as scripts:
        deps = Dependencies(
            settings=settings,
            store=JobStore(database),
            delivery_queue=DeliveryQueue(redis),
            poll_delivery=PollDeliveryBatch(DeliveryQueue(redis)),
            accounts=KieAccountPool([KieAccount(DEFAULT_ACCOUNT, kie, AccountBrake(scripts))]),
            submit_throttle=Throttle(scripts, submit_limit(0, 30)),
            poll_throttle=Throttle(scripts, poll_limit(3, 8)),
            metrics=Metrics(registry),
            clock=clock,
            random=Random(1),
            sleep=sleep,
            worker_name="test:1",
            task_id_backup=TaskIdBackup(redis, settings.darkroom_home),
            lease_seconds=10.0,
        )
        yield WorkerSetup(deps, producer, database, redis, kie, clock, registry, slept)


async def listen(
    deps: Dependencies, database_url: str, reconciler: Reconciler | None = None, **options: Any
) -> None:
    """Dispatch on notifications until cancelled, as the service does."""
    path = deps.metrics.dispatch_pushes
    reconciler = reconciler or Reconciler(deps)
    await deliver_on_notify(
        database_url,
        reconciler,
        partial(deps.queries.fetch, "notify_echo"),
        path,
        on_pause=deps.pauses.request_read,
        on_route=deps.route_changes.request_read,
        on_cancel=deps.poll_state.record_cancel_request,
        **options,
    )


@asynccontextmanager
async def running_lanes(deps: Dependencies) -> AsyncIterator[list[LeasedWorker]]:
    """Run all lanes with these dependencies, as the service does."""
    feed = SubmitFeed(deps, deps.accounts.braked_families)
    lanes = build_lanes(deps, feed)
    tasks = [
        asyncio.create_task(
            forward_wake_ups(
                deps.delivery_queue,
                lanes,
                deps.metrics.wake_pushes,
                on_jobs_wait=deps.jobs_wait.set,
            )
        ),
        asyncio.create_task(feed.run_until_cancelled()),
    ]
    tasks += [asyncio.create_task(lane.run_until_cancelled()) for lane in lanes]
    tasks += [
        asyncio.create_task(one.run_until_cancelled())
        for one in build_periodic(deps, Reconciler(deps))
    ]
    try:
        yield lanes
        assert not any(task.done() for task in tasks), "a lane died"
    finally:
        for lane in lanes:
            await lane.drain(2)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
