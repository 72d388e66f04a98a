"""The real steps, stores and SQL on a real Postgres, with a Kie that answers on command.

Redis, the throttle and the brake are stand-ins that do nothing: they deliver and delay, and the
model decides what is delivered when. A POST hangs until the model answers it, so workers can
crash, sleep and be overtaken at that very point.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any, NoReturn, TypeVar, cast
from uuid import UUID

import structlog
from prometheus_client import CollectorRegistry

from producer import Actor, Producer
from producer.doctor import check_invariants
from producer.jobs.end_waiter import JobEndWaiter
from producer.jobs.job_repository import JobRepository
from producer.live.change_subscription import ChangeSubscription
from producer.money.price_key import PriceKey
from shared.adapters.postgres.database import Database, connect_database
from shared.adapters.redis.deliveries import DeliveryQueue
from shared.catalog import ImageRequest, KieRequest, KieResponse, ModelFamily
from shared.domain.kie_outcomes import Pending, PollOutcome, SubmitOutcome, TaskLookup
from shared.errors import RedisDown, StaleJob, TooEarly
from shared.kie_accounts import DEFAULT_ACCOUNT
from shared.settings import ChargeBasis, Settings
from worker.batching.poll_delivery import PollDeliveryBatch
from worker.callbacks.callback_handler import CallbackHandler
from worker.dependencies import Dependencies
from worker.kie.account_pool import KieAccount, KieAccountPool
from worker.limits.account_brake import AccountBrake
from worker.limits.throttle import Throttle, submit_limit
from worker.metrics import Metrics
from worker.recovery.late_task_checks import LateTaskChecks
from worker.recovery.reconciler import Reconciler
from worker.recovery.task_id_backup import TaskIdBackup
from worker.steps.poll import poll_job
from worker.steps.submit import submit_job
from worker.store.job_store import JobStore

CALLBACK_URL = "http://kie.example"
DEADLINE_SECONDS = 1_800.0
UNKNOWN_LIMIT_SECONDS = 900.0
LEASE_SECONDS = 10.0
OPERATOR = Actor("maria", is_operator=True)
STEP_TIMEOUT_SECONDS = 30.0
_FAR_SECONDS = 3_600.0
_CLEARED = (
    *("scheduled_prices", "pauses", "model_routes", "chosen_jobs", "account_turns"),
    *("late_tasks", "callback_inbox", "job_events", "ledger_entries", "job_attempts", "jobs"),
    "accounts",
)

_T = TypeVar("_T")


@dataclass(slots=True, eq=False)
class Post:
    """One paid POST that has reached Kie and hangs until it is answered."""

    job_id: UUID
    token: str
    reply: asyncio.Future[SubmitOutcome]
    worker: asyncio.Task[float | None]
    made_nothing: bool = False
    """Whether Kie has said that it certainly made no task of it."""


class SlowKie:
    """A Kie that answers POSTs on command, and polls with a set outcome."""

    def __init__(self) -> None:
        self.arrivals: asyncio.Queue[Post] = asyncio.Queue()
        self.outcome: PollOutcome = Pending(0.0)
        self.makers: dict[str, str] = {}
        """Which token made a task."""
        self.is_silent = False
        """Whether record-info leaves out by which callback URL a task was made."""
        self.asked_about: list[str] = []
        self.asked_families: list[str] = []
        """By which family each was asked about."""

    async def submit(
        self, family: ModelFamily, request: ImageRequest, *, callback_url: str | None
    ) -> SubmitOutcome:
        """Take the POST in and wait."""
        del family, request
        worker = cast("asyncio.Task[float | None]", asyncio.current_task())
        reply: asyncio.Future[SubmitOutcome] = asyncio.get_running_loop().create_future()
        token = (callback_url or "").rpartition("/")[2]
        self.arrivals.put_nowait(Post(UUID(int=0), token, reply, worker))
        return await reply

    async def poll(self, family: ModelFamily, task_id: str) -> PollOutcome:
        """Return the outcome that was set."""
        self.asked_about.append(task_id)
        self.asked_families.append(family.name)
        return self.outcome

    async def examine(self, family: ModelFamily, task_id: str) -> TaskLookup:
        """Return the outcome that was set, and the maker of the task unless silent."""
        outcome = await self.poll(family, task_id)
        if self.is_silent:
            return TaskLookup(outcome, None)
        maker = self.makers.get(task_id, "somebody-else")
        return TaskLookup(outcome, f"{CALLBACK_URL}/callbacks/kie/{maker}")

    async def download_link(self, family: ModelFamily, task_id: str, url: str) -> str | None:
        """Give no link."""
        del family, task_id, url
        return None

    async def credit(self) -> Decimal | None:
        """Say nothing."""
        return None

    async def query_catalogue(self, request: KieRequest) -> KieResponse | None:
        """Say nothing."""
        del request
        return None


class ClosedRedis:
    """A Redis that is down: estimates are made without it."""

    def pipeline(self, **_: object) -> NoReturn:
        """Refuse."""
        raise RedisDown("the model has no Redis")


class NoRedis:
    """Delivery, brake and throttle without Redis; a pause of the brake is an hour."""

    redis: Any = ClosedRedis()
    limit = submit_limit(0, 30)
    level = 0
    is_paused = False
    is_probing = False
    needs_success_reports = False

    async def deliver(
        self, deliveries: object, *, changes: object = (), others_wait: bool = False
    ) -> None:
        """Forget it: the model delivers."""

    async def publish_changes(self, changes: object) -> None:
        """Nobody listens."""

    async def make_due_now(self, job_id: object, lane: object) -> None:
        """The model polls when it likes."""

    def family_brake(self, model: str) -> NoRedis:
        """Return the brake of a family: this one."""
        del model
        return self

    async def record_wrong_endpoint(self, *_: object) -> float:
        """Return the pause."""
        return _FAR_SECONDS

    async def record_uncertain_submit(self, *_: object) -> float:
        """Never pause: the model decides what is submitted."""
        return 0.0

    async def record_task_failure(self, *_: object) -> float:
        """Never pause: the model decides what is submitted."""
        return 0.0

    async def apply(self, reason: str, message: str) -> float:
        """Return the pause."""
        del reason, message
        return _FAR_SECONDS

    async def slow_down(self, *_: object, **__: object) -> float:
        """Return the pause of the job."""
        return _FAR_SECONDS

    @asynccontextmanager
    async def permit(self, *_: object, **__: object) -> AsyncIterator[None]:
        """Grant at once."""
        yield


@dataclass(slots=True)
class LaterClock:
    """The real time, moved on by so many seconds."""

    ahead_seconds: float = 0.0

    def now(self) -> datetime:
        """Return the time."""
        return datetime.now(UTC) + timedelta(seconds=self.ahead_seconds)

    def monotonic(self) -> float:
        """Return seconds."""
        return time.monotonic() + self.ahead_seconds


@dataclass(slots=True)
class ModelSetup:
    """Everything that the model test moves, on one loop and one database."""

    runner: asyncio.Runner
    database: Database
    deps: Dependencies
    kie: SlowKie
    producer: Producer
    callbacks: CallbackHandler
    posts: list[Post] = field(default_factory=list)

    @property
    def store(self) -> JobStore:
        return self.deps.store

    def run(self, step: Coroutine[Any, Any, _T]) -> _T:
        """Run one step to its end, within its time, without its log."""

        async def within_time() -> _T:
            async with asyncio.timeout(STEP_TIMEOUT_SECONDS):
                return await step

        with structlog.testing.capture_logs():
            return self.runner.run(within_time())

    def hanging(self) -> list[Post]:
        """Return the unanswered POSTs whose worker is running."""
        return [post for post in self.posts if not post.worker.done()]

    # --- the worker's side --------------------------------------------------------------------

    async def deliver(
        self, job_id: UUID, *, workers: int = 1, lease_seconds: float = LEASE_SECONDS
    ) -> list[Post]:
        """Run the submit step of so many workers at once; return the POSTs that they began."""
        deps = replace(self.deps, lease_seconds=lease_seconds)
        running = {asyncio.create_task(submit_job(deps, job_id)) for _ in range(workers)}
        begun: list[Post] = []
        arriving = asyncio.create_task(self.kie.arrivals.get())
        while running:
            done, _ = await asyncio.wait({arriving, *running}, return_when="FIRST_COMPLETED")
            if arriving in done:
                begun.append(replace(arriving.result(), job_id=job_id))
                running.discard(begun[-1].worker)
                arriving = asyncio.create_task(self.kie.arrivals.get())
            for task in done & running:
                running.discard(task)
                with suppress(StaleJob, TooEarly):
                    await task
        arriving.cancel()
        self._check_paid_once(job_id, begun)
        self.posts += begun
        return begun

    def _check_paid_once(self, job_id: UUID, begun: Sequence[Post]) -> None:
        """Check by Kie's record that no POST is sent while an earlier one may have made a task."""
        earlier = [post for post in self.posts if post.job_id == job_id]
        assert len(begun) <= 1, f"job {job_id} was sent to Kie {len(begun)} times at once"
        assert not begun or all(post.made_nothing for post in earlier), (
            f"job {job_id} was sent to Kie again although a paid task may exist"
        )

    async def reply(self, post: Post, outcome: SubmitOutcome) -> bool:
        """Answer a POST; return whether the worker could store the answer."""
        post.reply.set_result(outcome)
        try:
            await post.worker
        except StaleJob:
            return False
        return True

    async def crash(self, post: Post) -> None:
        """Let the worker die while it waits for Kie's answer."""
        post.worker.cancel()
        with suppress(asyncio.CancelledError):
            await post.worker

    async def poll(
        self, job_id: UUID, outcome: PollOutcome, *, basis: ChargeBasis, late_seconds: float = 0
    ) -> None:
        """Run the poll step, so long after now.

        The worker has seen the job before that time passes, so that it passes once for the job
        that it remembers, by its own clock, and once for the row, by the deadline that is moved.
        """
        self.kie.outcome = outcome
        await self.store.load_for_poll(job_id)
        settings = self.deps.settings.model_copy(update={"charge_basis": basis})
        # For Postgres as well, whose clock decides about deadlines.
        await self._move_deadline(job_id, -late_seconds)
        await poll_job(
            replace(self.deps, settings=settings, clock=LaterClock(late_seconds)), job_id
        )
        await self._move_deadline(job_id, late_seconds)

    async def _move_deadline(self, job_id: UUID, seconds: float) -> None:
        await self.database.pool.execute(
            "UPDATE jobs SET deadline_at = deadline_at + make_interval(secs => $2)"
            " WHERE id = $1 AND state = 'generating'",
            job_id,
            seconds,
        )

    async def sweep_unknown(self) -> None:
        """End the unknown submissions whose limit has passed, as the reconciler does."""
        await Reconciler(self.deps).unknown_submissions.end_overdue()

    async def handle_callback(self, inbox_id: int, outcome: PollOutcome, *, silent: bool) -> None:
        """Handle one stored callback."""
        self.kie.outcome, self.kie.is_silent = outcome, silent
        await self.callbacks.handle(inbox_id)

    async def check_late_tasks(self, outcome: PollOutcome, *, silent: bool) -> None:
        """Check every task that its job does not wait for, as the periodic work does."""
        self.kie.outcome, self.kie.is_silent = outcome, silent
        await self.database.pool.execute(
            "UPDATE late_tasks SET next_check_at = now() - interval '1 s' FROM jobs"
            " WHERE jobs.id = job_id AND jobs.finished_at IS NOT NULL AND outcome IS NULL"
        )
        await LateTaskChecks(self.deps, most=1_000).check_due()

    # --- the database's side ------------------------------------------------------------------

    async def rows(self, statement: str, *args: object) -> list[dict[str, Any]]:
        """Run any statement."""
        return [dict(row) for row in await self.database.pool.fetch(statement, *args)]

    async def type_price(self, key: PriceKey, credits: Decimal) -> None:
        """Change a price as an admin does, with a confirmation, after what is due by schedule."""
        async with self.database.transaction() as queries:
            await queries.fetch_row("apply_scheduled_prices")
            await queries.connection.execute("SET LOCAL darkroom.confirm = 'yes'")
            await queries.connection.execute(
                "INSERT INTO pricing (model, task, quantity, variant, credits, provider_credits)"
                " VALUES ($1, $2, $3, $4, $5, $5) ON CONFLICT (model, task, quantity, variant)"
                " DO UPDATE SET credits = excluded.credits",
                *key,
                credits,
            )

    async def let_price_come(self, scheduled_id: int) -> None:
        """Let the time of a scheduled change be now. Nothing applies it yet."""
        async with self.database.pool.acquire() as connection, connection.transaction():
            await connection.execute("SET LOCAL session_replication_role = replica")
            await connection.execute(
                "UPDATE scheduled_prices SET takes_effect_at = clock_timestamp() WHERE id = $1",
                scheduled_id,
            )

    async def broken_invariants(self) -> list[str]:
        """Return the doctor's findings that are not ok."""
        findings = [one async for one in check_invariants(self.database)]
        assert findings
        return [f"{one.name}: {one.detail}" for one in findings if not one.ok]

    async def clear(self) -> None:
        """Reset: end every worker, and delete every job, account and old price."""
        for post in self.hanging():
            await self.crash(post)
        self.posts.clear()
        self.kie.makers.clear()
        self.producer.enqueuer.routes.forget()
        async with self.database.pool.acquire() as connection, connection.transaction():
            # Only here, between two examples, are the triggers that forbid this switched off.
            await connection.execute("SET LOCAL session_replication_role = replica")
            for table in _CLEARED:
                await connection.execute(f"DELETE FROM {table}")
            await connection.execute("DELETE FROM pricing_history WHERE NOT upper_inf(valid)")


async def _open(stack: AsyncExitStack, url: str, home: Path) -> tuple[Database, Settings]:
    database = await stack.enter_async_context(connect_database(url, connections=4))
    settings = Settings(
        darkroom_home=home,
        kie_callback_url=CALLBACK_URL,
        job_deadline_seconds=DEADLINE_SECONDS,
        unknown_limit_seconds=UNKNOWN_LIMIT_SECONDS,
    )
    return database, settings


def build_model_setup(
    runner: asyncio.Runner, stack: AsyncExitStack, url: str, home: Path
) -> ModelSetup:
    """Return a setup over the database of that URL; `stack` closes it on the same loop."""
    database, settings = runner.run(_open(stack, url, home))
    no_redis, kie = NoRedis(), SlowKie()
    delivery_queue = cast("DeliveryQueue", no_redis)
    deps = Dependencies(
        settings=settings,
        store=JobStore(database),
        delivery_queue=delivery_queue,
        poll_delivery=PollDeliveryBatch(delivery_queue),
        accounts=KieAccountPool([KieAccount(DEFAULT_ACCOUNT, kie, cast("AccountBrake", no_redis))]),
        submit_throttle=cast("Throttle", no_redis),
        poll_throttle=cast("Throttle", no_redis),
        metrics=Metrics(CollectorRegistry()),
        clock=LaterClock(),
        random=Random(0),
        sleep=asyncio.sleep,
        worker_name="model",
        task_id_backup=TaskIdBackup(cast("Any", no_redis), home),
        lease_seconds=LEASE_SECONDS,
    )
    watch = JobEndWaiter(JobRepository(database), ChangeSubscription(delivery_queue))
    producer = Producer(database, delivery_queue, watch, job_deadline_seconds=DEADLINE_SECONDS)
    return ModelSetup(runner, database, deps, kie, producer, CallbackHandler(deps, database))
