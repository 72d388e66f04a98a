"""The history of the queue: what the workers have sampled, for plots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from producer.row_json import row_to_json
from shared.errors import Fault, InvalidRequest

if TYPE_CHECKING:
    from shared.adapters.postgres.database import Queries

HISTORY_HOURS_DEFAULT = 1
HISTORY_HOURS_MAX = 7 * 24
SHORT_INTERVAL_SECONDS = 15
LONG_INTERVAL_SECONDS = 300
SHORT_HISTORY_HOURS_MAX = 2
"""Up to this, a history has intervals of 15 s; a longer one has intervals of 5 min."""


@dataclass(frozen=True, slots=True)
class HistorySample:
    """One interval. Depth, age, held credits and Kie accounts are those shortly after its end."""

    starts_at: datetime
    queued: int
    scheduled: int
    """Those of `queued` whose `run_at` had not come."""
    submitting: int
    unknown: int
    generating: int
    held_for_review: int
    oldest_waiting_seconds: float
    accepted: int
    submitted: int
    succeeded: int
    failed: int
    cancelled: int
    credits_held: Decimal
    credits_charged: Decimal
    wait_p50_seconds: float | None
    """None if no job ended in the interval, like all durations."""
    wait_p95_seconds: float | None
    run_p50_seconds: float | None
    run_p95_seconds: float | None
    lag_p50_seconds: float | None
    lag_p95_seconds: float | None
    polls: int | None
    """The polls sent in the interval. None if the interval before was not sampled."""
    kie_accounts: Mapping[str, Mapping[str, Any]]
    """By Kie account: `budget`, `budget_used`, `brake_level`, `is_paused`, `submit_rate` and
    `balance`."""

    @property
    def waiting(self) -> int:
        """The number of jobs that waited to be submitted."""
        return self.queued - self.scheduled

    @property
    def in_flight(self) -> int:
        """The number of jobs that had, or may have had, a task at Kie."""
        return self.submitting + self.unknown + self.generating


@dataclass(frozen=True, slots=True)
class History:
    """The samples of some hours. An interval without a sample is a gap: no worker sampled it."""

    interval_seconds: int
    samples: tuple[HistorySample, ...]
    """The oldest first."""


async def read_history(queries: Queries, hours: int = HISTORY_HOURS_DEFAULT) -> History:
    """Return the samples of the last `hours`, 1 to 168. Raises `InvalidRequest`."""
    if not (isinstance(hours, int) and 1 <= hours <= HISTORY_HOURS_MAX):
        raise InvalidRequest([Fault("hours", f"{hours!r:.40} must be 1 to {HISTORY_HOURS_MAX}")])
    is_short = hours <= SHORT_HISTORY_HOURS_MAX
    interval_seconds = SHORT_INTERVAL_SECONDS if is_short else LONG_INTERVAL_SECONDS
    rows = await queries.fetch("read_history", interval_seconds, hours * 3600.0)
    return History(interval_seconds, tuple(HistorySample(**dict(row)) for row in rows))


def history_to_json(history: History) -> dict[str, Any]:
    """Return the history as a JSON object."""
    return {
        "interval_seconds": history.interval_seconds,
        "samples": [sample_to_json(sample) for sample in history.samples],
    }


def sample_to_json(sample: HistorySample) -> dict[str, Any]:
    """Return a sample as a JSON object."""
    return {**row_to_json(asdict(sample)), "waiting": sample.waiting}
