"""What a step needs, gathered once by the composition root and handed to every step."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from uuid import UUID

from shared.adapters.postgres.database import Queries
from shared.adapters.redis.deliveries import Delivery
from shared.settings import Settings
from worker.accounts import KieAccounts
from worker.announcing import Announce, announce_to_nobody
from worker.callbacks.trust import CallbackTrust
from worker.clock import Clock
from worker.crash_points import Reach, reach_nothing
from worker.evidence import EvidenceStore
from worker.job_store import JobStore
from worker.kie_exchanges import KieExchanges
from worker.metrics import Metrics
from worker.poll_deliveries import PollDeliveries
from worker.scripts import Scripts
from worker.throttle import Throttle
from worker.timetable import Timetable
from worker.webhooks.sending import Sender
from worker.webhooks.turns import Turns

Sleep = Callable[[float], Awaitable[None]]


def always() -> bool:
    """Return that it is so."""
    return True


@dataclass(frozen=True, slots=True)
class Deps:
    """The worker's rooms, as the steps see them."""

    settings: Settings
    store: JobStore
    delivery: Delivery
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
