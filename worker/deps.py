"""What a step needs, gathered once by the composition root and handed to every step."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from uuid import UUID

from shared.adapters.delivery import Delivery
from shared.adapters.postgres import Queries
from shared.settings import Settings
from worker.brake import Brake
from worker.callbacks.trust import CallbackTrust
from worker.clock import Clock
from worker.crash_points import Reach, reach_nothing
from worker.job_store import JobStore
from worker.kie_client import Kie
from worker.metrics import Metrics
from worker.throttle import Throttle

Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Deps:
    """The worker's rooms, as the steps see them."""

    settings: Settings
    store: JobStore
    delivery: Delivery
    kie: Kie
    submits: Throttle
    polls: Throttle
    brake: Brake
    metrics: Metrics
    clock: Clock
    random: Random
    sleep: Sleep
    worker_name: str
    lease_seconds: float
    reach: Reach = reach_nothing
    """Called between steps; kills the process there when a drill says so."""
    trust: CallbackTrust = field(default_factory=CallbackTrust)
    """This worker's experience with callbacks."""
    faults: dict[UUID, int] = field(default_factory=dict)
    """Answers in a row that decided nothing, per job in flight here."""

    @property
    def queries(self) -> Queries:
        """The store's own way to Postgres, for what is no move of a job."""
        return self.store.queries
