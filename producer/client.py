"""The Python client: enqueue jobs, follow them, cancel and retry them, read prices and balances."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from producer.actor import Actor
from producer.billing import Billing
from producer.bulk.bulk_actions import BulkActions
from producer.bulk.bulk_result import BulkResult
from producer.bulk.job_selection import JobSelection
from producer.files.file_methods import FileMethods
from producer.files.image_checks import ImageChecks
from producer.files.image_uploads import ImageUploads, no_upload_access
from producer.jobs.end_waiter import JobEndWaiter, open_end_waiter
from producer.jobs.job_counts import JobCount
from producer.jobs.job_filter import JobFilter
from producer.jobs.job_repository import EnqueueResult, JobRepository
from producer.jobs.job_retries import build_retry_order
from producer.jobs.operator_methods import OperatorMethods, parse_job_id
from producer.kie_brakes import KieBrakes
from producer.list_pages import DEFAULT_LIST_LIMIT, ESTIMATE, JobPage, require_limit
from producer.live.change_digest import ChangeDigest
from producer.live.event_feed import EventFeed
from producer.model_routes import ModelRoutes
from producer.money.money_methods import MoneyMethods
from producer.monitoring.history import HISTORY_HOURS_DEFAULT, History, read_history
from producer.monitoring.kie_models import KieReports
from producer.monitoring.overview import Overview, OverviewReader
from producer.orders.order import Order, Priority, require_orders
from producer.orders.order_enqueuer import OrderEnqueuer
from producer.pauses import PauseAdmin
from producer.results.stored_images import CopyOptions, StoredImages
from producer.waiting.wait_estimates import WaitEstimates
from producer.waiting.waiting_snapshot import SnapshotReader
from producer.webhooks.webhook_admin import WebhookAdmin
from shared.adapters.kie.kie_connection import UploadAccess, choose_upload_access
from shared.adapters.monitoring.alert_monitor import AlertReport, read_alerts
from shared.adapters.postgres.database import Connection, Database, connect_database
from shared.adapters.redis.deliveries import DeliveryQueue, connect_redis
from shared.adapters.servers import Servers, open_servers
from shared.catalog import ImageRequest
from shared.domain.job import Job
from shared.domain.lifecycle import JobState
from shared.domain.outbound_proxies import NO_RULES, OutboundRules
from shared.kie_accounts import DEFAULT_ACCOUNT
from shared.settings import ChargeBasis, Settings, load_settings

LOCK_TIMEOUT_SECONDS = 1.5
"""How long a call waits for a row that another session has locked, before it raises `RowBusy`."""
_JOB_DEADLINE_SECONDS: float = Settings.model_fields["job_deadline_seconds"].default
_CHARGE_BASIS: ChargeBasis = Settings.model_fields["charge_basis"].default


class Producer(OperatorMethods, FileMethods, MoneyMethods):
    """Enqueues jobs and returns their state. Open one per process with `connect`.

    Every method may raise `PostgresDown`. None fails because Redis is down: jobs are stored in
    Postgres and delivered when Redis is back.
    """

    def __init__(  # noqa: PLR0913  # settings, all with defaults
        self,
        database: Database,
        delivery_queue: DeliveryQueue,
        end_waiter: JobEndWaiter,
        *,
        job_deadline_seconds: float = _JOB_DEADLINE_SECONDS,
        charge_basis: ChargeBasis = _CHARGE_BASIS,
        webhooks_allow_loopback: bool = False,
        outbound: OutboundRules = NO_RULES,
        kie_account_names: Sequence[str] = (DEFAULT_ACCOUNT,),
        alerts: Callable[[], Awaitable[AlertReport]] | None = None,
    ) -> None:
        super().__init__(
            database,
            delivery_queue,
            OrderEnqueuer(database, delivery_queue, webhooks_allow_loopback, outbound.receivers),
            job_deadline_seconds=job_deadline_seconds,
            charge_basis=charge_basis,
        )
        self._end_waiter = end_waiter
        redis = delivery_queue.redis
        alerts = alerts or partial(read_alerts, database, redis, kie_account_names)
        self._overview = OverviewReader(database, redis, kie_account_names, alerts)
        self.waiting = WaitEstimates(database, SnapshotReader(database, redis, kie_account_names))
        """When queued jobs are submitted."""
        self._jobs = JobRepository(database)
        self._bulk = BulkActions(database, self.enqueuer)
        self.files = ImageUploads(database, no_upload_access)
        self.images = ImageChecks(database, outbound.proxies)
        self.events = EventFeed(database, end_waiter.subscription)
        """Streams of events, per job and per account."""
        self.changes = ChangeDigest(end_waiter.subscription)
        """Which jobs of any account have changed, once a second."""
        self.push_path = end_waiter.subscription.path
        """Whether announcements of changed jobs arrive, and what was found without one."""
        self.billing = Billing(database)
        self.pauses = PauseAdmin(database)
        """Pauses of submits: of everything, a model, an account or a Kie account."""
        self.models = ModelRoutes(database, on_change=self.enqueuer.routes.forget)
        """The models of the catalog, and by which family each is sent."""
        self.brakes = KieBrakes(database, delivery_queue)
        """The brakes that workers have applied to Kie accounts, and their end."""
        self.kie = KieReports(database)
        """What Kie says of its models and prices, and what of its responses is not known."""
        self.webhooks = WebhookAdmin(database, delivery_queue, outbound.receivers)
        """Webhook messages, their replay, and the secrets of endpoints."""

    @staticmethod
    @asynccontextmanager
    async def connect(settings: Settings | None = None) -> AsyncIterator[Producer]:
        """Connect with the given settings, or with those of the environment.

        Raises `PostgresDown`, and `ConfigurationError`, also if DARKROOM_HOME has no database.
        """
        settings = settings or load_settings()
        async with (
            open_servers(settings, creates_database=False) as servers,
            Producer.connect_to(
                servers,
                job_deadline_seconds=settings.job_deadline_seconds,
                charge_basis=settings.charge_basis,
                webhooks_allow_loopback=settings.webhooks_allow_loopback,
                outbound=settings.outbound,
                kie_account_names=settings.kie_account_names,
                upload_access=partial(choose_upload_access, settings, servers),
                copies=CopyOptions.of(settings),
            ) as producer,
        ):
            await producer._log_redis_of_another_database()
            yield producer

    @staticmethod
    @asynccontextmanager
    async def connect_to(  # noqa: PLR0913  # settings, all with defaults
        servers: Servers,
        *,
        job_deadline_seconds: float = _JOB_DEADLINE_SECONDS,
        charge_basis: ChargeBasis = _CHARGE_BASIS,
        webhooks_allow_loopback: bool = False,
        outbound: OutboundRules = NO_RULES,
        kie_account_names: Sequence[str] = (DEFAULT_ACCOUNT,),
        copies: CopyOptions | None = None,
        alerts: Callable[[], Awaitable[AlertReport]] | None = None,
        upload_access: Callable[[], Awaitable[UploadAccess]] = no_upload_access,
        database_connections: int = 10,
    ) -> AsyncIterator[Producer]:
        """Connect to servers that are already open, by at most `database_connections` to Postgres.

        `alerts` returns the alerts for the overview; without, each overview evaluates them.
        `copies` says where images are copied to, `upload_access` where files are uploaded.
        """
        async with AsyncExitStack() as stack:
            connecting = connect_database(
                servers.database_url,
                connections=database_connections,
                name="darkroom-producer",
                lock_timeout_seconds=LOCK_TIMEOUT_SECONDS,
                clamps_timestamps=True,
            )
            database = await stack.enter_async_context(connecting)
            redis = await stack.enter_async_context(connect_redis(servers.redis_url))
            delivery_queue = DeliveryQueue(redis)
            end_waiter = open_end_waiter(JobRepository(database), delivery_queue)
            producer = Producer(
                database,
                delivery_queue,
                await stack.enter_async_context(end_waiter),
                job_deadline_seconds=job_deadline_seconds,
                charge_basis=charge_basis,
                webhooks_allow_loopback=webhooks_allow_loopback,
                outbound=outbound,
                kie_account_names=kie_account_names,
                alerts=alerts,
            )
            producer.files = ImageUploads(database, upload_access)
            stack.push_async_callback(producer.close_clients)
            stack.push_async_callback(producer.enqueuer.routes.close)
            producer.stored_images = StoredImages(database, copies)
            stack.push_async_callback(producer.events.close)
            yield producer

    async def enqueue(  # noqa: PLR0913  # the fields of an order
        self,
        request: ImageRequest,
        *,
        account_id: str,
        idempotency_key: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        webhook_url: str | None = None,
        priority: Priority = "normal",
        run_at: datetime | None = None,
        check_images: bool = False,
        connection: Connection | None = None,
    ) -> Job:
        """Store a job and hold its quoted price, in one Postgres transaction.

        The same idempotency key returns the first job again. `connection` is an asyncpg connection
        with the schema of Darkroom's tables in its `search_path`, and with asyncpg's own codecs for
        uuid and numeric. With it, the job becomes part of the caller's transaction: it exists, and
        workers are notified, when that commits. With `check_images`, the images are requested
        first like by `check_images`, for up to 10 s each.

        Raises `InvalidRequest`, `AccountNotFound`, `InsufficientCredits`, `LimitReached`,
        `PriceMissing` and `IdempotencyConflict`, each with nothing stored.
        """
        order = self.enqueuer.build_order(
            request=request,
            account_id=account_id,
            idempotency_key=idempotency_key,
            metadata={} if metadata is None else metadata,
            webhook_url=webhook_url,
            priority=priority,
            run_at=run_at,
        )
        [job] = await self.enqueue_many([order], check_images=check_images, connection=connection)
        return job

    async def enqueue_many(
        self,
        orders: Sequence[Order],
        *,
        check_images: bool = False,
        connection: Connection | None = None,
    ) -> list[Job]:
        """Store up to 10,000 orders, all or none, and return their jobs in the same order.

        With `check_images`, each image is requested first, once, 32 at a time. Raises the errors of
        `enqueue`. The fields of the faults of several orders begin with `jobs.<index>.`.
        """
        require_orders(orders)
        if check_images:
            await self.images.check_orders(orders)
        async with self.waiting.timing_refusals():
            enqueued = await self.enqueuer.enqueue(orders, connection=connection)
        if connection is not None:
            return [one.job for one in enqueued]
        new = iter(await self.waiting.add_to_new([one.job for one in enqueued if one.is_new]))
        return [next(new) if one.is_new else one.job for one in enqueued]

    async def get(self, job_id: UUID | str) -> Job:
        """Return the job, or raise `JobNotFound`."""
        [job] = await self.waiting.add([await self._jobs.get(parse_job_id(job_id))])
        return job

    async def get_many(self, job_ids: Sequence[UUID]) -> Sequence[Job]:
        """Return the jobs that exist, newest first."""
        return await self.waiting.add(await self._jobs.get_many(job_ids))

    async def job_details(self, job_id: UUID | str) -> dict[str, list[dict[str, Any]]]:
        """Return what is stored about a job, oldest first, by kind.

        The kinds are `events`, `attempts`, `entries` (of the ledger), `late_tasks`, `audit`,
        `webhooks` (the messages about the job) and `retries` (the jobs that repeat its request).
        """
        return await self._jobs.read_details(parse_job_id(job_id))

    async def wait(self, job_id: UUID | str, *, timeout_seconds: float = 600) -> Job:
        """Wait until the job has ended, and return it. Workers announce the end over Redis.

        A wait also ends when the cancel of a job at Kie is requested meanwhile: the job is then
        open and has `cancel_requested_at`. A wait that begins later lasts until the end. Raises
        `JobNotFound` and `WaitTimedOut`. A timeout does not end the job.
        """
        return await self._end_waiter.wait(parse_job_id(job_id), timeout_seconds)

    async def list(
        self,
        where: JobFilter | None = None,
        *,
        account_id: str | None = None,
        state: JobState | str | None = None,
        limit: int = DEFAULT_LIST_LIMIT,
        below: UUID | None = None,
    ) -> list[Job]:
        """Return up to `limit` jobs, newest first. The largest limit is 1,000.

        `where` selects them. `account_id` and `state` replace these two of its filters. `below` is
        the last id of the previous page. Raises `InvalidRequest`.
        """
        require_limit(limit)
        where = where or JobFilter()
        if account_id is not None:
            where = replace(where, account_id=account_id)
        if state is not None:
            where = replace(where, state=state)
        return await self.waiting.add(await self._jobs.list(where, below=below, limit=limit))

    async def page(
        self,
        where: JobFilter | None = None,
        *,
        limit: int = DEFAULT_LIST_LIMIT,
        below: UUID | None = None,
        without: Collection[str] = (),
    ) -> JobPage:
        """Return jobs like `list`, at most 2 MiB of them, and the id below which the next page is.

        `without` may contain `request` and `metadata`, which are then empty and do not count
        towards the 2 MiB, and `estimate`: then no job has a position and an estimated start.
        """
        require_limit(limit)
        where = where or JobFilter()
        page = await self._jobs.page(where, below=below, limit=limit, without=without)
        if ESTIMATE in without:
            return page
        return JobPage(await self.waiting.add(page.jobs), page.next_below)

    async def count(self, where: JobFilter) -> Sequence[JobCount]:
        """Return how many jobs match the filter, by state and reason."""
        return await self._jobs.count(where)

    async def overview(self) -> Overview:
        """Return the figures of the queue, the alerts and the last failures, at most 1 s old.

        If Redis is down, `redis_error` is set and the alerts of Redis are missing.
        """
        return await self._overview.read()

    async def history(self, hours: int = HISTORY_HOURS_DEFAULT) -> History:
        """Return what the workers sampled in the last `hours`, 1 to 168, oldest first.

        Up to 2 hours have an interval of 15 s, more have 5 min. An interval that no worker sampled
        is missing. Raises `InvalidRequest`.
        """
        return await read_history(self._database, hours)

    async def cancel(self, job_id: UUID | str, *, actor: Actor | None = None) -> Job:
        """Cancel a queued job and release its hold, or request the cancel of a job at Kie.

        Kie takes no task back. A job at Kie stays in its state and gets `cancel_requested_at`:
        waits for it end, and the job ends by Kie's outcome. A success is charged, a failure
        releases the hold, and an attempt that created no task ends the job as cancelled. A repeated
        call returns the job. If `actor` is an operator, an audit entry is written.

        Raises `JobNotFound`, and `TooLateToCancel` if the job has ended.
        """
        job = await self._jobs.cancel(parse_job_id(job_id), actor)
        await self._announce_end(job)
        return job

    async def retry(
        self, job_id: UUID | str, *, again: bool = False, actor: Actor | str | None = None
    ) -> Job:
        """Enqueue a new job with the request of an ended job, and link it to that job.

        The account of the ended job pays, by the current price. A job is retried once: a second
        call returns the job of the first. A job that succeeded is retried only with `again`. The
        audit entry names `actor`, or the Postgres login without one. Raises the errors of
        `enqueue`, and `StateConflict` if the first job is open or succeeded.
        """
        return (await self.retry_once(job_id, again=again, actor=actor)).job

    async def retry_once(
        self, job_id: UUID | str, *, again: bool = False, actor: Actor | str | None = None
    ) -> EnqueueResult:
        """Retry a job like `retry`, and return also whether this call enqueued the new job."""
        first = await self.get(job_id)
        retry = await self._jobs.find_retry(first.id)
        if retry is not None:
            [retry] = await self.waiting.add([retry])
            return EnqueueResult(retry, is_new=False)
        orders = [build_retry_order(first, again=again)]
        [enqueued] = await self.enqueuer.enqueue(orders, actor=actor)
        return replace(enqueued, job=(await self.waiting.add_to_new([enqueued.job]))[0])

    async def cancel_many(
        self, selection: JobSelection, *, dry_run: bool = False, actor: Actor | str | None = None
    ) -> BulkResult:
        """Cancel the queued jobs of the selection, up to 1,000, and return each outcome.

        With `dry_run`, nothing is done: the result says how many jobs match and what they hold.
        Raises `StateConflict` for a filter that no queued job matches.
        """
        result = await self._bulk.cancel(selection, dry_run=dry_run, actor=actor)
        await self._announce_ends([one.job for one in result.done if one.is_new])
        return result

    async def retry_many(
        self,
        selection: JobSelection,
        *,
        again: bool = False,
        dry_run: bool = False,
        actor: Actor | str | None = None,
    ) -> BulkResult:
        """Retry the ended jobs of the selection like `retry`, up to 1,000, and return each outcome.

        A filter without states selects failed jobs. With `dry_run`, nothing is done: the result
        says how many jobs match, and what their retries would hold of which account. Raises
        `StateConflict` for a filter that no such job matches.
        """
        return await self._bulk.retry(selection, again=again, dry_run=dry_run, actor=actor)
