"""Stores what was learned about each kind of task, and returns when to poll."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from shared.domain.job import Job
from worker.store.job_cache import GeneratingJob

from .first_and_next_poll import (
    PollObservation,
    PollPlan,
    first_poll_delay_seconds,
    previous_poll_seconds,
    seconds_until_next_poll,
)
from .optimal_plan import POLL_COST_IN_LAG_SECONDS, WINDOW_LENGTH, plan_polls
from .signal_trust import ProgressAccuracy

_SIGHTINGS_MAX = 20_000
_LEAST_SECONDS = 0.01
OVERDUE_LEAST_SECONDS = 300.0
OVERDUE_UNLEARNED_SECONDS = 600.0
_OVERDUE_FACTOR = 5.0
"""A task is overdue after this many times the longest duration of its kind."""
_CLOCK_SLACK_SECONDS = 1.0
"""By how much Kie's clock may differ from ours before it is not believed. Some dates are in whole
seconds."""


class TaskKind(NamedTuple):
    """Tasks that are expected to take equally long."""

    model: str
    """The family that made the task: by another route, the same model may take longer."""
    task: str
    quantity: int
    variant: str = ""
    """The variant of the price, such as `4K`."""

    @classmethod
    def of(cls, job: Job | GeneratingJob) -> TaskKind:
        """Return the kind of the job's task."""
        return cls(job.family_name, job.task, job.quantity, job.variant)


class CompletionTime(NamedTuple):
    """One task that succeeded, so many seconds after Kie returned its id."""

    kind: TaskKind
    seconds: float


@dataclass(frozen=True, slots=True)
class SuccessTiming:
    """When a success was found. All times are in seconds since Kie returned the task id."""

    observed_seconds: float
    reported_seconds: float | None
    """When it ended by Kie's clock; None where Kie gives no time."""
    position: float = 0.5
    """0 to 1, random: where between two polls an end without a date is assumed."""


@dataclass(slots=True)
class _KindState:
    window: tuple[float, ...] = ()
    poll_times: tuple[float, ...] = ()
    planned_from: tuple[float, ...] = ()
    overdue_seconds: float = 0.0
    """0: not known yet."""
    progress_accuracy: ProgressAccuracy = field(default_factory=ProgressAccuracy)


class PollPlanner:
    """Returns when to poll next, and learns from what polls find. Does no input or output.

    Completions are collected until `take_new_completions`. Those of all workers come back by
    `load_windows`, and `replan` makes plans from them. Between two plans each answer is a look-up
    in a table.
    """

    def __init__(
        self,
        poll_cost_in_lag_seconds: float = POLL_COST_IN_LAG_SECONDS,
        overdue_unlearned_seconds: float = OVERDUE_UNLEARNED_SECONDS,
    ) -> None:
        self._poll_is_worth_seconds = poll_cost_in_lag_seconds
        self._overdue_unlearned_seconds = overdue_unlearned_seconds
        self._lag_factor = 1.0
        self._kinds: dict[TaskKind, _KindState] = {}
        self._fresh: list[CompletionTime] = []
        self._sightings: dict[UUID, PollObservation] = {}
        self._was_used = False

    # --- questions of the steps -------------------------------------------------------------

    def first_poll_delay_seconds(self, kind: TaskKind) -> float:
        """Return the seconds from the task id to the first poll."""
        self._was_used = True
        return first_poll_delay_seconds(self._known(kind))

    def seconds_until_next_poll(
        self,
        kind: TaskKind,
        sighting: PollObservation,
        seconds_to_deadline: float,
        interval_factor: float = 1.0,
    ) -> float:
        """Return the seconds until the next poll; see the function of that name."""
        return seconds_until_next_poll(
            sighting, seconds_to_deadline, interval_factor, self._known(kind)
        )

    def overdue_seconds(self, kind: TaskKind) -> float:
        """Return after how many seconds a task of this kind has taken far longer than any
        before.
        """
        experience = self._kinds.get(kind)
        learned_seconds = 0.0 if experience is None else experience.overdue_seconds
        return learned_seconds or self._overdue_unlearned_seconds

    # --- findings of the steps --------------------------------------------------------------

    def record_pending(self, job_id: UUID, sighting: PollObservation) -> None:
        """Record that the task was still generating."""
        self._was_used = True
        self._sightings.pop(job_id, None)
        if len(self._sightings) >= _SIGHTINGS_MAX:
            del self._sightings[next(iter(self._sightings))]
        self._sightings[job_id] = sighting

    def record_success(self, job_id: UUID, kind: TaskKind, ending: SuccessTiming) -> None:
        """Learn the duration of a task that succeeded.

        Kie's clock is believed within what our own polls found: not before the last poll that found
        the task generating, not after the one that found it done. Where Kie gives no time, or a
        wrong one, the end is assumed at a random time between the two.
        """
        self._was_used = True
        last = self._sightings.pop(job_id, None)
        seconds = max(self._dated(kind, ending, last), _LEAST_SECONDS)
        self.return_completions([CompletionTime(kind, seconds)])
        if last is not None:
            self._kinds.setdefault(kind, _KindState()).progress_accuracy.record(last, seconds)

    def _dated(self, kind: TaskKind, ending: SuccessTiming, last: PollObservation | None) -> float:
        found, reported = ending.observed_seconds, ending.reported_seconds
        after = min(last.elapsed_seconds, found) if last is not None else 0.0
        slack = _CLOCK_SLACK_SECONDS
        if reported is not None and after - slack <= reported <= found + slack:
            return min(max(reported, after), found)
        if last is None:  # another worker made the last poll, or there was none
            after = previous_poll_seconds(found, self._known(kind))
        return after + ending.position * (found - after)

    def forget(self, job_id: UUID) -> None:
        """Forget a job that ended without a success."""
        self._sightings.pop(job_id, None)

    # --- shared with other workers ----------------------------------------------------------

    def take_used(self) -> bool:
        """Return whether it was used since the last call. An idle worker exchanges nothing."""
        was_used, self._was_used = self._was_used, False
        return was_used

    def take_new_completions(self) -> list[CompletionTime]:
        """Return the completions since the last call, oldest first."""
        fresh, self._fresh = self._fresh, []
        return fresh

    def return_completions(self, completions: Iterable[CompletionTime]) -> None:
        """Store completions until the next `take_new_completions`; of too many, the newest."""
        self._fresh.extend(completions)
        if len(self._fresh) > 10 * WINDOW_LENGTH:
            del self._fresh[: -5 * WINDOW_LENGTH]

    def load_windows(self, windows: Mapping[TaskKind, Iterable[float]]) -> list[TaskKind]:
        """Load the completions of all workers, oldest first. Returns the kinds that need a new
        plan.
        """
        for kind, seconds in windows.items():
            experience = self._kinds.setdefault(kind, _KindState())
            experience.window = tuple(seconds)[-WINDOW_LENGTH:]
            longest_seconds = max(experience.window, default=0.0)
            if longest_seconds > 0:
                experience.overdue_seconds = max(
                    longest_seconds * _OVERDUE_FACTOR, OVERDUE_LEAST_SECONDS
                )
        return [kind for kind, known in self._kinds.items() if known.window != known.planned_from]

    def set_lag_factor(self, lag_factor: float) -> list[TaskKind]:
        """Set the factor of the lag that one poll may save. Returns the kinds that need a
        new plan.
        """
        self._lag_factor = lag_factor
        return [kind for kind, known in self._kinds.items() if known.poll_times]

    def replan(self, kind: TaskKind) -> None:
        """Make the plan of one kind from its window. Takes a few milliseconds."""
        experience = self._kinds[kind]
        cost_seconds = self._poll_is_worth_seconds * self._lag_factor
        experience.poll_times = plan_polls(experience.window, cost_seconds)
        experience.planned_from = experience.window

    def _known(self, kind: TaskKind) -> PollPlan:
        experience = self._kinds.get(kind)
        if experience is None:
            return PollPlan()
        return PollPlan(experience.poll_times, experience.progress_accuracy.error)
