"""What a step needs, gathered once by the composition root and handed to every step."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from uuid import UUID

from shared.adapters.postgres.database import Queries
from shared.adapters.redis.deliveries import DeliveryQueue
from shared.settings import Settings
from worker.batching.change_publisher import PublishChange, discard_change
from worker.batching.poll_delivery import PollDeliveryBatch
from worker.batching.redis_scripts import RedisScripts
from worker.clock import Clock
from worker.crash_points import CrashPointHook, ignore_crash_points
from worker.kie.account_pool import KieAccountPool
from worker.limits.account_concurrency import AccountConcurrency
from worker.limits.throttle import Throttle
from worker.metrics import Metrics
from worker.poll_timing import PollPlanner
from worker.poll_timing.callback_trust import CallbackTrust
from worker.recovery.task_id_backup import TaskIdBackup
from worker.store.job_store import JobStore
from worker.webhooks.http_sender import WebhookSender
from worker.webhooks.send_concurrency import SendConcurrency

Sleep = Callable[[float], Awaitable[None]]


def always_true() -> bool:
    """Return that it is so."""
    return True


@dataclass(frozen=True, slots=True)
class Dependencies:
    """The worker's rooms, as the steps see them."""

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
    """Called between steps; kills the process there when a drill says so."""
    callback_trust: CallbackTrust = field(default_factory=CallbackTrust)
    """This worker's experience with callbacks."""
    poll_planner: PollPlanner = field(default_factory=PollPlanner)
    """What is known about how long tasks take; says when to look next."""
    may_claim: Callable[[], bool] = always_true
    """Whether this worker uses the Redis that the workers of its database share."""
    publish_change: PublishChange = discard_change
    """Called after every event that is stored; never waits, never raises."""
    poll_concurrency: AccountConcurrency = field(default_factory=AccountConcurrency)
    """How many polls of each Kie account are under way."""
    webhook_sender: WebhookSender = field(default_factory=WebhookSender)
    """The way out for webhooks; the composition root opens it."""
    send_concurrency: SendConcurrency = field(default_factory=SendConcurrency)
    """Who may send a webhook from here now."""
    undecided_polls: dict[UUID, int] = field(default_factory=dict)
    """Answers in a row that decided nothing, per job in flight here."""
    overdue_jobs: set[UUID] = field(default_factory=set)
    """Jobs in flight here whose tasks take far longer than any of their kind did."""

    @property
    def scripts(self) -> RedisScripts:
        """The one way to Redis on which the scripts of this worker travel together."""
        return self.poll_throttle.scripts

    @property
    def queries(self) -> Queries:
        """The store's own way to Postgres, for what is no move of a job."""
        return self.store.queries
