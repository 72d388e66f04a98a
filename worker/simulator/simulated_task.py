"""A task of the simulated provider. Its state is a pure function of the time."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from decimal import Decimal

from .create_request import CreateRequest
from .fault_switch_parser import Overrides
from .image_links import image_path
from .simulated_account import SimulatedAccount
from .sliding_windows import ArrivalWindow
from .task_ends import TaskEnd


@dataclass(frozen=True, slots=True)
class PlannedEnd:
    """The end of a task, decided when it is created.

    ``duration_seconds`` is infinite for a task that never ends. Progress is measured against
    ``typical_seconds``.
    """

    outcome: TaskEnd
    duration_seconds: float
    typical_seconds: float
    url_count: int
    failure_flag: int


@dataclass(slots=True, eq=False)
class SimulatedTask:
    """One paid task; ``created_at`` is monotonic, ``created_epoch`` dates it for people."""

    id: str
    account: SimulatedAccount
    request: CreateRequest
    planned: PlannedEnd
    credits: Decimal
    created_at: float
    created_epoch: float
    overrides: Overrides
    arrivals: ArrivalWindow = field(default_factory=lambda: ArrivalWindow(1.0))
    reply_lost: bool = False
    # When a poll first returned the end. The lag of a poller is measured from it.
    first_reported_epoch: float | None = None

    @property
    def finish_at(self) -> float:
        """The monotonic time of its end; infinite when there is none."""
        return self.created_at + self.planned.duration_seconds

    @property
    def has_end(self) -> bool:
        """Whether it ends at all."""
        return math.isfinite(self.planned.duration_seconds)

    @property
    def finish_epoch(self) -> float:
        """The wall-clock time of its end; infinite when there is none."""
        return self.created_epoch + self.planned.duration_seconds

    def is_finished(self, now: float) -> bool:
        """Whether it has ended by this monotonic time."""
        return now >= self.finish_at

    def progress_by_clock(self, now: float) -> float:
        """Return progress that grows with age alone, so that it does not reveal when the
        task ends.
        """
        if self.planned.typical_seconds <= 0:
            return 0.0
        return 1.0 - math.exp(-(now - self.created_at) / self.planned.typical_seconds)

    def progress_by_duration(self, now: float) -> float:
        """The share of its own duration that has passed; 0 when it never ends."""
        if self.planned.duration_seconds <= 0:
            return 0.0
        return min(1.0, (now - self.created_at) / self.planned.duration_seconds)

    def result_urls(self, base_url: str) -> list[str]:
        """Full addresses of the images that it ends with."""
        return self.image_urls(base_url, self.planned.url_count)

    def image_urls(self, base_url: str, count: int) -> list[str]:
        """Addresses of this many images, numbered from 1, whether they exist or not."""
        return [base_url + image_path(self.id, number) for number in range(1, count + 1)]

    def describe(self, now: float) -> dict[str, object]:
        """Its row in the record; ``credits`` is what it has cost so far, net of a refund."""
        finished = self.is_finished(now)
        refunded = finished and not self.planned.outcome.success
        return {
            "task_id": self.id,
            "account": self.account.number,
            "endpoint": self.request.endpoint,
            "model": self.request.model,
            "prompt": self.request.prompt,
            "size": self.request.size,
            "n_variants": self.request.n_variants,
            "call_back_url": self.request.call_back_url or None,
            "token": self.request.callback_token or None,
            "created_at": self.created_epoch,
            "finished_at": self.finish_epoch if finished else None,
            "told_at": self.first_reported_epoch,
            "outcome": self.planned.outcome.name if finished else "generating",
            "image_paths": self.result_urls("") if finished else [],
            "arrivals": self.arrivals.total,
            "worst_window": self.arrivals.worst,
            "credits": 0.0 if refunded else float(self.credits),
            "credits_charged": float(self.credits),
            "refunded": refunded,
            "reply_lost": self.reply_lost,
        }
