"""Everything a step needs. Built once by `bootstrap`, and passed to every step."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from typing import Protocol

from shared.adapters.kie.file_uploads import FileUploads
from shared.adapters.kie.kie_connection import NO_UPLOAD_ACCESS
from shared.adapters.postgres.database import Queries
from shared.adapters.redis.deliveries import DeliveryQueue
from shared.settings import Settings
from worker.batching.change_publisher import PublishChange, discard_change
from worker.batching.poll_delivery import PollDeliveryBatch
from worker.batching.redis_scripts import RedisScripts
from worker.crash_points import CrashPointHook, ignore_crash_points
from worker.kie.account_pool import KieAccountPool
from worker.limits.active_pauses import ActivePauses
from worker.limits.model_routes import RouteChanges
from worker.limits.throttle import Throttle
from worker.metrics import Metrics
from worker.queue.pending_work import PendingWork
from worker.recovery.task_id_backup import TaskIdBackup
from worker.steps.poll_state import PollState
from worker.store.job_store import JobStore
from worker.webhooks.http_sender import WebhookSender
from worker.webhooks.send_concurrency import SendConcurrency

Sleep = Callable[[float], Awaitable[None]]


class Clock(Protocol):
    """The clock as an argument. The worker uses Postgres's clock (`ServerClock`), because it
    compares the time with times that Postgres stores.
    """

    def now(self) -> datetime:
        """Return the current time by Postgres's clock, timezone-aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Return monotonic seconds. Use them to measure how long something takes."""
        ...


def always_true() -> bool:
    """Return True."""
    return True


@dataclass(frozen=True, slots=True)
class Dependencies:
    """The settings, connections, limits and shared state of one worker."""

    settings: Settings
    store: JobStore
    delivery_queue: DeliveryQueue
    poll_delivery: PollDeliveryBatch
    accounts: KieAccountPool
    submit_throttle: Throttle
    poll_throttle: Throttle
    metrics: Metrics
    clock: Clock
    random: Random
    sleep: Sleep
    worker_name: str
    lease_seconds: float
    task_id_backup: TaskIdBackup
    """The task ids that Postgres could not store yet."""
    check_crash_point: CrashPointHook = ignore_crash_points
    """Called at each crash point."""
    may_claim: Callable[[], bool] = always_true
    """Returns whether this worker uses the same Redis as the other workers of its database."""
    publish_change: PublishChange = discard_change
    """Called after every event that is stored. Never waits and never raises."""
    webhook_sender: WebhookSender = field(default_factory=WebhookSender)
    """The HTTP client for webhooks. `bootstrap` opens it."""
    file_uploads: FileUploads = field(default_factory=lambda: FileUploads(NO_UPLOAD_ACCESS))
    """The client of Kie's file upload host. `bootstrap` opens it."""
    send_concurrency: SendConcurrency = field(default_factory=SendConcurrency)
    """The limits of concurrent webhooks."""
    route_changes: RouteChanges = field(default_factory=RouteChanges)
    """Requests to look for changes of routes."""
    poll_state: PollState = field(default_factory=PollState)
    """What this worker knows of the tasks that it polls."""

    pending_work: PendingWork = field(default_factory=PendingWork)
    """What Postgres has to do, as the heartbeat of this worker finds it."""
    jobs_wait: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when jobs may wait in Postgres to be chosen."""
    job_ended: asyncio.Event = field(default_factory=asyncio.Event)
    """Set after this worker has published the end of a job."""
    images_to_copy: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when images of this worker wait to be copied."""

    @property
    def scripts(self) -> RedisScripts:
        """The scripts of this worker. Calls made at the same time share a round trip."""
        return self.poll_throttle.scripts

    @property
    def pauses(self) -> ActivePauses:
        """The pauses of everything and of Kie accounts, as this worker last read them."""
        return self.accounts.pauses

    @property
    def queries(self) -> Queries:
        """The queries of the store, for statements that move no job."""
        return self.store.queries
