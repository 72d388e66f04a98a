"""What a step needs, gathered once by the composition root and handed to every step."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from uuid import UUID

from shared.adapters.postgres.database import Queries
from shared.adapters.redis.deliveries import DeliveryQueue
from shared.settings import Settings
from worker.batching.change_publisher import Announce, announce_to_nobody
from worker.batching.poll_delivery import PollDeliveries
from worker.batching.redis_scripts import Scripts
from worker.clock import Clock
from worker.crash_points import Reach, reach_nothing
from worker.kie.account_pool import KieAccounts
from worker.limits.account_concurrency import KieExchanges
from worker.limits.throttle import Throttle
from worker.metrics import Metrics
from worker.poll_timing import Timetable
from worker.poll_timing.callback_trust import CallbackTrust
from worker.recovery.task_id_backup import EvidenceStore
from worker.store.job_store import JobStore
from worker.webhooks.http_sender import Sender
from worker.webhooks.send_concurrency import Turns

Sleep = Callable[[float], Awaitable[None]]


def always() -> bool:
    """Return that it is so."""
    return True


@dataclass(frozen=True, slots=True)
class Deps:
    """The worker's rooms, as the steps see them."""

    settings: Settings
    store: JobStore
    delivery_queue: DeliveryQueue
    poll_deliveries: PollDeliveries
    accounts: KieAccounts
    submits: Throttle
    polls: Throttle
    metrics: Metrics
    clock: Clock
    random: Random
    sleep: Sleep
    worker_name: str
    lease_seconds: float
    evidence: EvidenceStore
    """The task ids that Postgres could not store yet."""
    reach: Reach = reach_nothing
    """Called between steps; kills the process there when a drill says so."""
    trust: CallbackTrust = field(default_factory=CallbackTrust)
    """This worker's experience with callbacks."""
    timetable: Timetable = field(default_factory=Timetable)
    """What is known about how long tasks take; says when to look next."""
    may_claim: Callable[[], bool] = always
    """Whether this worker uses the Redis that the workers of its database share."""
    announce: Announce = announce_to_nobody
    """Called after every event that is stored; never waits, never raises."""
    poll_exchanges: KieExchanges = field(default_factory=KieExchanges)
    """How many polls of each Kie account are under way."""
    sender: Sender = field(default_factory=Sender)
    """The way out for webhooks; the composition root opens it."""
    turns: Turns = field(default_factory=Turns)
    """Who may send a webhook from here now."""
    faults: dict[UUID, int] = field(default_factory=dict)
    """Answers in a row that decided nothing, per job in flight here."""
    overdue: set[UUID] = field(default_factory=set)
    """Jobs in flight here whose tasks take far longer than any of their kind did."""

    @property
    def scripts(self) -> Scripts:
        """The one way to Redis on which the scripts of this worker travel together."""
        return self.polls.scripts

    @property
    def queries(self) -> Queries:
        """The store's own way to Postgres, for what is no move of a job."""
        return self.store.queries
